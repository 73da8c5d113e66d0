#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/xalloc.h"
#include "stages/text/answer_stream.h"
#include "tests/unit/tiny_spm.h"

struct fixture {
    struct spm *spm;
    struct template template;
    struct render render;
};

static void fixture_open(struct fixture *f)
{
    struct err e = {0};
    f->spm = tiny_spm_open();
    tiny_template(&f->template);
    assert_int_equal(render_init(&f->render, f->spm, &f->template, &e), 0);
}

static void fixture_close(struct fixture *f)
{
    template_release(&f->template);
    spm_close(f->spm);
}

/* Token by token: the parts give the whole, and no part ends inside a character or a newline. */
static void check_ids(const struct fixture *f, const int32_t *ids, size_t n_ids)
{
    struct answer_stream s = {.render = &f->render};
    struct err e = {0};
    struct buf parts, whole;
    buf_init(&parts, 4096);
    buf_init(&whole, 4096);
    assert_int_equal(render_answer(&f->render, ids, n_ids, &whole, &e), 0);
    for (size_t i = 1; i <= n_ids; i++) {
        assert_int_equal(answer_stream_add(&s, ids, i, false, &parts, &e), 0);
        assert_true(parts.n_bytes <= whole.n_bytes);
        assert_memory_equal(parts.bytes, whole.bytes, parts.n_bytes);
        size_t end = parts.n_bytes;
        assert_false(end < whole.n_bytes && ((unsigned char)whole.bytes[end] & 0xC0) == 0x80);
    }
    assert_int_equal(answer_stream_add(&s, ids, n_ids, true, &parts, &e), 0);
    assert_string_equal(buf_text(&parts), buf_text(&whole));
    buf_release(&parts);
    buf_release(&whole);
}

static void check_text(const struct fixture *f, const char *text)
{
    struct err e = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    assert_int_equal(spm_encode(f->spm, text, strlen(text), &ids, &n, &e), 0);
    check_ids(f, ids + 1, n - 1);
    xfree(ids);
}

static void parts_give_the_whole(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f);
    check_text(&f, "The quick brown fox");
    check_text(&f, "na\xC3\xAFve \xE2\x98\x83\xF0\x9F\x98\x80 fox \xE2\x82\xAC");
    check_text(&f, "two<n>lines<n><n>three");
    check_text(&f, "a < b <n and <");
    fixture_close(&f);
}

/* Tokens that spell a newline piece are read as one: none of it may have been given out. */
static void a_spelled_newline_waits(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f);
    int32_t ids[8];
    const char *const pieces[] = {"a", "<0x3C>", "n", "<0x3E>", "a", "<0x3C>", "n", "b"};
    for (size_t i = 0; i < 8; i++) {
        ids[i] = spm_piece_id(f.spm, pieces[i]);
        assert_true(ids[i] > 0);
    }
    check_ids(&f, ids, 8);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_give_the_whole),
        cmocka_unit_test(a_spelled_newline_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
