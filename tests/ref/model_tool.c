/*
 * What check_tamm.py and check_mlx.py drive: stages/model/transformer.h and decoder.h as a program.
 *
 *   model_tool pass PRECISION BASE ADAPTER BATCH OUT          logits of every token, the mean loss,
 *                                                             its gradients by tensor
 *   model_tool decode PRECISION BASE ADAPTER BATCH OUT N      logits of every token: N of them as a
 *                                                             prompt, the others one after another
 *
 * PRECISION: f32 or int16. BATCH: JSON with the lists ids, targets (-1 = no loss) and
 * segment_starts (the last is the number of tokens). OUT: safetensors with "logits" (T,V), "loss"
 * (1) and one tensor per parameter of the adapter. Exit 1 with the message on stderr.
 */

#include <stdio.h>
#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/adapted.h"
#include "stages/model/decoder.h"
#include "stages/model/transformer.h"

struct tool {
    struct compute c;
    struct adapted adapted;
    struct json *root;
    int n_tokens, n_labels;
    int32_t *ids, *pos, *target, *any, *start; /* any: a target for every token */
    struct batch b;
    float *logits, *grads, loss;
    struct tensor_writer out;
};

/* ---- the batch ---- */

static int read_ints(const struct tool *t, const char *key, int32_t **out, int *n, struct err *e)
{
    const struct json *list = NULL;
    int rc = json_need_array(t->root, key, &list, e);
    if (rc != 0)
        return rc;
    *n = 0;
    *out = xalloc_array(json_count(list) + 1, sizeof **out);
    for (const struct json *v = json_first(list); v != NULL; v = json_next(v)) {
        if (!json_is_integer(v))
            return err_set(e, ERR_FORMAT, "batch: %s holds something else than integers", key);
        (*out)[(*n)++] = (int32_t)json_number(v);
    }
    return 0;
}

static int read_batch(struct tool *t, const char *path, struct err *e)
{
    int n_targets = 0, n_starts = 0;
    int rc = json_read(path, &t->root, e);
    if (rc == 0)
        rc = read_ints(t, "ids", &t->ids, &t->n_tokens, e);
    if (rc == 0)
        rc = read_ints(t, "targets", &t->target, &n_targets, e);
    if (rc == 0)
        rc = read_ints(t, "segment_starts", &t->start, &n_starts, e);
    if (rc != 0)
        return rc;
    if (n_targets != t->n_tokens || n_starts < 2 || t->start[n_starts - 1] != t->n_tokens)
        return err_set(e, ERR_FORMAT, "%s: %d ids, %d targets, %d segment_starts", path,
                       t->n_tokens, n_targets, n_starts);
    t->pos = xalloc_array((size_t)t->n_tokens, sizeof *t->pos);
    t->any = xalloc_array((size_t)t->n_tokens, sizeof *t->any);
    for (int i = 0, segment = 0; i < t->n_tokens; i++) {
        while (segment + 2 < n_starts && i >= t->start[segment + 1])
            segment++;
        t->pos[i] = i - t->start[segment];
        t->n_labels += t->target[i] >= 0;
    }
    t->b = (struct batch){t->n_tokens, t->ids, t->pos, t->target, n_starts - 1, t->start, NULL};
    return batch_check(&t->b, &t->adapted.model.shape, e);
}

/* ---- what is computed ---- */

static int pass_logits(struct tool *t, struct err *e)
{
    const struct model *m = &t->adapted.model;
    struct transformer tr = {0};
    struct transformer_plan plan = {.tokens_max = t->n_tokens,
                                    .rank = t->adapted.adapter->rank,
                                    .what = TRAIN_NOTHING,
                                    .precision = t->c.precision};
    struct batch all = t->b;
    int n_rows = 0;
    float *hidden = xalloc_array((size_t)t->n_tokens * (size_t)m->shape.hidden, sizeof *hidden);
    all.target = t->any;
    int rc = transformer_reserve(&tr, &t->c, &m->shape, &plan, e);
    if (rc == 0)
        rc = transformer_hidden(&tr, m, t->adapted.adapter, &all, hidden, &n_rows, e);
    if (rc == 0)
        transformer_logits(&t->c, m, n_rows, hidden, t->logits);
    transformer_release(&tr);
    xfree(hidden);
    return rc;
}

static int pass_gradients(struct tool *t, const char *adapter_path, struct err *e)
{
    struct adapter a = {0}; /* in fp32: that of t->adapted may be in halves */
    int rc = adapter_open(&a, adapter_path, &t->adapted.model.shape, e);
    struct transformer tr = {0};
    struct transformer_plan plan = {
        .tokens_max = t->n_tokens, .rank = a.rank, .what = TRAIN_LORA, .precision = t->c.precision};
    struct loss_sum sum = {0};
    t->grads = xalloc_array(a.n_values + 1, sizeof *t->grads);
    if (rc == 0)
        rc = transformer_reserve(&tr, &t->c, &t->adapted.model.shape, &plan, e);
    if (rc == 0)
        rc = transformer_loss(&tr, &t->adapted.model, &a, &t->b, 1.0f / (float)t->n_labels,
                              t->grads, &sum, e);
    if (rc == 0)
        t->loss = (float)(sum.loss / (double)sum.n_tokens);
    transformer_release(&tr);
    adapter_release(&a);
    return rc;
}

