#ifndef FMFORGE_CMD_CMD_H
#define FMFORGE_CMD_CMD_H

/*
 * The commands of fmforge. Each is one function `cmd_NAME(argc, argv, context, err)`: argv[0] is
 * the command's name. It returns the exit status (0 or above; STYLE: 0, 1, 2, 3, 4, 130) or a
 * negative enum err_code with err set, which main.c prints. Commands print only through
 * context->term.
 */

#include "pipeline/base/err.h"
#include "pipeline/base/flag.h"
#include "pipeline/engine/session.h"
#include "pipeline/engine/term.h"

struct cmd_context {
    const char
        *program_folder; /* of the running fmforge: the stages and fmforge-ledger are there */
    const struct term *term;
    const char *const *commands; /* their names */
    size_t n_commands;
};

/* The options that every command has; home defaults to ".fmforge". */
struct cmd_common {
    const char *folder; /* -C */
    const char *home;   /* --home */
    bool json;          /* --json */
};

#define CMD_COMMON_INIT                                   \
    {                                                     \
        .folder = NULL, .home = ".fmforge", .json = false \
    }

/* Those of every command, and "json" of all that print no form of others. */
#define CMD_PLACE_FLAGS(common)                                                              \
    {"folder", 'C', FLAG_STRING, &(common).folder, "DIR", "work in DIR"},                    \
    {                                                                                        \
        "home", 0, FLAG_STRING, &(common).home, "DIR", "store and ledger (default .fmforge)" \
    }
#define CMD_COMMON_FLAGS(common)                                 \
    CMD_PLACE_FLAGS(common),                                     \
    {                                                            \
        "json", 0, FLAG_BOOL, &(common).json, NULL, "print JSON" \
    }

/* Changes to the -C folder, when one is given; refuses a --home without a name. */
int cmd_enter(const struct cmd_common *common, struct err *e) MUST_USE;
/* The same, and waits while gc removes from the store; after a second it says so. */
int cmd_begin(const struct cmd_common *common, const struct term *term, struct err *e) MUST_USE;

/* -j and --threads (0: all CPUs). */
int cmd_check_counts(int64_t jobs, int64_t threads, struct err *e) MUST_USE;

/* --kernels: one of the names that stages know. Whether this machine has it is for them. */
int cmd_check_kernels(const char *name, struct err *e) MUST_USE;

/* What an option names has to have a name: `--out ""` is a variable that was never set. */
int cmd_need_name(const char *flag, const char *path, struct err *e) MUST_USE;

/* What an option names has to be a regular file; path NULL is fine. expected: "an SSH key". */
int cmd_need_file(const char *flag, const char *path, const char *expected, struct err *e) MUST_USE;
#define CMD_EXPECTED_KEY "the file of an SSH key, e.g. ~/.ssh/id_ed25519"
#define CMD_EXPECTED_SIGNERS "a list of allowed signers (man ssh-keygen), \"NAME KEY\" a line"

/* Prints "usage: fmforge USAGE", the text and the options on stdout; returns 0. */
int cmd_help(const struct cmd_context *c, const char *usage, const char *text,
             const struct flag *flags, size_t n_flags);

/* Says that a manifest is skipped because session->absent is not there. */
void cmd_say_skipped(const struct cmd_context *c, const struct session *s, bool as_json);

int cmd_run(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_plan(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_why(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_log(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_audit(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_report(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_accept(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_nightly(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_bom(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_card(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_verify(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_cat(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_gc(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_reproduce(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_diff(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
int cmd_graph(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;
/* Any other name: a tool stage, if there is one of that name. */
int cmd_tool(int argc, char **argv, const struct cmd_context *c, struct err *e) MUST_USE;

#endif
