#ifndef FMFORGE_MODEL_PTDRAFT_H
#define FMFORGE_MODEL_PTDRAFT_H

/*
 * The draft model out of a file of torch.save, as the training toolkit's draft-model.pt: one
 * uniform segment, `layers.layer_{i}...`, a tied embedding, no LoRA. Nothing adapts its linears, so
 * the part `.wrapped` may be missing in their names; public descriptions do not say whether it is.
 */

#include "stages/model/model.h"
#include "stages/model/ptfile.h"

struct ptdraft {
    struct model model; /* dense fp32 */
    int64_t n_parameters;
    bool is_bf16; /* every matrix is exact in BF16 */
};

/*
 * Reads every tensor of the shape, of fp32, fp16 or bf16, and no other: ERR_FORMAT lists by name
 * what is missing, too much, there in both forms of its name, or of other dimensions, and an
 * `output_transform.weight` that is not the embedding. Also ERR_FORMAT for a storage that is
 * damaged, ERR_NUMERIC for a value that is not finite, ERR_CONFIG for the shape of no draft.
 * Release also after an error.
 */
int ptdraft_open(struct ptdraft *d, const char *path, const struct shape *shape,
                 struct err *e) MUST_USE;
/* As the other drafts are stored: safetensors, BF16 where that loses nothing, else fp32. */
int ptdraft_save(const struct ptdraft *d, const char *path, struct err *e) MUST_USE;
void ptdraft_release(struct ptdraft *d); /* safe on zeroed, safe twice */

#endif
