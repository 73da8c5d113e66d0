#ifndef FMFORGE_MODEL_LORA_IMPORT_H
#define FMFORGE_MODEL_LORA_IMPORT_H

/*
 * An adapter that another program has trained or kept: adapter-final.pt of the toolkit, a folder of
 * PEFT (adapter_config.json, adapter_model.safetensors or adapter_model.bin), or a folder of MLX
 * (adapter_config.json, adapters.safetensors). Names: lora_names.h; scale: lora_config.h.
 *
 * All tensors are looked at, and what is missing, too much, of another rank or shape, or not finite
 * is listed, before memory is taken for the adapter. Values are kept exactly, whatever their dtype.
 */

#include "stages/model/lora.h"
#include "stages/model/lora_config.h"
#include "stages/model/tensor_source.h"

/* Where a PEFT adapter's values are, beside its config; or all of an adapter of MLX. */
#define LORA_CONFIG_FILE "adapter_config.json"
#define LORA_PEFT_FILE "adapter_model.safetensors"
#define LORA_MLX_FILE "adapters.safetensors"

struct lora_import {
    enum lora_format format;
    const struct shape *shape;
    double alpha; /* the toolkit's: 0 = rank / 2; of the others it must be 0 or what they say */
    bool
        fresh_rest; /* modules of which there is nothing get a fresh A and B = 0: as good as none */
    int64_t seed;   /* of these */
    /* found, after lora_import_open */
    struct lora_config config;
    struct tensor_source source;
    uint32_t *places; /* private: by module, A and B: the tensor that holds it, counted from 1 */
    int n_modules;    /* in the file */
    int n_fused;      /* of them from one pair on a fused QKV */
};

/* Reads config and names, checks every tensor; takes a few bytes for each and none for values. The
 * five fields above are set by the caller. ERR_FORMAT with the list, ERR_MISSING, ERR_LIMIT,
 * ERR_IO; ERR_CONFIG for an alpha that contradicts. */
int lora_import_open(struct lora_import *l, const char *path, struct err *e) MUST_USE;
/* Takes adapter_bytes and fills the adapter; its base is what the file says (fmforge.base). The
 * caller releases it. */
int lora_import_read(struct lora_import *l, struct adapter *out, struct err *e) MUST_USE;
void lora_import_close(struct lora_import *l); /* safe on zeroed, safe twice */

#endif
