#ifndef FMFORGE_MODEL_LORA_H
#define FMFORGE_MODEL_LORA_H

/*
 * An adapter: one flat fp32 array of all LoRA parameters in the order of the package
 * (shape_module): per module A[in][R], then B[R][out]. y += (alpha / R) (x A) B.
 */

#include "pipeline/base/arena.h"
#include "pipeline/base/sha256.h"
#include "stages/model/compute.h"
#include "stages/model/shape.h"
#include "stages/model/tensorfile.h"
#include "stages/model/weight.h"

#define LORA_RANK_MAX 1024

struct adapter {
    struct shape shape;
    int rank;
    double alpha;
    float scale;            /* alpha / rank */
    struct content_id base; /* it was trained on; "" = the file does not say */
    float *values;          /* n_values; lives in arena; NULL after adapter_halve */
    uint16_t *halves;       /* instead of values: the same numbers in fp16 */
    size_t n_values;        /* shape_lora_floats(shape, rank) */
    struct arena arena;
};

/* Fresh: A normal with std sqrt(1/in), stream "lora/<tensor name>"; B zero. alpha 0 = rank / 2. */
int adapter_init(struct adapter *a, const struct shape *shape, int rank, double alpha, int64_t seed,
                 struct err *e) MUST_USE;
/* Reads an adapter file (F32, F16 or BF16). ERR_FORMAT lists missing, extra and mis-shaped tensors;
 * never a partial load. The values must be finite. */
int adapter_open(struct adapter *a, const char *path, const struct shape *shape,
                 struct err *e) MUST_USE;
/* ERR_CONFIG when the adapter says that it was trained on another base than this one: on that it
 * loads and computes nonsense. */
int adapter_check_base(const struct adapter *a, const struct content_id *base,
                       struct err *e) MUST_USE;
/* To train on a base: from the adapter file `init`, which must have this rank, this alpha (0: any)
 * and be of this base; NULL: fresh. */
int adapter_start(struct adapter *a, const char *init, const struct shape *shape,
                  const struct content_id *base, int rank, double alpha, int64_t seed,
                  struct err *e) MUST_USE;
/* Bytes that an adapter reserves. */
size_t adapter_bytes(const struct shape *shape, int rank);
void adapter_release(struct adapter *a); /* safe on zeroed, safe twice */
/* Metadata: fmforge.kind=adapter, fmforge.rank, fmforge.alpha, fmforge.shape, and the given ones
 * (e.g. fmforge.base). dtype F32 or F16. */
int adapter_save(const struct adapter *a, const char *path, enum tensor_dtype dtype,
                 const struct tensor_meta *meta, size_t n_meta, struct err *e) MUST_USE;

/* Rounds every value to the nearest of fp16, which is what a package holds; values beyond fp16's
 * range stay, and export names them. */
void adapter_round_f16(struct adapter *a);

/* Keeps the values in half the room, for passes that do not train: where all of them are numbers of
 * fp16, as those of a checkpoint or a package are. The same bits come out. Else false, and nothing
 * changes.
 */
bool adapter_halve(struct adapter *a);
/* Bytes that a halved adapter keeps; its floats are there until then, not beside them. */
size_t adapter_halved_bytes(const struct shape *shape, int rank);

/* The tensor's name in files: module.a_transpose [in][R], module.b_transpose [R][out]. */
#define ADAPTER_NAME_BYTES (SHAPE_NAME_BYTES + 16)
void adapter_tensor_name(const struct shape_module *m, bool b, char out[ADAPTER_NAME_BYTES]);

static inline float *adapter_a(const struct adapter *a, const struct shape_module *m)
{
    return a->values + m->a_offset;
}
static inline float *adapter_b(const struct adapter *a, const struct shape_module *m)
{
    return a->values + m->b_offset;
}
/* The tensor that holds position `offset` of the flat array: for messages. */
void adapter_name_at(const struct adapter *a, size_t offset, char out[SHAPE_NAME_BYTES + 16]);

/* A module's weights during a pass. */
struct lora_view {
    struct weight a; /* (in, R), in fp32 or halves */
    struct weight b; /* (R, out) */
    float scale;
};

struct lora_view adapter_view(const struct adapter *a, const struct shape_module *m);

/* h = scale * x A (kept for backward, (M, R)). What is left is y += h B: gemm_xwt_then. */
void lora_forward(struct compute *c, int m, const struct lora_view *l, const float *x, int ldx,
                  float *h);
/* Of a view in fp32. dB += h^T dy; dh = scale * dy B^T; dA += x^T dh. da, db NULL: frozen. dh: (M,
 * R). What is left is dx += dh A^T: gemm_xw_then. */
void lora_backward(struct compute *c, int m, const struct lora_view *l, const float *x, int ldx,
                   const float *h, const float *dy, int lddy, float *dh, float *da, float *db);

#endif
