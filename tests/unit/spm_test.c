#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/xalloc.h"
#include "stages/text/spm.h"
#include "tests/unit/tiny_spm.h"

static int setup(void **state)
{
    *state = tiny_spm_open();
    return 0;
}

static int teardown(void **state)
{
    spm_close(*state);
    return 0;
}

static const char *const TEXTS[] = {
    "",
    " ",
    "   ",
    "a",
    " leading and trailing ",
    "two  spaces   three",
    "{\"team\": \"billing\", \"n\": [1, 2.50, -3e7]}",
    "tab\there, line\nend\r\n",
    "caf\xC3\xA9 \xE2\x82\xAC 12 \xF0\x9F\x99\x82\xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9",
    "\xEF\xBC\xA1 \xC2\xA0 \xE1\xBA\x9E \xCE\xA9", /* full width, no-break space: not normalised */
    "<turn_start> user<n>x<turn_end>",
    "<turn_start><turn_start><n><n>",
    "<turn", /* not a piece */
};

static void round_trip(void **state)
{
    struct spm *s = *state;
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        struct err e = {0};
        struct buf back;
        int32_t *ids = NULL;
        size_t n = 0;
        buf_init(&back, 4096);
        assert_int_equal(spm_encode(s, TEXTS[i], strlen(TEXTS[i]), &ids, &n, &e), 0);
        assert_int_equal(spm_decode(s, ids, n, &back, &e), 0);
        assert_string_equal(buf_text(&back), TEXTS[i]);
        assert_true(n <= strlen(TEXTS[i]) + 1);
        buf_release(&back);
        xfree(ids);
    }
}

static void ids_of_specials(void **state)
{
    struct spm *s = *state;
    struct err few = {0}, many = {0};
    assert_int_equal(spm_size(s), 400);
    assert_int_equal(spm_check_fits(s, 400, &few) + spm_check_fits(s, 401, &few), 0);
    assert_int_equal(spm_check_fits(s, 399, &few), ERR_CONFIG);
    assert_string_equal(few.text, "the tokenizer has 400 pieces, the model only 399");
    assert_int_equal(spm_check_fills(s, 400, &many), 0);
    assert_int_equal(spm_check_fills(s, 401, &many), ERR_CONFIG);
    assert_string_equal(many.text, "the tokenizer has 400 pieces, the model a vocabulary of 401");
    assert_int_equal(spm_piece_id(s, "<pad>"), SPM_PAD);
    assert_int_equal(spm_piece_id(s, "</s>"), SPM_EOS);
    assert_int_equal(spm_piece_id(s, "<s>"), SPM_BOS);
    assert_int_equal(spm_piece_id(s, "<unk>"), SPM_UNK);
    assert_int_equal(spm_piece_id(s, "<turn_start>"), 4);
    assert_int_equal(spm_piece_id(s, "<executable_end>"), 8);
    assert_int_equal(spm_piece_id(s, "no such piece"), -1);
    /* JSON needs its own characters, whatever the text was. */
    assert_true(spm_piece_id(s, "{") > 0);
    assert_true(spm_piece_id(s, "~") > 0);
}

static void refusals(void **state)
{
    struct spm *s = *state;
    struct err e = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    assert_int_equal(spm_encode(s, "a\xFFz", 3, &ids, &n, &e), ERR_FORMAT);
    assert_null(ids);
    e = (struct err){0};
    struct buf out;
    buf_init(&out, 100);
    const int32_t outside[] = {400};
    const int32_t negative[] = {-1};
    e = (struct err){0};
    assert_int_equal(spm_decode(s, outside, 1, &out, &e), ERR_FORMAT);
    e = (struct err){0};
    assert_int_equal(spm_decode(s, negative, 1, &out, &e), ERR_FORMAT);
    e = (struct err){0};
    assert_int_equal(spm_piece(s, 400, &out, &e), ERR_FORMAT);
    buf_release(&out);
}

static void same_bytes_again(void **state)
{
    struct buf a;
    struct buf b;
    (void)state;
    tiny_spm_model(&a);
    tiny_spm_model(&b);
    assert_int_equal(a.n_bytes, b.n_bytes);
    assert_memory_equal(a.bytes, b.bytes, a.n_bytes);
    buf_release(&a);
    buf_release(&b);
}

static void not_a_model(void **state)
{
    struct err e = {0};
    struct spm *s = NULL;
    (void)state;
    assert_int_equal(spm_open_bytes("", 0, &s, &e), ERR_FORMAT);
    assert_null(s);
    e = (struct err){0};
    assert_int_equal(spm_open_bytes("not a model at all", 18, &s, &e), ERR_FORMAT);
    assert_null(s);
    e = (struct err){0};
    assert_int_equal(spm_open("/nonexistent/tokenizer.model", &s, &e), ERR_MISSING);
    spm_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),  cmocka_unit_test(ids_of_specials),
        cmocka_unit_test(refusals),    cmocka_unit_test(same_bytes_again),
        cmocka_unit_test(not_a_model),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
