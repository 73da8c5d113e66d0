#ifndef FMFORGE_BASE_LIMITS_H
#define FMFORGE_BASE_LIMITS_H

/*
 * Every limit of the program, with its reason. Passing one is ERR_LIMIT with the limit's name.
 * Nothing is ever cut silently.
 */

#include <stdint.h>

/* A manifest of 1,000 stages is about 200 KiB; libyaml is quadratic in nesting. */
#define LIMIT_MANIFEST_BYTES ((uint64_t)1 << 20)
#define LIMIT_YAML_DEPTH 32
/* Our own JSON (configs, recipes, statements, metrics). */
#define LIMIT_JSON_BYTES ((uint64_t)64 << 20)
#define LIMIT_JSON_DEPTH 64
/* A tree takes about 80 bytes a value; a safetensors header of LIMIT_TENSORS has half as many. */
#define LIMIT_JSON_VALUES ((size_t)1 << 21)

/* Larger inputs are not kept in the store: they stay where the manifest says. */
#define LIMIT_KEPT_INPUT_BYTES ((uint64_t)1 << 30)
/* One training row; the longest real ones are far below. */
#define LIMIT_JSONL_LINE_BYTES ((uint64_t)4 << 20)
#define LIMIT_JSONL_LINES ((uint64_t)50000000)
/* A path that the engine builds itself. */
#define LIMIT_PATH_BYTES 4096
#define LIMIT_NAME_BYTES 128
#define LIMIT_STAGES 100000
#define LIMIT_AXES 8
/* Files below one folder that is hashed or stored. */
#define LIMIT_FOLDER_FILES 1000000
#define LIMIT_FOLDER_DEPTH 64
#define LIMIT_THREADS 256
/* What a stage prints to stderr and we keep. */
#define LIMIT_LOG_BYTES ((uint64_t)16 << 20)
/* Events that their reader has not taken yet: hours of a run, not its whole memory. */
#define LIMIT_EVENTS_BYTES ((uint64_t)1 << 20)
/* safetensors header; the format's own limit is 100 MB. */
#define LIMIT_TENSOR_HEADER_BYTES ((uint64_t)100000000)
#define LIMIT_TENSORS 100000
#define LIMIT_TENSOR_NAME_BYTES 1024
/* torch.save writes an entry for each storage and a few more. */
#define LIMIT_ZIP_ENTRIES 200000
/* Its pickle takes about 150 bytes and 25 values for a tensor. */
#define LIMIT_PICKLE_BYTES ((uint64_t)64 << 20)
#define LIMIT_PICKLE_VALUES ((size_t)1 << 22)
/* Dicts in dicts; recursive. */
#define LIMIT_PICKLE_DEPTH 64

#endif
