#ifndef FMFORGE_BASE_FLAG_H
#define FMFORGE_BASE_FLAG_H

/*
 * Command lines: one table of options per (sub)command; it parses and makes --help. Long options
 * only ("--name value" or "--name=value"), plus the single-letter aliases given in the table.
 * Unknown options are ERR_CONFIG with the nearest known name.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

enum flag_type {
    FLAG_BOOL,   /* bool * */
    FLAG_STRING, /* const char ** : borrowed from argv */
    FLAG_INT,    /* int64_t * */
    FLAG_FLOAT,  /* double * */
    FLAG_LIST,   /* struct flag_list * : may be repeated */
};

struct flag_list {
    const char *items[256]; /* borrowed from argv */
    size_t n_items;
};

struct flag {
    const char *name; /* without dashes */
    char alias;       /* 'j' for -j, or 0 */
    enum flag_type type;
    void *out;
    const char *value_name; /* "N", "PATH"; NULL for FLAG_BOOL */
    const char *help;
};

/* Parses argv[1..]; positional arguments are moved to positionals (borrowed, at most max).
 * "--" ends the options. "--help" sets *help_wanted and stops. */
int flag_parse(int argc, char **argv, const struct flag *flags, size_t n_flags,
               const char **positionals, size_t max_positionals, size_t *n_positionals,
               bool *help_wanted, struct err *e) MUST_USE;

/* The option part of a help page, aligned, 100 columns. */
void flag_help(const struct flag *flags, size_t n_flags, struct buf *out);
/* One text of such a page: its line has `used` columns already, it begins in `column`. */
void flag_help_text(const char *text, size_t used, size_t column, struct buf *out);
/* " [1..64 tokens]", " [tokens]"; bounds NULL: none, else min and max. */
void flag_help_range(const double *bounds, const char *unit, struct buf *out);

#endif
