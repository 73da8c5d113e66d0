#ifndef FMFORGE_MODEL_SHAPE_H
#define FMFORGE_MODEL_SHAPE_H

/*
 * The dimensions of a model of the class AFMTextV7, and the one enumeration of its tensors, linears
 * and LoRA modules with the training toolkit's own names and order. Everything that stores, counts,
 * initialises, updates or exports parameters walks these lists.
 *
 * B T C H KV D F V R L in code: C = hidden, H = heads, KV = kv_heads, D = head_dim, F = ffn,
 * V = vocab, R = LoRA rank, L = layers_0 + layers_1.
 *
 * Segment 0 (layers_0 layers) computes its own keys and values; segment 1 (layers_1 layers) reads
 * those of the last layer of segment 0. layers_1 = 0 is the draft's class: one uniform segment,
 * named `layers.layer_{i}` instead of `layers.segment_0.layer_{i}`.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

struct shape {
    int vocab;
    int hidden;
    int layers_0;
    int layers_1;
    int heads;
    int kv_heads;
    int head_dim;
    int ffn;
    int context; /* positions */
    double rope_theta;
    double norm_eps;
    bool kv_quant;
};

/* All rules: positive and within limits; vocab, hidden, ffn, heads*head_dim and kv_heads*head_dim
 * multiples of 16; head_dim a multiple of 8; heads a multiple of kv_heads. ERR_CONFIG names key,
 * found and expected. */
int shape_check(const struct shape *s, struct err *e) MUST_USE;
/* Strict: exactly the keys vocab hidden layers_0 layers_1 heads kv_heads head_dim ffn rope_theta
 * norm_eps context kv_quant; then shape_check. */
int shape_from_json(const struct json *v, struct shape *out, struct err *e) MUST_USE;
int shape_parse(const char *text, size_t n_bytes, struct shape *out, struct err *e) MUST_USE;
int shape_read(const char *path, struct shape *out, struct err *e) MUST_USE;
struct json *shape_to_json(const struct shape *s);        /* caller frees */
void shape_write(const struct shape *s, struct buf *out); /* canonical JSON, appended */
bool shape_equal(const struct shape *a, const struct shape *b);

static inline int shape_layers(const struct shape *s)
{
    return s->layers_0 + s->layers_1;
}
static inline int shape_q_dim(const struct shape *s)
{
    return s->heads * s->head_dim;
}
static inline int shape_kv_dim(const struct shape *s)
{
    return s->kv_heads * s->head_dim;
}
/* Does the layer read the shared keys and values? */
static inline bool shape_layer_reuses(const struct shape *s, int layer)
{
    return layer >= s->layers_0;
}

/* The five linears of a layer, in the toolkit's order. Segment 1 has only Q in the first. */
enum linear_slot {
    LINEAR_QKV,
    LINEAR_OUT,
    LINEAR_GATE, /* feed_forward linear_0 */
    LINEAR_UP,   /* linear_1 */
    LINEAR_DOWN,
    LINEAR_SLOTS,
};

enum tensor_role {
    ROLE_EMBEDDING,
    ROLE_LINEAR, /* see slot */
    ROLE_ATTENTION_NORM,
    ROLE_QUERY_NORM,
    ROLE_KEY_NORM,
    ROLE_FFN_NORM,
    ROLE_FINAL_NORM,
};

#define SHAPE_NAME_BYTES 128

/* One trainable parameter tensor of the base. */
struct shape_tensor {
    char name[SHAPE_NAME_BYTES];
    enum tensor_role role;
    enum linear_slot slot; /* ROLE_LINEAR only */
    int layer;             /* 0 .. L-1; -1 for the embedding and the final norm */
    int linear;            /* index of the linear, -1 if none */
    int n;                 /* rows; width of a norm */
    int k;                 /* columns; 1 for a norm */
    size_t offset;         /* in floats inside the flat parameter array; a multiple of 16 */
};

static inline bool shape_is_norm(const struct shape_tensor *t)
{
    return t->role != ROLE_EMBEDDING && t->role != ROLE_LINEAR;
}

/* Tensors in order: embedding, layer by layer, final norm. The KV quantisers' ranges are no
 * parameters and not listed: see shape_range_name. */
int shape_n_tensors(const struct shape *s);
void shape_tensor(const struct shape *s, int i, struct shape_tensor *out);
/* Floats of the flat parameter array: all tensors, each start padded to 16 floats. */
size_t shape_flat_floats(const struct shape *s);
/* The tensor that holds position `offset` of the flat array: names for messages. */
void shape_tensor_at(const struct shape *s, size_t offset, struct shape_tensor *out);

/* The adapted linears: 5 per layer. Index = 5 * layer + slot. */
static inline int shape_n_linears(const struct shape *s)
{
    return LINEAR_SLOTS * shape_layers(s);
}
void shape_linear(const struct shape *s, int i, struct shape_tensor *out);

/* `...kv_quantizer.{key,value}_quantizer.activation_post_process.range`, F32 [2] = min, max;
 * for layers of segment 0. */
void shape_range_name(const struct shape *s, int layer, bool value, char out[SHAPE_NAME_BYTES]);

/* One LoRA module: y[:, out_first .. out_first + out) += (alpha/R) (x A) B. */
struct shape_module {
    char name[SHAPE_NAME_BYTES]; /* tensors are name.a_transpose [in][R], name.b_transpose [R][out]
                                  */
    int layer;
    enum linear_slot slot;
    int linear;
    int lora; /* 0 Q, 1 K, 2 V inside the fused QKV; 0 elsewhere */
    int in;
    int out;
    int out_first;   /* first row of the linear's output that it adds to */
    size_t a_offset; /* in floats inside the flat LoRA array of rank R */
    size_t b_offset;
};

/* Modules in the order of the package (and of the flat LoRA array): 7 per layer of segment 0
 * (Q K V out gate up down), 5 per layer of segment 1. */
int shape_n_modules(const struct shape *s);
void shape_module(const struct shape *s, int i, int rank, struct shape_module *out);
/* The same without its name, which takes longer than all the rest: for every pass. */
void shape_module_place(const struct shape *s, int i, int rank, struct shape_module *out);
/* Index of the first module of a layer. */
int shape_module_first(const struct shape *s, int layer);
size_t shape_lora_floats(const struct shape *s, int rank);

/* Counts (REFERENCE of the class; padding of the flat array not counted). */
struct shape_counts {
    uint64_t embedding;
    uint64_t layer_0; /* one layer of segment 0, frozen */
    uint64_t layer_1;
    uint64_t frozen; /* all of the base */
    uint64_t lora_0; /* LoRA of one layer of segment 0 at the given rank */
    uint64_t lora_1;
    uint64_t lora;
    uint64_t total;
    uint64_t modules;
    uint64_t lora_tensors;
    uint64_t linears;
};
struct shape_counts shape_count(const struct shape *s, int rank);

#endif
