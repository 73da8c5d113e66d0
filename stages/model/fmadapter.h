#ifndef FMFORGE_MODEL_FMADAPTER_H
#define FMFORGE_MODEL_FMADAPTER_H

/*
 * The `.fmadapter` package: a folder with metadata.json and adapter_weights.bin.
 *
 * adapter_weights.bin is Core ML's MIL blob storage, version 2, little endian:
 *
 *   0    u32 number of records, u32 version = 2, zeros to 64
 *   each u32 0xDEADBEEF, u32 dtype (1 = fp16), u64 bytes, u64 absolute offset of the data,
 *        u64 padding bits = 0, zeros to 64; then the data, zeros to the next multiple of 64
 *
 * Records have no names: their order is the contract, and it is the order of shape_module, A before
 * B. A is stored as [R][in], B as [out][R], both fp16. The rows of B for Q and K are permuted
 * inside each head from interleaved RoPE pairs to half-split order: new row p * D/2 + i is old row
 * 2i + p.
 *
 * The package has no field for alpha: the runtime multiplies by FMADAPTER_SCALE. An adapter with
 * another alpha / R has the difference folded into B, in fp32, before the rounding to fp16.
 *
 * metadata.json: the eight fields of fmadapter_info and creatorDefined, keys sorted, indented by 4.
 * creatorDefined.fmforge names by content id what the package was made from, and nothing else.
 */

#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/sha256.h"
#include "stages/model/lora.h"

#define FMADAPTER_SCALE 0.5
#define FMADAPTER_SIGNATURE_HEX 40
#define FMADAPTER_DRAFT_TOKENS_MAX 64
#define FMADAPTER_TEXT_BYTES 4096 /* author, description, license: at most, with the NUL */

/* What metadata.json says. Texts are UTF-8. */
struct fmadapter_info {
    char name[LIMIT_NAME_BYTES]; /* \w+; part of adapterIdentifier */
    char signature[FMADAPTER_SIGNATURE_HEX + 1];
    char author[FMADAPTER_TEXT_BYTES];
    char description[FMADAPTER_TEXT_BYTES];
    char license[FMADAPTER_TEXT_BYTES];
    int rank;
    int draft_token_count;
    struct content_id adapter; /* of the checkpoint; "" = the package does not say */
    struct content_id base;    /* of the base it was trained on; "" = the package does not say */
};

/* What the rounding to fp16 did. */
struct fmadapter_rounding {
    double max_error;   /* largest |value - stored value| */
    double max_value;   /* largest |value| */
    uint64_t n_flushed; /* values other than 0 that became 0 */
    uint64_t n_values;
    uint64_t n_bytes; /* of adapter_weights.bin */
    int n_records;
};

/* The rules for name, signature, rank and count. ERR_CONFIG with what was found and expected. */
int fmadapter_check_info(const struct fmadapter_info *info, struct err *e) MUST_USE;

/* Bytes of adapter_weights.bin. */
uint64_t fmadapter_weights_bytes(const struct shape *shape, int rank);

/* Makes the folder (which must not exist) and writes both files. A value that is not finite or does
 * not fit fp16 is ERR_NUMERIC with the tensor's name. info->rank must be a's. */
int fmadapter_write(const char *folder, const struct adapter *a, const struct fmadapter_info *info,
                    struct fmadapter_rounding *rounding, struct err *e) MUST_USE;

/* Reads metadata.json alone, with every rule. */
int fmadapter_read_info(const char *folder, struct fmadapter_info *info, struct err *e) MUST_USE;

/* The rules that fmadapter_read_info checks, and those of the weights that fmadapter_open adds, in
 * words for people; NULL at the end. */
extern const char *const fmadapter_info_rules[];
extern const char *const fmadapter_weights_rules[];

/* Reads a package for a base of the given shape: every rule is checked, transposition and
 * permutation are undone. The adapter has alpha = R / 2. adapter_release gives it back.
 * The folder's own name is not looked at (in the store it has none). info may be NULL. */
int fmadapter_open(const char *folder, const struct shape *shape, struct adapter *a,
                   struct fmadapter_info *info, struct err *e) MUST_USE;

#endif
