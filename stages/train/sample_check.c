#include "stages/train/sample_check.h"

#include <string.h>

#include "pipeline/base/xalloc.h"
#include "stages/model/generation.h"
#include "stages/text/spm.h"

/* The place of the first label of a row, 0 when there is none; *end: behind its run of labels. */
static uint32_t first_answer(const struct tokfile *t, uint64_t row, uint32_t *end)
{
    uint32_t n = tokfile_row_tokens(t, row), first = 0;
    while (first < n && !tokfile_label(t, row, first))
        first++;
    *end = first;
    while (*end < n && tokfile_label(t, row, *end))
        (*end)++;
    return first < n ? first : 0;
}

/* The end of a turn: what most answers end with (Boyer and Moore's vote). One that was cut ends
 * with anything: where most were cut there is no end to learn. */
static int32_t find_stop(const struct tokfile *t)
{
    int32_t stop = SPM_EOS;
    uint64_t votes = 0;
    if (2 * t->counts.cut_samples >= t->counts.samples)
        return stop;
    for (uint64_t row = 0; row < t->counts.rows; row++) {
        uint32_t end = 0;
        if (first_answer(t, row, &end) == 0)
            continue;
        int32_t id = tokfile_id(t, row, end - 1);
        if (votes == 0)
            stop = id;
        votes = id == stop ? votes + 1 : votes - 1;
    }
    return stop;
}

static void choose(struct sample_check *s, const struct tokfile *t, int context)
{
    s->stop = find_stop(t);
    for (uint64_t row = 0; row < t->counts.rows && s->n < LORA_TRAINING_SAMPLES; row++) {
        uint32_t end = 0, n = first_answer(t, row, &end);
        if (n == 0 || (int64_t)n + LORA_TRAINING_SAMPLE_TOKENS > context)
            continue;
        s->requests[s->n].n_prompt = (int)n;
        s->rows[s->n++] = row;
    }
}

/* Returns the positions of the longest. */
static int copy_prompts(struct sample_check *s, const struct tokfile *t)
{
    int longest = 0;
    size_t total = 0;
    for (int i = 0; i < s->n; i++)
        total += (size_t)s->requests[i].n_prompt + LORA_TRAINING_SAMPLE_TOKENS;
    int32_t *at = s->ids = xalloc_array(total, sizeof *s->ids);
    for (int i = 0; i < s->n; i++) {
        struct decoder_request *r = &s->requests[i];
        for (int j = 0; j < r->n_prompt; j++)
            at[j] = tokfile_id(t, s->rows[i], (uint32_t)j);
        r->prompt = at;
        r->out = at + r->n_prompt;
        r->max_new = LORA_TRAINING_SAMPLE_TOKENS;
        at = r->out + LORA_TRAINING_SAMPLE_TOKENS;
        longest = r->n_prompt > longest ? r->n_prompt : longest;
    }
    return longest + LORA_TRAINING_SAMPLE_TOKENS;
}

int sample_check_open(struct sample_check *s, struct compute *c, const struct model *base,
                      const struct adapter *adapter, const struct tokfile *rows, struct err *e)
{
    memset(s, 0, sizeof *s);
    choose(s, rows, base->shape.context);
    if (s->n == 0)
        return 0;
    struct decoder_plan plan = {.sequences = s->n, .positions = copy_prompts(s, rows)};
    return decoder_reserve(&s->decoder, c, base, adapter, &plan, e);
}

int sample_check_run(struct sample_check *s, int *n_loops, int *first, struct err *e)
{
    int n_ended = 0;
    *n_loops = 0;
    *first = -1;
    int rc = s->n == 0 ? 0
                       : decoder_greedy(&s->decoder, s->requests, (size_t)s->n, &s->stop, 1, NULL,
                                        NULL, e);
    for (int i = 0; rc == 0 && i < s->n; i++) {
        const struct decoder_request *r = &s->requests[i];
        n_ended += r->stopped;
        if (r->stopped || generation_loop_period(r->out, r->n_out) == 0)
            continue;
        *first = (*n_loops)++ == 0 ? i : *first;
    }
    s->has_spoken |= rc == 0 && 2 * n_ended > s->n;
    return rc;
}

const char *sample_check_verdict(const struct sample_check *s, int n_loops, bool is_worse,
                                 bool is_last)
{
    if (n_loops == 0 || 2 * n_loops < s->n) /* one of four happens on the way */
        return NULL;
    if (s->has_spoken || is_worse)
        return "Is learning_rate too high?";
    return is_last ? "Are the steps too few, or is learning_rate too high?" : NULL;
}

void sample_check_release(struct sample_check *s)
{
    decoder_release(&s->decoder);
    xfree(s->ids);
    memset(s, 0, sizeof *s);
}