/* All tokens as one sequence. */
static int decode(struct tool *t, int n_prompt, struct err *e)
{
    const struct model *m = &t->adapted.model;
    const int32_t first = 0;
    size_t vocab = (size_t)m->shape.vocab;
    struct decoder d = {0};
    struct decoder_plan plan = {1, t->n_tokens, 0};
    int rc = decoder_reserve(&d, &t->c, m, t->adapted.adapter, &plan, e);
    if (rc == 0)
        rc = decoder_feed(&d, 0, t->ids, n_prompt, t->logits, e);
    for (int i = n_prompt; i < t->n_tokens && rc == 0; i++) {
        rc = decoder_step(&d, &first, t->ids + i, 1, e);
        if (rc == 0)
            memcpy(t->logits + (size_t)i * vocab, decoder_logits(&d, 0), vocab * sizeof(float));
    }
    decoder_release(&d);
    return rc;
}

/* ---- the result ---- */

static void add_gradients(struct tool *t)
{
    const struct adapter *a = t->adapted.adapter;
    for (int i = 0; i < shape_n_modules(&a->shape); i++) {
        struct shape_module m;
        char name[ADAPTER_NAME_BYTES];
        shape_module(&a->shape, i, a->rank, &m);
        uint64_t dims_a[2] = {(uint64_t)m.in, (uint64_t)a->rank};
        uint64_t dims_b[2] = {(uint64_t)a->rank, (uint64_t)m.out};
        adapter_tensor_name(&m, false, name);
        tensor_writer_add_f32(&t->out, name, DTYPE_F32, 2, dims_a, t->grads + m.a_offset);
        adapter_tensor_name(&m, true, name);
        tensor_writer_add_f32(&t->out, name, DTYPE_F32, 2, dims_b, t->grads + m.b_offset);
    }
}

static int write_out(struct tool *t, const char *path, struct err *e)
{
    const uint64_t one = 1;
    const uint64_t dims[2] = {(uint64_t)t->n_tokens, (uint64_t)t->adapted.model.shape.vocab};
    tensor_writer_add_f32(&t->out, "logits", DTYPE_F32, 2, dims, t->logits);
    if (t->grads != NULL) {
        tensor_writer_add_f32(&t->out, "loss", DTYPE_F32, 1, &one, &t->loss);
        add_gradients(t);
    }
    return tensor_writer_write(&t->out, path, e);
}

static int run(struct tool *t, char **argv, int n_prompt, struct err *e)
{
    int rc = compute_open(&t->c, 2, "auto", e);
    t->c.precision = str_eq(argv[2], "int16") ? COMPUTE_INT16 : COMPUTE_F32;
    if (rc == 0)
        rc = adapted_open(&t->adapted, argv[3], argv[4], NULL, e);
    if (rc == 0)
        rc = read_batch(t, argv[5], e);
    if (rc != 0)
        return rc;
    if (n_prompt > t->n_tokens)
        return err_set(e, ERR_CONFIG, "a prompt of %d tokens, but there are %d", n_prompt,
                       t->n_tokens);
    t->logits =
        xalloc_array((size_t)t->n_tokens * (size_t)t->adapted.model.shape.vocab, sizeof *t->logits);
    if (n_prompt > 0)
        rc = decode(t, n_prompt, e);
    else
        rc = pass_logits(t, e);
    if (rc == 0 && n_prompt == 0 && t->n_labels > 0)
        rc = pass_gradients(t, argv[4], e);
    return rc == 0 ? write_out(t, argv[6], e) : rc;
}

static void tool_release(struct tool *t)
{
    tensor_writer_release(&t->out);
    xfree(t->ids);
    xfree(t->pos);
    xfree(t->target);
    xfree(t->any);
    xfree(t->start);
    xfree(t->logits);
    xfree(t->grads);
    json_free(t->root);
    adapted_release(&t->adapted);
    compute_close(&t->c);
}

int main(int argc, char **argv)
{
    struct tool t = {0};
    struct err e = {0};
    int64_t n_prompt = 0;
    bool decodes = argc == 8 && str_eq(argv[1], "decode") && str_to_i64(argv[7], &n_prompt);
    if (decodes ? n_prompt < 1 || n_prompt > 1 << 20 : argc != 7 || !str_eq(argv[1], "pass")) {
        fprintf(stderr, "usage: model_tool pass|decode f32|int16 BASE ADAPTER BATCH OUT [N]\n");
        return 2;
    }
    tensor_writer_init(&t.out);
    int rc = run(&t, argv, (int)n_prompt, &e);
    if (rc != 0)
        fprintf(stderr, "model_tool: %s\n", e.text);
    tool_release(&t);
    return rc == 0 ? 0 : 1;
}
