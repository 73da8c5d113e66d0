/* pipeline/provenance/statement.h: a statement that was read, written and read again is the same
 * one. */

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/provenance/statement.h"
#include "tests/fuzz/fuzz.h"

static void check_again(const struct statement *s)
{
    struct statement again;
    struct err e = {0};
    struct buf first, second;
    buf_init(&first, BUF_MAX_DEFAULT);
    buf_init(&second, BUF_MAX_DEFAULT);
    statement_build(&s->facts, &first);
    CHECK(statement_parse(first.bytes, first.n_bytes, &again, &e) == 0);
    CHECK(str_eq(again.facts.stage, s->facts.stage));
    CHECK(str_eq(again.facts.recipe, s->facts.recipe));
    CHECK(again.facts.n_subjects == s->facts.n_subjects);
    CHECK(again.facts.n_inputs == s->facts.n_inputs);
    statement_build(&again.facts, &second);
    CHECK(str_eq(buf_text(&first), buf_text(&second)));
    statement_release(&again);
    buf_release(&first);
    buf_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct statement s;
    struct err e = {0};
    int rc = statement_parse((const char *)data, n_bytes, &s, &e);
    fuzz_taken = rc == 0;
    if (rc == 0) {
        for (size_t i = 0; i < s.n_files; i++)
            CHECK(s.files[i].name != NULL && str_is_hex(s.files[i].id, 64));
        if (s.facts.binary != NULL) /* none is written without */
            check_again(&s);
    } else {
        CHECK(e.code == ERR_FORMAT || e.code == ERR_LIMIT);
    }
    statement_release(&s);
    return 0;
}
