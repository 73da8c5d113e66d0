#ifndef FMFORGE_UNIT_REFERENCE_MODEL_H
#define FMFORGE_UNIT_REFERENCE_MODEL_H

/*
 * A naive model of the class AFMTextV7 in double precision: one token at a time, plain loops, no
 * code shared with stages/model but the names and offsets of shape.h. Tests compare with it and
 * take its central differences.
 */

#include "stages/model/lora.h"
#include "stages/model/model.h"
#include "stages/model/transformer.h"

enum reference_kv {
    REFERENCE_KV_OFF,
    REFERENCE_KV_QUANT,
    /* The straight-through surrogate: y = x + (quant(x0) - x0), with x0 remembered from the last
     * REFERENCE_KV_QUANT pass. Its derivative is the straight-through rule. */
    REFERENCE_KV_STRAIGHT,
};

struct reference {
    struct shape shape;
    struct shape_tensor *tensors; /* the list of shape.h */
    struct shape_module *modules;
    double *flat; /* as model->flat */
    size_t n_flat;
    double *lora; /* as adapter->values; NULL without adapter */
    size_t n_lora;
    int rank;
    double lora_scale;
    double *kv_scale; /* (layers_0, 2) */
    enum reference_kv kv;
    double *kv_offset; /* remembered: (layers_0, 2, tokens, KV*D) */
    int kv_clipped;    /* values outside the range in the last REFERENCE_KV_QUANT pass */
    int kv_tokens;
};

/* Copies every weight (unpacked) and the adapter (may be NULL). */
void reference_init(struct reference *r, const struct model *m, const struct adapter *a);
void reference_release(struct reference *r);
/* Logits of every token (T, V); NULL = not wanted. Returns the sum of the labelled losses. */
double reference_pass(struct reference *r, const struct batch *b, double *logits);

#endif
