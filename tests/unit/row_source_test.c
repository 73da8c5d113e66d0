#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "stages/text/row_source.h"
#include "stages/text/spm.h"

#define EOS 1
#define LENGTH 64 /* of the one sample; the last two tokens are its answer */

static void write_row(const char *path)
{
    struct err e = {0};
    struct tokfile_writer w;
    int32_t ids[LENGTH];
    unsigned char labels[LENGTH] = {0};
    for (int i = 0; i < LENGTH; i++)
        ids[i] = i == 0 ? EOS : 10 + i;
    labels[LENGTH - 2] = labels[LENGTH - 1] = 1;
    tokfile_writer_init(&w, EOS);
    for (int row = 0; row < 2; row++) {
        tokfile_writer_row(&w);
        tokfile_writer_sample(&w, ids, labels, LENGTH, false);
    }
    assert_int_equal(tokfile_writer_save(&w, path, &e), 0);
    tokfile_writer_release(&w);
}

/* Bit t of the result: token t of this row was dropped in this epoch. */
static uint64_t dropped(struct row_source *s, int64_t epoch, uint32_t row)
{
    struct rows rows = row_source_rows(s);
    struct rows_batch b;
    uint64_t bits = 0;
    rows.fill(rows.context, epoch, &row, 1, &b);
    assert_int_equal(b.n_tokens, LENGTH);
    for (int t = 0; t < LENGTH; t++) {
        assert_true(b.ids[t] == (t == 0 ? EOS : 10 + t) || b.ids[t] == SPM_PAD);
        bits |= (uint64_t)(b.ids[t] == SPM_PAD) << t;
    }
    return bits;
}

/* The rows of write_row, opened. */
struct opened {
    char path[40];
    struct tokfile t;
    struct row_source s;
    struct arena a;
};

static void rows_open(struct opened *o)
{
    struct err e = {0};
    memset(o, 0, sizeof *o);
    snprintf(o->path, sizeof o->path, "/tmp/row_source_test_XXXXXX");
    int fd = mkstemp(o->path);
    assert_true(fd >= 0);
    close(fd);
    write_row(o->path);
    assert_int_equal(tokfile_open(&o->t, o->path, &e), 0);
    row_source_of_tokens(&o->s, &o->t);
    assert_int_equal(arena_reserve(&o->a, "batch", token_batch_bytes(2 * LENGTH), &e), 0);
    row_source_reserve(&o->s, &o->a, 2 * LENGTH);
}

static void rows_close(struct opened *o)
{
    tokfile_close(&o->t);
    arena_release(&o->a);
    unlink(o->path);
}

static void dropout_is_drawn_by_epoch_and_row(void **state)
{
    (void)state;
    struct opened o;
    rows_open(&o);
    struct row_source *s = &o.s;
    assert_true(dropped(s, 0, 0) == 0);

    s->prompt_dropout = 0.5;
    s->dropout = rng_open(1, "prompt_dropout");
    uint64_t first = dropped(s, 0, 0), answer = (uint64_t)7 << (LENGTH - 3);
    assert_true(first != 0 && (first & (answer | 1)) == 0);
    assert_true(dropped(s, 0, 1) != first);
    assert_true(dropped(s, 1, 0) != first);
    assert_true(dropped(s, 0, 0) == first);
    rows_close(&o);
}

/* Targets stand where the token before them is: the answer's first is predicted at LENGTH - 3. */
static void leads_of_answers_weigh_more(void **state)
{
    (void)state;
    struct opened o;
    struct rows_batch b;
    const uint32_t both[2] = {0, 1};
    rows_open(&o);
    struct row_source *s = &o.s;
    struct rows rows = row_source_rows(s);
    assert_int_equal(rows.labels(rows.context, 0, 0), 2);
    rows.fill(rows.context, 0, both, 2, &b);
    assert_null(b.weight);

    s->lead_tokens = 1;
    s->lead_weight = 5;
    assert_int_equal(rows.labels(rows.context, 0, 0), 6);
    rows.fill(rows.context, 0, both, 2, &b);
    for (int i = 0; i < 2 * LENGTH; i++)
        assert_true(b.weight[i] == (i % LENGTH == LENGTH - 3 ? 5 : 1));
    s->lead_tokens = 9;
    assert_int_equal(rows.labels(rows.context, 0, 1), 10);
    rows_close(&o);
}

/* Every token but the last of a row has a target: the next one, whatever dropout hid. */
static void prompts_are_taught_along(void **state)
{
    (void)state;
    struct opened o;
    struct rows_batch b;
    const uint32_t both[2] = {1, 0};
    rows_open(&o);
    struct row_source *s = &o.s;
    s->prompt_weight = 0.25;
    s->prompt_dropout = 0.5;
    s->dropout = rng_open(1, "prompt_dropout");
    struct rows rows = row_source_rows(s);
    assert_int_equal(rows.labels(rows.context, 0, 0), 2);
    rows.fill(rows.context, 0, both, 2, &b);
    int hidden = 0;
    for (int i = 0; i < 2 * LENGTH; i++) {
        int at = i % LENGTH;
        bool answers = at == LENGTH - 3 || at == LENGTH - 2;
        int32_t next =
            at == LENGTH - 1 ? -1 : (int32_t)tokfile_id(&o.t, both[i / LENGTH], (uint32_t)at + 1);
        assert_int_equal(b.target[i], next);
        assert_true(next < 0 || b.weight[i] == (answers ? 1 : 0.25f));
        hidden += b.ids[i] == SPM_PAD;
    }
    assert_true(hidden > 0);
    rows_close(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropout_is_drawn_by_epoch_and_row),
        cmocka_unit_test(leads_of_answers_weigh_more),
        cmocka_unit_test(prompts_are_taught_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
