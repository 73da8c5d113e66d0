/* Our ids of the shipped tokenizer against those of SentencePiece's own Python package, which
 * tests/ref/tokenizer.py has written to tests/ref/tokenizer.json. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/json.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/spm.h"

#define FIXTURE "tests/ref/tokenizer.json"

struct fixture {
    struct json *root;
    struct spm *spm;
};

static int setup(void **state)
{
    static struct fixture f;
    struct err e = {0};
    struct content_id id;
    const char *model = NULL, *wanted = NULL;
    assert_int_equal(json_read(FIXTURE, &f.root, &e), 0);
    assert_int_equal(json_need_string(f.root, "model", &model, &e), 0);
    assert_int_equal(json_need_string(f.root, "model_sha256", &wanted, &e), 0);
    assert_int_equal(sha256_file(model, &id, NULL, &e), 0);
    if (!str_eq(id.hex, wanted))
        fail_msg("%s is of another %s: make it again", FIXTURE, model);
    assert_int_equal(spm_open(model, &f.spm, &e), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    spm_close(f->spm);
    json_free(f->root);
    return 0;
}

static bool same_ids(const struct json *list, const int32_t *ids, size_t n)
{
    size_t i = 0;
    for (const struct json *id = json_first(list); id; id = json_next(id), i++)
        if (i >= n || ids[i] != (int32_t)json_number(id))
            return false;
    return i == n;
}

/* Of more ids the file has their number and the SHA-256 of them, little endian. */
static bool same_digest(const struct json *t, const int32_t *ids, size_t n)
{
    struct buf packed;
    buf_init(&packed, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < n; i++)
        buf_add_u32(&packed, (uint32_t)ids[i]);
    struct content_id digest = sha256_of(packed.bytes, packed.n_bytes);
    buf_release(&packed);
    return json_number(json_get(t, "n_ids")) == (double)n &&
           str_eq(json_string(json_get(t, "ids_sha256")), digest.hex);
}

static void texts_to_ids(void **state)
{
    const struct fixture *f = *state;
    size_t n_texts = 0, n_wrong = 0;
    for (const struct json *t = json_items(f->root, "texts"); t; t = json_next(t), n_texts++) {
        struct err e = {0};
        struct buf text;
        int32_t *ids = NULL;
        size_t n = 0;
        const char *part = json_string(json_get(t, "text"));
        buf_init(&text, BUF_MAX_DEFAULT);
        for (int i = 0; i < (int)json_number(json_get(t, "times")); i++)
            buf_add_text(&text, part);
        assert_int_equal(spm_encode(f->spm, buf_text(&text), text.n_bytes, &ids, &n, &e), 0);
        const struct json *list = json_get(t, "ids");
        if (list ? !same_ids(list, ids, n) : !same_digest(t, ids, n)) {
            print_message("other ids: \"%.60s\"\n", part);
            n_wrong++;
        }
        xfree(ids);
        buf_release(&text);
    }
    assert_true(n_texts > 100);
    assert_int_equal(n_wrong, 0);
}

static void ids_to_text(void **state)
{
    const struct fixture *f = *state;
    size_t n_lists = 0, n_wrong = 0;
    for (const struct json *t = json_items(f->root, "decoded"); t; t = json_next(t), n_lists++) {
        struct err e = {0};
        struct buf text;
        int32_t ids[64];
        size_t n = 0;
        buf_init(&text, BUF_MAX_DEFAULT);
        for (const struct json *id = json_items(t, "ids"); id; id = json_next(id)) {
            assert_true(n < 64);
            ids[n++] = (int32_t)json_number(id);
        }
        assert_int_equal(spm_decode(f->spm, ids, n, &text, &e), 0);
        if (!str_eq(buf_text(&text), json_string(json_get(t, "text")))) {
            print_message("other text: \"%.60s\", found \"%.60s\"\n",
                          json_string(json_get(t, "text")), buf_text(&text));
            n_wrong++;
        }
        buf_release(&text);
    }
    assert_true(n_lists > 40);
    assert_int_equal(n_wrong, 0);
}

static void as_many_pieces(void **state)
{
    const struct fixture *f = *state;
    assert_int_equal(spm_size(f->spm), (int)json_number(json_get(f->root, "pieces")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_pieces),
        cmocka_unit_test(texts_to_ids),
        cmocka_unit_test(ids_to_text),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
