#ifndef FMFORGE_MODEL_TENSOR_SOURCE_H
#define FMFORGE_MODEL_TENSOR_SOURCE_H

/*
 * Tensors that another program has saved, whatever it saved them in: a file of torch.save, a file
 * of safetensors, or a folder with several of these (shards). The files are mapped; what is held is
 * a struct for each tensor, and data are read one tensor at a time.
 */

#include "stages/model/ptfile.h"
#include "stages/model/tensorfile.h"

struct source_tensor {
    const char *name;           /* as in the file; borrowed from it */
    bool is_float;              /* fp32, fp16 or bf16, of at most TENSOR_DIMS_MAX dimensions */
    struct tensor view;         /* not is_float: its dimensions only, as far as there is room */
    bool used;                  /* for the caller: what is left is too much */
    const struct pt_tensor *pt; /* NULL: from safetensors */
};

struct tensor_source {
    struct ptfile pt;
    unsigned char *summed;    /* by entry of its zip: the checksum was compared */
    struct thread_pool *pool; /* for checksums; borrowed; NULL: none */
    struct tensorfile *files;
    size_t n_files;
    struct source_tensor *tensors; /* sorted by name */
    size_t n_tensors;
};

int tensor_source_open_pt(struct tensor_source *s, const char *path, struct err *e) MUST_USE;
/* path: a file, or a folder, of which every file PREFIX*.safetensors is opened. ERR_MISSING when it
 * has none, ERR_FORMAT when two of them have a tensor of one name. */
int tensor_source_open_safetensors(struct tensor_source *s, const char *path, const char *prefix,
                                   struct err *e) MUST_USE;
void tensor_source_close(struct tensor_source *s); /* safe on zeroed, safe twice */

struct source_tensor *tensor_source_find(const struct tensor_source *s,
                                         const char *name); /* or NULL */
/* A wanted name that is not there, but as PREFIX.name: ERR_FORMAT, which says so. Else 0. */
int tensor_source_check_prefix(const struct tensor_source *s, const char *name,
                               struct err *e) MUST_USE;

/* A tensor's values as fp32, in the mapping itself where they are that. */
struct source_values {
    const struct source_tensor *t;
    const float *values;
    float *own; /* or NULL */
};

/* CHECKs is_float. A storage of torch.save is compared with its checksum, once: a value is what was
 * saved, or there is none (ERR_FORMAT). */
int tensor_source_load(struct tensor_source *s, const struct source_tensor *t,
                       struct source_values *out, struct err *e) MUST_USE;
/* It is loaded next: the disk may read ahead while another one is in use. */
void tensor_source_expect(const struct source_tensor *t);
/* Gives back the pages of the file too: resident memory stays that of one tensor. */
void tensor_source_unload(struct source_values *v);

#endif
