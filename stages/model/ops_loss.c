/* Rows of logits: cross entropy, reverse KL, overlap. */

#include "pipeline/base/check.h"
#include "stages/model/kernels.h"
#include "stages/model/ops.h"

struct loss_run {
    const struct kernels *k;
    int vocab;
    float *student, *teacher;
    const float *student_in, *teacher_in;
    const int32_t *target;
    float dscale;
    double *out;
    unsigned char *correct;
};

static void cross_entropy_rows(void *context, int first, int n)
{
    const struct loss_run *r = context;
    for (int t = first; t < first + n; t++) {
        bool correct = false;
        r->out[t] = r->k->cross_entropy(r->vocab, r->student + (size_t)t * (size_t)r->vocab,
                                        r->target[t], r->dscale, r->correct ? &correct : NULL);
        if (r->correct)
            r->correct[t] = correct;
    }
}

void ops_cross_entropy(struct compute *c, int rows, int vocab, float *logits, const int32_t *target,
                       float dscale, double *loss, unsigned char *correct)
{
    for (int t = 0; t < rows; t++)
        CHECK(target[t] >= 0 && target[t] < vocab);
    struct loss_run r = {
        .k = c->kernels,
        .vocab = vocab,
        .student = logits,
        .target = target,
        .dscale = dscale,
        .out = loss,
        .correct = correct,
    };
    compute_rows(c, rows, (size_t)vocab, cross_entropy_rows, &r);
}

static void reverse_kl_rows(void *context, int first, int n)
{
    const struct loss_run *r = context;
    for (int t = first; t < first + n; t++) {
        size_t at = (size_t)t * (size_t)r->vocab;
        r->out[t] = r->k->reverse_kl(r->vocab, r->student + at, r->teacher + at, r->dscale);
    }
}

void ops_reverse_kl(struct compute *c, int rows, int vocab, float *student, float *teacher,
                    float dscale, double *kl)
{
    struct loss_run r = {
        .k = c->kernels,
        .vocab = vocab,
        .student = student,
        .teacher = teacher,
        .dscale = dscale,
        .out = kl,
    };
    compute_rows(c, rows, (size_t)vocab, reverse_kl_rows, &r);
}

static void overlap_rows(void *context, int first, int n)
{
    const struct loss_run *r = context;
    for (int t = first; t < first + n; t++) {
        size_t at = (size_t)t * (size_t)r->vocab;
        r->out[t] = r->k->overlap(r->vocab, r->student_in + at, r->teacher_in + at);
    }
}

void ops_overlap(struct compute *c, int rows, int vocab, const float *student, const float *teacher,
                 double *accept)
{
    struct loss_run r = {
        .k = c->kernels,
        .vocab = vocab,
        .student_in = student,
        .teacher_in = teacher,
        .out = accept,
    };
    compute_rows(c, rows, (size_t)vocab, overlap_rows, &r);
}
