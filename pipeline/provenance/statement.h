#ifndef FMFORGE_PROVENANCE_STATEMENT_H
#define FMFORGE_PROVENANCE_STATEMENT_H

/*
 * The statement: an in-toto Statement v1 with the SLSA provenance v1 predicate, written once per
 * real execution and stored as an object. The recipe says what decides the bytes; the statement
 * says how it went: times, host, versions, source commit, usage. Field by field:
 *
 *   subject[]              each output (file: sha256; folder: dirHash, and each of its files)
 *   externalParameters     stage, instance, pipeline, toolkit, config
 *   internalParameters     recipe (= action key), profile, threads, kernels, sandbox
 *   resolvedDependencies[] inputs, stage program, libraries, source code, manifest
 *   runDetails             fmforge (version, program digest), times, host, tools, usage, log
 *
 * In-toto's dirHash is computed like a folder's content id here (README.md beside this file).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

#define STATEMENT_TYPE "https://in-toto.io/Statement/v1"
#define STATEMENT_PREDICATE_TYPE "https://slsa.dev/provenance/v1"
#define STATEMENT_BUILD_TYPE "urn:fmforge:stage:1"
#define STATEMENT_BUILDER_ID "urn:fmforge:engine:1"

/* All text is borrowed and may be NULL where "or NULL" is said. Ids are 64 hex digits. */
struct statement_subject {
    const char *name; /* output name */
    const char *kind; /* "adapter" */
    const char *id;
    bool is_folder;
    uint64_t n_bytes;
    const char *listing; /* folder: its `sha256sum` lines (the object `id`); or NULL */
};

struct statement_input {
    const char *name; /* port: "train" */
    const char *kind;
    const char *id;
    bool is_folder;
    uint64_t n_bytes;
    const char *uri;      /* source file: path as the manifest writes it; or NULL */
    const char *facet;    /* "nano-0.1/base" when it came from a toolkit; or NULL */
    const char *producer; /* action key that made it; or NULL */
    const char *from;     /* "adapter.checkpoint": instance and output of the producer; or NULL */
};

struct statement_pair {
    const char *name;
    const char *value;
};

struct statement_dirty {
    const char *path;
    const char *id;       /* NULL: deleted, or not hashed */
    const char *unhashed; /* why not; NULL: it was, or is deleted */
};

struct statement_source {
    const char *commit;      /* 40 hex digits; or NULL, then `unavailable` says why */
    const char *branch;      /* or NULL (detached) */
    const char *unavailable; /* or NULL */
    const struct statement_dirty *dirty;
    size_t n_dirty;       /* listed */
    uint64_t n_dirty_all; /* found; above n_dirty when the listing was cut at its limit */
};

struct statement_usage {
    double wall_seconds;
    double user_seconds;
    double system_seconds;
    uint64_t peak_bytes;
    int threads;     /* 0: not said */
    int64_t retries; /* tries of the same run that failed before this one */
};

struct statement_facts {
    const char *stage;    /* kind */
    const char *instance; /* "quality[rank=8,toolkit=nano-0.1]" */
    const char *pipeline; /* name of the manifest */
    const char *toolkit;  /* "nano-0.1" or NULL */
    const char *recipe;   /* action key */
    const struct json *config;
    const struct json *profile; /* or NULL: {"portable":true} */

    const struct statement_subject *subjects;
    size_t n_subjects;
    const struct statement_input *inputs;
    size_t n_inputs;

    const char *binary_name; /* "stage-train" */
    const char *binary;
    const struct statement_pair *libraries; /* name -> content id */
    size_t n_libraries;
    struct statement_source source;
    const char *manifest_uri; /* "configs/quickstart.yaml" or NULL */
    const char *manifest;     /* content id or NULL */

    const char *builder_version; /* fmforge's */
    const char *builder_binary;  /* content id of fmforge-engine, or NULL */
    const char *invocation;      /* any unique text */
    int64_t started_ms;          /* Unix time */
    int64_t finished_ms;
    const struct statement_pair *host; /* name -> value: "os", "kernel", "machine", "cpu", ... */
    size_t n_host;
    const struct statement_pair *tools; /* name -> version: "libc", "zstd", "openssl", ... */
    size_t n_tools;
    struct statement_usage usage;
    const char *kernels;       /* "avx2" or NULL */
    const char *sandbox;       /* "landlock ABI 7", "none: REASON"; NULL in old statements */
    const char *log;           /* content id of the stage's log, or NULL */
    const struct json *events; /* what the stage reported at its end (object), or NULL */
};

/* The statement's bytes (canonical JSON) into out (cleared first). Text that is not UTF-8 (a path)
 * is written with \\xHH in place of each wrong byte. */
void statement_build(const struct statement_facts *f, struct buf *out);

/* A statement read back; the facts borrow from `root` and from the arrays. */
struct statement {
    struct statement_facts facts;
    struct json *root;
    struct statement_subject *files; /* per-file subjects: "package/metadata.json" */
    size_t n_files;
    struct statement_subject *subjects;
    struct statement_input *inputs;
    struct statement_pair *libraries;
    struct statement_pair *host;
    struct statement_pair *tools;
    struct statement_dirty *dirty;
};

int statement_parse(const char *text, size_t n_bytes, struct statement *out,
                    struct err *e) MUST_USE;
void statement_release(struct statement *s); /* safe on zeroed and twice */

/* Any bytes as a JSON string, changed as statement_build does; caller owns. */
struct json *statement_text(const char *s);

/* A time as clock_text writes it, in Unix milliseconds; false for other forms. */
bool statement_time_parse(const char *text, int64_t *unix_ms);

#endif
