#ifndef FMFORGE_MODEL_MODEL_H
#define FMFORGE_MODEL_MODEL_H

/*
 * The weights of one model: embedding, norms, five linears per layer, KV quantiser ranges. Either
 * mapped read-only from a base file in whatever forms it stores (2-bit, 4-bit, bf16, fp32), or
 * dense and trainable over one flat fp32 array laid out by shape_tensor (pretrain, draft).
 */

#include "pipeline/base/arena.h"
#include "stages/kit/plan_mem.h"
#include "stages/model/ops.h"
#include "stages/model/shape.h"
#include "stages/model/tensorfile.h"
#include "stages/model/weight.h"

/* The range of an activation quantiser; 0,0 = off. */
struct kv_range {
    float min, max;
};

struct model_layer {
    struct weight linear[LINEAR_SLOTS]; /* may be replaced by a caller (fake-quantised copies) */
    const float *attention_norm;        /* (C) */
    const float *query_norm;            /* (D) */
    const float *key_norm;              /* (D); NULL in segment 1 */
    const float *ffn_norm;              /* (C) */
    struct kv_range key_range, value_range; /* segment 0 */
};

struct model {
    struct shape shape;
    struct weight embedding;    /* (V, C), also the output matrix; may be replaced by a caller */
    struct weight output;       /* by panels: the embedding's values as output matrix */
    const float *final_norm;    /* (C) */
    struct model_layer *layers; /* L */
    struct rope_table rope;     /* positions = shape.context */
    float *flat;                /* trainable: all parameters, shape_flat_floats; else NULL */
    size_t n_flat;
    struct tensorfile file; /* mapped models */
    struct arena arena, panels;
};

/* The shape that a base or draft file carries; nothing else of it is read. */
int model_read_shape(const char *path, struct shape *out, struct err *e) MUST_USE;
/* Maps a base or draft file. Refuses missing, extra and mis-shaped tensors and values that are not
 * finite, listing them. */
int model_open(struct model *m, const char *path, struct err *e) MUST_USE;
/* The same into a trainable model: every form is unpacked to fp32. */
int model_open_trainable(struct model *m, const char *path, struct err *e) MUST_USE;
/* A trainable model with all parameters 0 (norms 1). */
int model_init(struct model *m, const struct shape *shape, struct err *e) MUST_USE;
/* Normal values, one random stream per tensor name: embedding 0.02, linears sqrt(1/fan_in), those
 * that write to the residual stream additionally / sqrt(2 L); norms 1. */
void model_randomise(struct model *m, int64_t seed);
/* A packed model with random codes, every level as likely as the others, and the variances of
 * model_randomise: made without a dense copy. Norms 1, ranges 0. n and k of every matrix must be
 * multiples of 16: ERR_CONFIG. model_random_bytes: what it reserves. */
int model_random_bytes(const struct shape *shape, size_t *bytes, struct err *e) MUST_USE;
int model_init_random_packed(struct model *m, const struct shape *shape, int64_t seed,
                             struct err *e) MUST_USE;
/* Layers and RoPE table only: every tensor is to be set, with weights that the caller owns and
 * keeps (norms as dense ones), before the model is used or saved. */
int model_init_frame(struct model *m, const struct shape *shape, struct err *e) MUST_USE;
void model_set_tensor(struct model *m, const struct shape_tensor *t, struct weight w);
void model_release(struct model *m); /* safe on zeroed, safe twice */
/* Bytes that model_init reserves. */
size_t model_trainable_bytes(const struct shape *shape);

/* For what only answers, few tokens at a time: dense matrices by panels (weight.h), in memory of
 * their own. The same bits come out. Such a model is not trained or saved. */
int model_to_panels(struct model *m, struct err *e) MUST_USE;
/* Bytes that it reserves. */
size_t model_panel_bytes(const struct model *m);

/* What an open model has taken, by parts. */
void model_memory(const struct model *m, struct plan_mem *out);
/* What model_open_trainable will take of that file; its map only until it returns. */
int model_trainable_memory(const char *path, struct plan_mem *out, struct err *e) MUST_USE;
/* Bytes that model_open reserves beside the mapped file, at least: layers and RoPE table. */
size_t model_frame_bytes(const struct shape *shape);
/* What a tensor is stored as in a packed base: matrices of 2 bits, an embedding of 4, norms fp32.
 */
enum weight_form model_packed_form(const struct shape_tensor *t);
/* Bytes of the tensors in the file of a model with its matrices and its embedding in these forms:
 * quantised matrices with one scale, the embedding with one per row. */
uint64_t model_tensor_bytes(const struct shape *shape, enum weight_form linears,
                            enum weight_form embedding);

/* Writes the model: quantised forms as U8 with scale and layout, fp32 forms as dense_dtype.
 * kind: "base" or "draft". */
int model_save(const struct model *m, const char *path, const char *kind,
               enum tensor_dtype dense_dtype, const struct tensor_meta *meta, size_t n_meta,
               struct err *e) MUST_USE;

static inline struct weight *model_linear(struct model *m, int i)
{
    return &m->layers[i / LINEAR_SLOTS].linear[i % LINEAR_SLOTS];
}

/* Does the decoder keep codes: are all keys and values quantised (attention.h)? Of a model that is
 * only planned, its layers NULL: what its shape says. */
bool model_has_kv_codes(const struct model *m);
/* scale = max(min / -128, max / 127); 0 = off (also where the shape has no KV quantisers). */
float kv_range_scale(const struct kv_range *r);
/* Range observers: range = abs_max the first time, then momentum * range + (1-momentum) * abs_max.
 * abs_max: (layers_0, 2), key then value, as struct transformer has them after a forward pass. */
void model_observe_kv(struct model *m, const float *abs_max, float momentum);

#endif
