#ifndef FMFORGE_TRAIN_SAMPLE_CHECK_H
#define FMFORGE_TRAIN_SAMPLE_CHECK_H

/*
 * Does the adapter still speak? It answers a few prompts, greedily, and an answer that ends in a
 * loop ("Vac Vac Vac") is counted: what a rate that is too high, or broken arithmetic, looks like
 * long before anybody evaluates. A loss may still look fine then.
 *
 * While the adapter has not learned yet where an answer ends, answers loop in every sound run. So
 * loops mean something only when most answers ended at an earlier look (it spoke, and does no
 * more), when the held-out loss has been lower (it learns nothing), or at the last step (it is what
 * is written).
 */

#include "stages/model/decoder.h"
#include "stages/model/lora_training.h"
#include "stages/text/tokfile.h"

struct sample_check {
    struct decoder decoder;
    struct decoder_request requests[LORA_TRAINING_SAMPLES];
    uint64_t rows[LORA_TRAINING_SAMPLES]; /* in the file, from 0 */
    int n;
    bool has_spoken; /* at some look most answers ended */
    int32_t stop;
    int32_t *ids; /* prompts and answers; owned */
};

/* Takes the first prompts of the file that have an answer. Everything is borrowed for as long as
 * the check lives. */
int sample_check_open(struct sample_check *s, struct compute *c, const struct model *base,
                      const struct adapter *adapter, const struct tokfile *rows,
                      struct err *e) MUST_USE;
/* Answers with the adapter as it is now; *n_loops of the answers loop, *first is one of those, or
 * -1. ERR_NUMERIC when logits are not finite. */
int sample_check_run(struct sample_check *s, int *n_loops, int *first, struct err *e) MUST_USE;
/* What so many loops mean, for people; NULL: nothing. is_worse: the held-out loss has been lower.
 */
const char *sample_check_verdict(const struct sample_check *s, int n_loops, bool is_worse,
                                 bool is_last);
void sample_check_release(struct sample_check *s); /* safe on zeroed, safe twice */

#endif
