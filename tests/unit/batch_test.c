#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "stages/text/batch.h"
#include "stages/text/spm.h"

#define EOS 1

static void reserve(struct token_batch *b, struct arena *a, int tokens_max)
{
    struct err e = {0};
    assert_int_equal(arena_reserve(a, "batch", token_batch_bytes(tokens_max), &e), 0);
    token_batch_reserve(b, a, tokens_max);
}

static void assert_ints(const int32_t *got, const int32_t *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(got[i], want[i]);
}

static void test_rows_become_segments(void **state)
{
    (void)state;
    char path[] = "/tmp/batch_test_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    struct err e = {0};
    struct tokfile_writer w;
    tokfile_writer_init(&w, EOS);
    tokfile_writer_row(&w);
    tokfile_writer_sample(&w, (int32_t[]){EOS, 10, 11}, (unsigned char[]){0, 0, 1}, 3, false);
    tokfile_writer_sample(&w, (int32_t[]){EOS, 20}, (unsigned char[]){0, 1}, 2, false);
    tokfile_writer_row(&w);
    tokfile_writer_sample(&w, (int32_t[]){EOS, 30, 31}, NULL, 3, false);
    assert_int_equal(tokfile_writer_save(&w, path, &e), 0);
    tokfile_writer_release(&w);

    struct tokfile t;
    struct arena a = {0};
    struct token_batch b;
    assert_int_equal(tokfile_open(&t, path, &e), 0);
    reserve(&b, &a, 8);
    for (int again = 0; again < 2; again++) {
        token_batch_clear(&b);
        token_batch_add_row(&b, &t, 0);
        token_batch_add_row(&b, &t, 1);
        assert_int_equal(b.n_tokens, 8);
        assert_int_equal(b.n_segments, 3);
        assert_int_equal(b.n_targets, 4);
        assert_ints(b.segment_start, (int32_t[]){0, 3, 5, 8}, 4);
        assert_ints(b.pos, (int32_t[]){0, 1, 2, 0, 1, 0, 1, 2}, 8);
        assert_ints(b.target, (int32_t[]){-1, 11, -1, 20, -1, 30, 31, -1}, 8);
    }
    tokfile_close(&t);
    arena_release(&a);
    unlink(path);
}

static void test_text_predicts_the_end_of_a_document(void **state)
{
    (void)state;
    struct arena a = {0};
    struct token_batch b;
    reserve(&b, &a, 6);
    token_batch_add_text(&b, (int32_t[]){7, 8, EOS, 9, 5}, (int32_t[]){8, EOS, 9, 5, 6}, 5, EOS);
    assert_int_equal(b.n_segments, 2);
    assert_int_equal(b.n_targets, 5);
    assert_ints(b.segment_start, (int32_t[]){0, 2, 5}, 3);
    assert_ints(b.pos, (int32_t[]){0, 1, 0, 1, 2}, 5);
    assert_ints(b.target, (int32_t[]){8, EOS, 9, 5, 6}, 5);
    arena_release(&a);
}

/* 1,000 samples of 6 tokens, the last two of which are an answer. */
static void test_dropout_takes_prompt_tokens_only(void **state)
{
    (void)state;
    enum { SAMPLES = 1000, LENGTH = 6, N = SAMPLES * LENGTH };
    struct arena a = {0};
    struct token_batch b;
    struct rng r = rng_open(3, "prompt_dropout");
    int dropped = 0;
    int32_t *once = malloc(N * sizeof *once);
    assert_non_null(once);
    reserve(&b, &a, N);
    for (int pass = 0; pass < 3; pass++) {
        token_batch_clear(&b);
        for (int i = 0; i < SAMPLES; i++) {
            const int32_t ids[LENGTH] = {EOS, 10, 11, 12, 13, 14};
            token_batch_add_text(&b, ids, ids, LENGTH, EOS);
            for (int t = 0; t < LENGTH; t++)
                b.target[i * LENGTH + t] = t == 3 || t == 4 ? ids[t + 1] : TOKEN_BATCH_NO_TARGET;
        }
        token_batch_drop_prompt(&b, LENGTH, 0.25, &r, pass == 2 ? N : 0);
        if (pass == 0)
            memcpy(once, b.ids, N * sizeof *once);
        if (pass > 0) /* the draws are those of their place, others behind it */
            assert_int_equal(memcmp(once, b.ids, N * sizeof *once) == 0, pass == 1);
    }
    for (int i = 0; i < N; i++) {
        int t = i % LENGTH;
        bool may_drop = i >= LENGTH && t >= 1 && t <= 2;
        assert_true(once[i] == (t == 0 ? EOS : 9 + t) || (may_drop && once[i] == SPM_PAD));
        dropped += once[i] == SPM_PAD;
    }
    assert_in_range(dropped, SAMPLES / 2 - 80, SAMPLES / 2 + 80);
    free(once);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_become_segments),
        cmocka_unit_test(test_text_predicts_the_end_of_a_document),
        cmocka_unit_test(test_dropout_takes_prompt_tokens_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
