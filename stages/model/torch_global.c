#include "stages/model/torch_global.h"

#include <stdbool.h>
#include <string.h>

#include "pipeline/base/check.h"

/* First the storages, in the order of enum pt_dtype. */
static const struct torch_global globals[] = {
    {"torch", "FloatStorage", TORCH_STORAGE, PT_F32},
    {"torch", "HalfStorage", TORCH_STORAGE, PT_F16},
    {"torch", "BFloat16Storage", TORCH_STORAGE, PT_BF16},
    {"torch", "DoubleStorage", TORCH_STORAGE, PT_F64},
    {"torch", "CharStorage", TORCH_STORAGE, PT_I8},
    {"torch", "ByteStorage", TORCH_STORAGE, PT_U8},
    {"torch", "ShortStorage", TORCH_STORAGE, PT_I16},
    {"torch", "IntStorage", TORCH_STORAGE, PT_I32},
    {"torch", "LongStorage", TORCH_STORAGE, PT_I64},
    {"torch", "BoolStorage", TORCH_STORAGE, PT_BOOL},
    {"torch", "Size", TORCH_SIZE, PT_F32},
    {"torch._utils", "_rebuild_tensor_v2", TORCH_REBUILD_TENSOR, PT_F32},
    {"torch._utils", "_rebuild_parameter", TORCH_REBUILD_PARAMETER, PT_F32},
    {"collections", "OrderedDict", TORCH_ORDERED_DICT, PT_F32},
};

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [PT_F32] = {"float32", 4}, [PT_F16] = {"float16", 2}, [PT_BF16] = {"bfloat16", 2},
    [PT_F64] = {"float64", 8}, [PT_I8] = {"int8", 1},     [PT_U8] = {"uint8", 1},
    [PT_I16] = {"int16", 2},   [PT_I32] = {"int32", 4},   [PT_I64] = {"int64", 8},
    [PT_BOOL] = {"bool", 1},
};

static bool same(const char *text, const char *bytes, size_t n_bytes)
{
    return strlen(text) == n_bytes && memcmp(text, bytes, n_bytes) == 0;
}

const struct torch_global *torch_global_find(const char *module, size_t module_bytes,
                                             const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++)
        if (same(globals[i].module, module, module_bytes) &&
            same(globals[i].name, name, name_bytes))
            return &globals[i];
    return NULL;
}

const struct torch_global *torch_global_storage(enum pt_dtype dtype)
{
    const struct torch_global *g = &globals[dtype];
    CHECK(g->kind == TORCH_STORAGE && g->dtype == dtype);
    return g;
}

const char *pt_dtype_name(enum pt_dtype d)
{
    return dtypes[d].name;
}

size_t pt_dtype_bytes(enum pt_dtype d)
{
    return dtypes[d].bytes;
}
