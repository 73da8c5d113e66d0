#include "stages/model/flat_params.h"

#include <stdio.h>

#include "stages/model/tensorfile.h"

void flat_params_groups(const struct shape *s, double weight_decay, struct trainer_group *groups)
{
    int n = shape_n_tensors(s);
    for (int i = 0; i < n; i++) {
        struct shape_tensor t;
        shape_tensor(s, i, &t);
        bool is_matrix = t.role == ROLE_EMBEDDING || t.role == ROLE_LINEAR;
        groups[i] = (struct trainer_group){
            .first = t.offset,
            .count = (size_t)t.n * (size_t)t.k,
            .weight_decay = is_matrix ? (float)weight_decay : 0,
        };
    }
}

void flat_params_name(const struct shape *s, size_t offset, char *out, size_t out_bytes)
{
    struct shape_tensor t;
    shape_tensor_at(s, offset, &t);
    snprintf(out, out_bytes, "%s", t.name);
}

void flat_params_round_bf16(float *flat, size_t n)
{
    for (size_t i = 0; i < n; i++)
        flat[i] = tensor_bf16_to_f32(tensor_bf16_from_f32(flat[i]));
}
