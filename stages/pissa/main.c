/*
 * pissa: moves what matters most of each weight matrix out of the base into an adapter, before the
 * base is rounded. Of every matrix the R largest singular values with their vectors become A and B;
 * the base keeps the residual, which a coarse grid hits better. (Meng et al., "PiSSA: Principal
 * Singular Values and Singular Vectors Adaptation", 2024: its QPiSSA.)
 */

#include <math.h>
#include <stddef.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"
#include "stages/kit/plan_mem.h"
#include "stages/kit/stage.h"
#include "stages/model/lora.h"
#include "stages/model/model.h"
#include "stages/pissa/svd.h"

#define F16_MAX 65504.0f

struct pissa_config {
    int64_t rank;
    double alpha;
};

#define AT(member) offsetof(struct pissa_config, member)

static const struct param PARAMS[] = {
    {"rank", PARAM_INT, AT(rank), "32", 1, 256, NULL, "", "LoRA rank: singular values per matrix."},
    {"alpha", PARAM_FLOAT, AT(alpha), "0", 0, 100000, NULL, "",
     "The adapter is scaled by alpha / rank. 0 = rank / 2, the scale 0.5 of the class."},
};

static const struct stage_port INS[] = {
    {"base", "base", true, "A base before rounding (pretrain's output dense)."},
};

static const struct stage_port OUTS[] = {
    {"base", "base", true,
     "The residual, fp32. Round it with pretrain: init, tokens 0, qat_tokens 0."},
    {"adapter", "adapter", true,
     "The principal part, fp16. Residual and adapter together are the base that came in."},
    {"metrics", "metrics", true, "Which share of the squared weights went into the adapter."},
    {"report", "report", true, "The same for people."},
};

static const struct stage_spec SPEC = {
    .name = "pissa",
    .summary = "Moves the principal part of each weight matrix of a base into an adapter.",
    .portable = true,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct pissa_config),
};

struct pissa {
    struct model base; /* trainable; becomes the residual */
    struct adapter adapter;
    double before, after; /* sums of squares of all matrices */
};

static double sum_of_squares(const float *w, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)w[i] * (double)w[i];
    return sum;
}

/* --- one module --------------------------------------------------------------------------------
 */

/* Doubles of the four matrices of one module. */
static size_t split_doubles(const struct shape_module *m)
{
    size_t in = (size_t)m->in, out = (size_t)m->out, least = in < out ? in : out;
    return in * out + least + in * least + least * out;
}

/* w: the module's rows of its linear, (out, in): column by column that is the transpose (in, out),
 * which A (in, R) times B (R, out) stands for. */
static int split(const struct adapter *a, const struct shape_module *m, const float *w,
                 struct err *e)
{
    size_t in = (size_t)m->in, out = (size_t)m->out, least = in < out ? in : out;
    size_t rank = (size_t)a->rank;
    double *copy = xalloc_array(in * out, sizeof *copy), *s = xalloc_array(least, sizeof *s);
    double *u = xalloc_array(in * least, sizeof *u), *vt = xalloc_array(least * out, sizeof *vt);
    for (size_t i = 0; i < in * out; i++)
        copy[i] = (double)w[i];
    int rc = svd(m->in, m->out, copy, s, u, vt, e);
    float *at = adapter_a(a, m), *bt = adapter_b(a, m);
    for (size_t r = 0; !rc && r < rank && r < least; r++) {
        double root = sqrt(s[r] / (double)a->scale);
        for (size_t i = 0; i < in; i++)
            at[i * rank + r] = (float)(u[r * in + i] * root);
        for (size_t o = 0; o < out; o++)
            bt[r * out + o] = (float)(vt[o * least + r] * root);
    }
    xfree(vt);
    xfree(u);
    xfree(s);
    xfree(copy);
    return rc ? err_wrap(e, "%s", m->name) : 0;
}

/* w -= scale (A B)^T, with the values of A and B as they are stored. */
static void subtract(const struct adapter *a, const struct shape_module *m, float *w)
{
    const float *at = adapter_a(a, m), *bt = adapter_b(a, m);
    for (int o = 0; o < m->out; o++)
        for (int i = 0; i < m->in; i++) {
            double sum = 0;
            for (int r = 0; r < a->rank; r++)
                sum += (double)at[(size_t)i * (size_t)a->rank + (size_t)r] *
                       (double)bt[(size_t)r * (size_t)m->out + (size_t)o];
            float *v = &w[(size_t)o * (size_t)m->in + (size_t)i];
            *v = (float)((double)*v - (double)a->scale * sum);
        }
}

/* --- the run -----------------------------------------------------------------------------------
 */

