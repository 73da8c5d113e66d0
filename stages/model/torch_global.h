#ifndef FMFORGE_MODEL_TORCH_GLOBAL_H
#define FMFORGE_MODEL_TORCH_GLOBAL_H

/*
 * The names that a pickle by torch.save may ask for, and what each stands for here. It is the whole
 * list: whoever asks for another name is refused (unpickle.h). Source: torch/_utils.py,
 * torch/serialization.py, torch/storage.py.
 */

#include <stddef.h>

enum pt_dtype {
    PT_F32,
    PT_F16,
    PT_BF16,
    PT_F64,
    PT_I8,
    PT_U8,
    PT_I16,
    PT_I32,
    PT_I64,
    PT_BOOL, /* a byte, 0 or 1 */
};

enum torch_kind {
    TORCH_ORDERED_DICT,   /* collections.OrderedDict */
    TORCH_REBUILD_TENSOR, /* torch._utils._rebuild_tensor_v2 */
    TORCH_REBUILD_PARAMETER,
    TORCH_SIZE,    /* torch.Size */
    TORCH_STORAGE, /* torch.FloatStorage and the like */
};

struct torch_global {
    const char *module;
    const char *name;
    enum torch_kind kind;
    enum pt_dtype dtype; /* of a TORCH_STORAGE */
};

/* By module and name, bytes without NUL; NULL when it is not on the list. Static. */
const struct torch_global *torch_global_find(const char *module, size_t module_bytes,
                                             const char *name, size_t name_bytes);
/* The storage class of a dtype. Static. */
const struct torch_global *torch_global_storage(enum pt_dtype dtype);

const char *pt_dtype_name(enum pt_dtype d); /* as PyTorch calls it: "float32", ... */
size_t pt_dtype_bytes(enum pt_dtype d);

#endif
