#ifndef FMFORGE_CMD_RUN_FLAGS_H
#define FMFORGE_CMD_RUN_FLAGS_H

/* The command line of `run`: both programs read it, the front and the engine. */

#include "pipeline/cmd/cmd.h"

struct run_flags {
    struct cmd_common common;
    struct flag_list sets;
    int64_t jobs, threads;
    const char *out_root, *reports_root, *kernels, *sign_key, *events;
    bool record, alone, help;
    const char *path; /* of the manifest */
    size_t n_paths;
};

#define RUN_FLAGS_INIT                                                                      \
    {                                                                                       \
        .common = CMD_COMMON_INIT, .jobs = 1, .out_root = "out", .reports_root = "reports", \
        .kernels = "auto"                                                                   \
    }

#define RUN_FLAGS(f)                                                                               \
    CMD_COMMON_FLAGS((f).common),                                                                  \
        {"jobs", 'j', FLAG_INT, &(f).jobs, "N", "stages at a time (default 1)"},                   \
        {"threads",    0,   FLAG_INT,                                                              \
         &(f).threads, "N", "threads of all stages together (default all CPUs)"},                  \
        {"set", 0, FLAG_LIST, &(f).sets, "NAME=VALUE", "override the manifest, e.g. vars.seed=8"}, \
        {"out", 0, FLAG_STRING, &(f).out_root, "DIR", "where packages go (default out)"},          \
        {"reports",         0,     FLAG_STRING,                                                    \
         &(f).reports_root, "DIR", "where the run's page goes (default reports)"},                 \
        {"kernels",    0,      FLAG_STRING,                                                        \
         &(f).kernels, "NAME", "auto, portable, avx2, avx512, amx or neon"},                       \
        {"record", 0, FLAG_BOOL, &(f).record, NULL, "commit to the ledger also when nothing ran"}, \
        {"events",                                                                                 \
         0,                                                                                        \
         FLAG_STRING,                                                                              \
         &(f).events,                                                                              \
         "FILE",                                                                                   \
         "append what happens to FILE, a named pipe or - (stdout), a line of JSON each"},          \
        {"no-remote", 0,    FLAG_BOOL,                                                             \
         &(f).alone,  NULL, "leave the manifest's shared cache alone in this run"},                \
    {                                                                                              \
        "sign", 0, FLAG_STRING, &(f).sign_key, "KEY",                                              \
            "sign the ledger's commit with an SSH key (a private key, or a .pub in ssh-agent)"     \
    }

/* Fills *f, which has its INIT; with f->help set nothing more is checked. ERR_CONFIG says what is
 * wrong. */
int run_flags_parse(int argc, char **argv, struct run_flags *f, struct err *e) MUST_USE;

#endif