static float *rows_of(const struct pissa *p, const struct shape_module *m)
{
    struct shape_tensor t;
    shape_linear(&p->base.shape, m->linear, &t);
    CHECK(t.k == m->in && m->out_first + m->out <= t.n);
    return p->base.flat + t.offset + (size_t)m->out_first * (size_t)t.k;
}

static int decompose(struct pissa *p, const struct stage_run *run, struct err *e)
{
    const struct shape *s = &p->base.shape;
    int n = shape_n_modules(s), rc = 0;
    struct shape_module m;
    for (int i = 0; i < n && !rc; i++) {
        if (stage_interrupted())
            return err_set(e, ERR_IO, "interrupted");
        shape_module(s, i, p->adapter.rank, &m);
        rc = split(&p->adapter, &m, rows_of(p, &m), e);
        stage_progress(run, "singular values", i + 1, n);
    }
    if (rc)
        return rc;
    adapter_round_f16(&p->adapter);
    for (size_t i = 0; i < p->adapter.n_values; i++)
        if (!(fabsf(p->adapter.values[i]) <= F16_MAX))
            return err_set(e, ERR_NUMERIC, "the adapter's values do not fit fp16: raise alpha");
    for (int i = 0; i < n; i++) {
        shape_module(s, i, p->adapter.rank, &m);
        size_t values = (size_t)m.in * (size_t)m.out;
        p->before += sum_of_squares(rows_of(p, &m), values);
        subtract(&p->adapter, &m, rows_of(p, &m));
        p->after += sum_of_squares(rows_of(p, &m), values);
    }
    return 0;
}

/* Of the module that takes most. */
static int split_bytes(const struct shape *s, int rank, size_t *most, struct err *e)
{
    int rc = 0;
    *most = 0;
    for (int i = 0; i < shape_n_modules(s) && !rc; i++) {
        struct shape_module m;
        size_t work = 0;
        shape_module(s, i, rank, &m);
        rc = svd_bytes(m.in, m.out, &work, e);
        size_t bytes = work + split_doubles(&m) * sizeof(double);
        *most = bytes > *most ? bytes : *most;
    }
    return rc;
}

static int say_plan(const struct stage_run *run, struct err *e)
{
    const struct pissa_config *c = run->config;
    const char *base = stage_in(run, "base");
    struct plan_mem parts = {.n_parts = 0};
    struct shape shape;
    size_t most = 0;
    uint64_t file_bytes = 0;
    int rc = model_read_shape(base, &shape, e);
    if (!rc)
        rc = file_size(base, &file_bytes, e);
    if (!rc)
        rc = split_bytes(&shape, (int)c->rank, &most, e);
    if (rc)
        return rc;
    plan_mem_add(&parts, "weights, unpacked", model_trainable_bytes(&shape));
    plan_mem_add(&parts, "adapter", adapter_bytes(&shape, (int)c->rank));
    /* One after the other. */
    if (file_bytes > most)
        plan_mem_add(&parts, "weights, mapped", file_bytes);
    else
        plan_mem_add(&parts, "singular values", most);
    plan_mem_say(&parts, run, "a smaller model takes less");
    return 0;
}

static int open_all(struct pissa *p, const struct stage_run *run, struct err *e)
{
    const struct pissa_config *c = run->config;
    int rc = say_plan(run, e);
    if (!rc)
        rc = model_open_trainable(&p->base, stage_in(run, "base"), e);
    if (!rc)
        rc = adapter_init(&p->adapter, &p->base.shape, (int)c->rank, c->alpha, 0, e);
    for (size_t i = 0; !rc && i < p->adapter.n_values; i++)
        p->adapter.values[i] = 0;
    return rc;
}

static int publish(const struct pissa *p, const struct stage_run *run, struct err *e)
{
    int rc = 0;
    if (stage_out(run, "base"))
        rc = model_save(&p->base, stage_out(run, "base"), "base", DTYPE_F32, NULL, 0, e);
    if (!rc && stage_out(run, "adapter"))
        rc = adapter_save(&p->adapter, stage_out(run, "adapter"), DTYPE_F16, NULL, 0, e);
    struct json *metrics = json_new_object(), *report = blocks_new();
    json_put_i64(metrics, "rank", p->adapter.rank);
    json_put_i64(metrics, "modules", shape_n_modules(&p->base.shape));
    json_put_f64(metrics, "share_in_adapter", p->before > 0 ? 1 - p->after / p->before : 0);
    blocks_add_numbers(report, "Principal part", metrics);
    return blocks_publish(run, "metrics", metrics, report, rc, e);
}

static int run(const struct stage_run *run, struct err *e)
{
    struct pissa p = {0};
    int rc = open_all(&p, run, e);
    if (!rc)
        rc = decompose(&p, run, e);
    if (!rc)
        rc = publish(&p, run, e);
    adapter_release(&p.adapter);
    model_release(&p.base);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
