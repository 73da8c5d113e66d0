/* pipeline/provenance/recipe.h: a recipe that is read and written again is a recipe with one
 * canonical text; it differs from itself in nothing. */

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/provenance/recipe.h"
#include "tests/fuzz/fuzz.h"

static void check_again(const struct buf *text)
{
    struct recipe again = {0};
    struct err e = {0};
    struct buf second;
    buf_init(&second, BUF_MAX_DEFAULT);
    CHECK(recipe_parse(text->bytes, text->n_bytes, &again, &e) == 0);
    recipe_write(&again, &second);
    CHECK(strcmp(buf_text(&second), buf_text(text)) == 0);
    CHECK(strcmp(recipe_key(&second).hex, recipe_key(text).hex) == 0);
    recipe_release(&again);
    buf_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static const char other[] = "{\"config\":{\"a\":[1,{\"b\":2}]},\"schema\":1,\"stage\":\"x\"}";
    const char *text = (const char *)data;
    struct recipe r = {0};
    struct recipe_diff d = {0};
    struct err e = {0}, ignored = {0};
    int rc = recipe_parse(text, n_bytes, &r, &e);
    fuzz_taken = rc == 0;
    if (rc == 0) {
        struct buf written;
        buf_init(&written, BUF_MAX_DEFAULT);
        recipe_write(&r, &written);
        check_again(&written);
        buf_release(&written);
        CHECK(recipe_diff(text, n_bytes, text, n_bytes, &d, &e) == 0);
        CHECK(d.n_changes == 0);
        recipe_diff_release(&d);
    }
    recipe_release(&r);
    if (recipe_diff(text, n_bytes, other, strlen(other), &d, &ignored) == 0)
        recipe_diff_release(&d);
    return 0;
}
