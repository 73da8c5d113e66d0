#ifndef FMFORGE_MODEL_TENSORFILE_H
#define FMFORGE_MODEL_TENSORFILE_H

/*
 * safetensors files. Layout: u64 length of the header, JSON header, data.
 *
 * Reading maps the file; nothing is believed before it is checked: header length against the file,
 * strict JSON without duplicate names, known dtypes, product of dimensions times width = bytes,
 * offsets inside the data, no overlap, no hole. Tensor data are borrowed from the mapping.
 *
 * Writing is canonical: header keys sorted, `__metadata__` sorted, the header padded with spaces so
 * that data start at a multiple of 64 bytes; tensors whose bytes are a multiple of 64 first, by
 * name, then the others by name: so every large tensor is 64-byte aligned in the file.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/base/file.h"
#include "pipeline/base/json.h"

enum tensor_dtype {
    DTYPE_U8,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_F32,
};

#define TENSOR_DIMS_MAX 4

struct tensor {
    const char *name; /* borrowed from the file */
    enum tensor_dtype dtype;
    int n_dims;
    uint64_t dims[TENSOR_DIMS_MAX];
    const unsigned char *data; /* borrowed from the mapping */
    uint64_t n_bytes;
};

struct tensorfile {
    struct file_map map;
    struct json *header;
    struct tensor *tensors; /* sorted by name */
    size_t n_tensors;
};

int tensorfile_open(struct tensorfile *f, const char *path, struct err *e) MUST_USE;
void tensorfile_close(struct tensorfile *f); /* safe on zeroed, safe twice */
/* Parses bytes that stay valid while f is open (fuzzing, packages). */
int tensorfile_parse(struct tensorfile *f, const unsigned char *bytes, size_t n_bytes,
                     struct err *e) MUST_USE;

const struct tensor *tensorfile_find(const struct tensorfile *f, const char *name); /* or NULL */
const char *tensorfile_meta(const struct tensorfile *f, const char *key);           /* or NULL */

uint64_t tensor_elements(const struct tensor *t);
/* "[2560, 2048]"; out of 96 bytes. */
const char *tensor_format_dims(const struct tensor *t, char out[96]);
/* F32, F16, BF16 to fp32 (exact). CHECKs that the dtype is a float type. */
void tensor_to_f32(const struct tensor *t, float *out);
/* No NaN and no infinity; bytes (U8) always are. */
bool tensor_all_finite(const struct tensor *t);
const char *tensor_dtype_name(enum tensor_dtype d); /* "F32", ... */
size_t tensor_dtype_bytes(enum tensor_dtype d);

/* Conversions, round to nearest even; NaN stays NaN, overflow becomes infinity. */
uint16_t tensor_f16_from_f32(float v);
float tensor_f16_to_f32(uint16_t v);
uint16_t tensor_bf16_from_f32(float v);
float tensor_bf16_to_f32(uint16_t v);

/* fp32 values as F32, F16 or BF16, little endian; false when one is not finite as stored. */
bool tensor_encode(enum tensor_dtype dtype, const float *values, size_t n, unsigned char *out);

/* Collects borrowed tensors and writes one file. */
struct tensor_writer {
    struct tensor_source *sources;
    size_t n_sources;
    size_t capacity;
    struct json *meta;
};

void tensor_writer_init(struct tensor_writer *w);
void tensor_writer_release(struct tensor_writer *w);
void tensor_writer_meta(struct tensor_writer *w, const char *key, const char *value);
/* data: bytes exactly as stored (little endian); borrowed until tensor_writer_write. */
void tensor_writer_add(struct tensor_writer *w, const char *name, enum tensor_dtype dtype,
                       int n_dims, const uint64_t *dims, const void *data);
/* data: fp32 values, converted to dtype (F32, F16, BF16) in slices while writing. */
void tensor_writer_add_f32(struct tensor_writer *w, const char *name, enum tensor_dtype dtype,
                           int n_dims, const uint64_t *dims, const float *data);
/* ERR_NUMERIC names a tensor with a value that is not finite or overflows F16. */
int tensor_writer_write(struct tensor_writer *w, const char *path, struct err *e) MUST_USE;

/* Extra metadata passed through the save functions of models and adapters. */
struct tensor_meta {
    const char *key;
    const char *value;
};

#endif
