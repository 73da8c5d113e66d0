#ifndef FMFORGE_MODEL_PTFILE_H
#define FMFORGE_MODEL_PTFILE_H

/*
 * Files of torch.save, PyTorch 1.6 and later: a zip file with stored entries
 *
 *   NAME/data.pkl     pickle of the saved object; storages are in it by key
 *   NAME/byteorder    "little"; PyTorch 2.1 and later
 *   NAME/data/KEY     the elements of a storage, little endian, at a multiple of 64 bytes
 *   NAME/version      a number, "3\n"
 *
 * Source: torch/serialization.py (_save, _load), caffe2/serialize/inline_container.cc; for the two
 * formats inside see zipdir.h (PKWARE APPNOTE) and unpickle.h (pickletools).
 *
 * Reading maps the file and executes nothing from it. What is held is one struct and one name for
 * each tensor; tensor data are borrowed from the mapping and are not touched by opening. Taken is a
 * dict of tensors, or dicts, lists and tuples of them: a tensor's name is its keys and indexes
 * joined by '.'. Other leaves (None, bool, int, float, text, a bare storage, a name of
 * torch_global.h) are counted and left out. Tied tensors name the same storage and offset.
 *
 * Refused, with the tensor, entry or offset in the message: any name or opcode that tensors do not
 * need, tensors that are not contiguous or reach past their storage, a storage whose entry has
 * another length, big-endian files, TorchScript archives, files before PyTorch 1.6, and what
 * zipdir.h refuses.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/base/file.h"
#include "stages/model/tensorfile.h"
#include "stages/model/torch_global.h"
#include "stages/model/zipdir.h"

#define PT_DIMS_MAX 8

struct pt_tensor {
    const char *name; /* UTF-8, not empty, no control characters; owned by the ptfile */
    enum pt_dtype dtype;
    int n_dims; /* 0: a scalar */
    uint64_t dims[PT_DIMS_MAX];
    uint64_t strides[PT_DIMS_MAX]; /* in elements, as saved; row-major but where no step is taken */
    const unsigned char *data;     /* row-major, little endian; borrowed from the mapping, and at a
                                    * multiple of 64 only as far as the writer saw to it */
    uint64_t n_bytes;
    const struct zipdir_entry *storage; /* the entry; tensors that share it may be tied */
    uint64_t storage_offset;            /* first element in it */
};

struct ptfile {
    struct file_map map;
    struct zipdir zip;
    struct pt_tensor *tensors; /* sorted by name */
    size_t n_tensors;
    size_t n_skipped; /* leaves that are no tensors */
};

/* ERR_IO, ERR_MISSING, ERR_FORMAT, ERR_LIMIT; the message begins with the path. The checksums of
 * data.pkl and the small entries are checked, those of the tensors are not. */
int ptfile_open(struct ptfile *f, const char *path, struct err *e) MUST_USE;
void ptfile_close(struct ptfile *f); /* safe on zeroed, safe twice */
/* Parses bytes that stay valid while f is open (fuzzing). */
int ptfile_parse(struct ptfile *f, const unsigned char *bytes, size_t n_bytes,
                 struct err *e) MUST_USE;

const struct pt_tensor *ptfile_find(const struct ptfile *f, const char *name); /* or NULL */
/* Reads the whole file: ERR_FORMAT names the first entry, by name, with another checksum. */
int ptfile_check_crc(const struct ptfile *f, struct err *e) MUST_USE;

uint64_t pt_tensor_elements(const struct pt_tensor *t);
/* The same elements of the same storage. */
bool pt_tensor_tied(const struct pt_tensor *a, const struct pt_tensor *b);
/* The tensor as tensorfile.h has it, for its conversions and its writer; name and data stay
 * borrowed. ERR_FORMAT when it has no dtype for it (only float32, float16, bfloat16 and uint8), or
 * more than TENSOR_DIMS_MAX dimensions. */
int pt_tensor_view(const struct pt_tensor *t, struct tensor *out, struct err *e) MUST_USE;

/*
 * Collects borrowed tensors and writes one file, as torch.save writes an OrderedDict of them in the
 * order in which they were added. torch.load(weights_only=True) reads it. The same tensors give the
 * same bytes: the folder in it is always "archive", and dates are 1980-01-01.
 */
struct pt_writer {
    struct pt_source *sources;
    size_t n_sources;
    size_t capacity;
};

void pt_writer_init(struct pt_writer *w);
void pt_writer_release(struct pt_writer *w); /* safe on zeroed, safe twice */
/* data: bytes exactly as stored (little endian, row-major); borrowed until pt_writer_write.
 * CHECKs that no name is given twice. */
void pt_writer_add(struct pt_writer *w, const char *name, enum pt_dtype dtype, int n_dims,
                   const uint64_t *dims, const void *data);
/* data: fp32 values, converted to dtype (PT_F32, PT_F16, PT_BF16) in slices while writing. */
void pt_writer_add_f32(struct pt_writer *w, const char *name, enum pt_dtype dtype, int n_dims,
                       const uint64_t *dims, const float *data);
/* ERR_NUMERIC names a tensor with a value that is not finite in its dtype (pt_writer_add_f32
 * only); ERR_LIMIT for a pickle that ptfile_open would refuse; ERR_IO. No file stays on error. */
int pt_writer_write(struct pt_writer *w, const char *path, struct err *e) MUST_USE;

#endif
