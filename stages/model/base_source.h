#ifndef FMFORGE_MODEL_BASE_SOURCE_H
#define FMFORGE_MODEL_BASE_SOURCE_H

/*
 * A base that another program has saved, and how its tensors are named there: a file of torch.save
 * with the toolkit's names, or safetensors of MLX (mlx_model.h). Adapter tensors may be among them.
 */

#include "stages/model/lora_names.h"
#include "stages/model/tensor_source.h"

struct base_source {
    struct tensor_source tensors;
    struct shape shape; /* that it must have */
    bool mlx;
    int rank; /* of the adapter in it; 0 = there is none. By base_source_check */
};

/* Names and dimensions of every tensor, which marks them as used: ERR_FORMAT with the list of what
 * is missing, too much or of another shape. */
int base_source_check(struct base_source *b, struct err *e) MUST_USE;

void base_source_tensor_name(const struct base_source *b, const struct shape_tensor *t,
                             char out[SHAPE_NAME_BYTES]);
void base_source_range_name(const struct base_source *b, int layer, bool value,
                            char out[SHAPE_NAME_BYTES]);
void base_source_lora_name(const struct base_source *b, const struct shape_module *m, bool is_b,
                           char out[LORA_NAME_BYTES]);

#endif
