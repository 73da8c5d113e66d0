#ifndef FMFORGE_MODEL_FLAT_PARAMS_H
#define FMFORGE_MODEL_FLAT_PARAMS_H

/* The flat parameter array of a trainable model as a trainer sees it: one group per tensor, weight
 * decay on matrices only. */

#include "stages/model/shape.h"
#include "stages/model/trainer.h"

/* groups: shape_n_tensors of them. */
void flat_params_groups(const struct shape *s, double weight_decay, struct trainer_group *groups);
/* A trainer's name_at; context is a struct shape. */
void flat_params_name(const struct shape *s, size_t offset, char *out, size_t out_bytes);
/* Rounds every parameter to what BF16 stores. */
void flat_params_round_bf16(float *flat, size_t n);

#endif
