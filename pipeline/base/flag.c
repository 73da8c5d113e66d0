#include "pipeline/base/flag.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

static const struct flag *find_flag(const struct flag *flags, size_t n_flags, const char *name,
                                    size_t n_name)
{
    for (size_t i = 0; i < n_flags; i++) {
        if (strlen(flags[i].name) == n_name && strncmp(flags[i].name, name, n_name) == 0)
            return &flags[i];
    }
    return NULL;
}

static int unknown_flag(const struct flag *flags, size_t n_flags, const char *argument,
                        struct err *e)
{
    const char **names = xalloc_array(n_flags + 1, sizeof *names);
    for (size_t i = 0; i < n_flags; i++)
        names[i] = flags[i].name;
    char *name = xstrndup(argument + 2, strcspn(argument + 2, "="));
    const char *near = str_nearest(name, names, n_flags);
    int rc = near == NULL
                 ? err_set(e, ERR_CONFIG, "unknown option %s; --help lists them", argument)
                 : err_set(e, ERR_CONFIG, "unknown option %s; did you mean --%s?", argument, near);
    xfree(name);
    xfree(names);
    return rc;
}

static int set_flag(const struct flag *f, const char *value, struct err *e)
{
    switch (f->type) {
    case FLAG_BOOL:
        *(bool *)f->out = true;
        return 0;
    case FLAG_STRING:
        *(const char **)f->out = value;
        return 0;
    case FLAG_INT:
        if (!str_to_i64(value, f->out))
            return err_set(e, ERR_CONFIG, "--%s: expected a whole number, found \"%s\"", f->name,
                           value);
        return 0;
    case FLAG_FLOAT:
        if (!str_to_f64(value, f->out))
            return err_set(e, ERR_CONFIG, "--%s: expected a number, found \"%s\"", f->name, value);
        return 0;
    case FLAG_LIST: {
        struct flag_list *list = f->out;
        if (list->n_items >= sizeof list->items / sizeof list->items[0])
            return err_set(e, ERR_LIMIT, "--%s: given more than 256 times", f->name);
        list->items[list->n_items++] = value;
        return 0;
    }
    }
    CHECK(false);
    return 0;
}

/* The flag that argument names, and the value written into it ("--x=v", "-j8") or NULL. */
static const struct flag *match(const struct flag *flags, size_t n_flags, const char *argument,
                                const char **value)
{
    *value = NULL;
    if (argument[1] == '-') {
        size_t n_name = strcspn(argument + 2, "=");
        if (argument[2 + n_name] == '=')
            *value = argument + 2 + n_name + 1;
        return find_flag(flags, n_flags, argument + 2, n_name);
    }
    for (size_t i = 0; i < n_flags; i++) {
        if (flags[i].alias != 0 && flags[i].alias == argument[1]) {
            if (argument[2] != 0)
                *value = argument + 2;
            return &flags[i];
        }
    }
    return NULL;
}

int flag_parse(int argc, char **argv, const struct flag *flags, size_t n_flags,
               const char **positionals, size_t max_positionals, size_t *n_positionals,
               bool *help_wanted, struct err *e)
{
    bool options = true;
    *n_positionals = 0;
    *help_wanted = false;
    for (int i = 1; i < argc; i++)
        if (str_utf8_prefix(argv[i], strlen(argv[i])) != strlen(argv[i]))
            return err_set(e, ERR_CONFIG, "argument %d is not valid UTF-8", i);
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (options && str_eq(argument, "--")) {
            options = false;
        } else if (options && (str_eq(argument, "--help") || str_eq(argument, "-h"))) {
            *help_wanted = true;
            return 0;
        } else if (options && argument[0] == '-' && argument[1] != 0) {
            const char *value = NULL;
            const struct flag *f = match(flags, n_flags, argument, &value);
            if (f == NULL)
                return unknown_flag(flags, n_flags, argument, e);
            if (f->type == FLAG_BOOL && value != NULL)
                return err_set(e, ERR_CONFIG, "--%s takes no value", f->name);
            if (f->type != FLAG_BOOL && value == NULL) {
                if (i + 1 >= argc)
                    return err_set(e, ERR_CONFIG, "--%s: %s is missing behind it", f->name,
                                   f->value_name);
                value = argv[++i];
            }
            int rc = set_flag(f, value, e);
            if (rc != 0)
                return rc;
        } else {
            if (*n_positionals >= max_positionals)
                return err_set(e, ERR_CONFIG, "unexpected argument \"%s\"; --help tells the usage",
                               argument);
            positionals[(*n_positionals)++] = argument;
        }
    }
    return 0;
}

static void add_bound(double bound, struct buf *out)
{
    bool whole = bound > -1e16 && bound < 1e16 && (double)(int64_t)bound == bound;
    buf_printf(out, whole ? "%.0f" : "%g", bound);
}

void flag_help_range(const double *bounds, const char *unit, struct buf *out)
{
    if (bounds == NULL && *unit == 0)
        return;
    buf_add_text(out, " [");
    if (bounds != NULL) {
        add_bound(bounds[0], out);
        buf_add_text(out, "..");
        add_bound(bounds[1], out);
    }
    buf_printf(out, "%s%s]", bounds != NULL && *unit != 0 ? " " : "", unit);
}

void flag_help_text(const char *text, size_t used, size_t column, struct buf *out)
{
    enum { COLUMNS = 100 };
    if (used + 1 >= column) {
        buf_add_char(out, '\n');
        used = 0;
    }
    buf_printf(out, "%*s", (int)(column - used), "");
    used = column;
    for (const char *word = text; *word != 0;) {
        size_t n = strcspn(word, " ");
        if (used > column && used + 1 + n > COLUMNS) {
            buf_printf(out, "\n%*s", (int)column, "");
            used = column;
        } else if (used > column) {
            buf_add_char(out, ' ');
            used++;
        }
        buf_add(out, word, n);
        used += n;
        word += n + strspn(word + n, " ");
    }
    buf_add_char(out, '\n');
}

void flag_help(const struct flag *flags, size_t n_flags, struct buf *out)
{
    enum { TEXT_COLUMN = 26 };
    for (size_t i = 0; i < n_flags; i++) {
        const struct flag *f = &flags[i];
        size_t start = out->n_bytes;
        if (f->alias != 0)
            buf_printf(out, "  -%c, --%s", f->alias, f->name);
        else
            buf_printf(out, "  --%s", f->name);
        if (f->value_name != NULL)
            buf_printf(out, " %s", f->value_name);
        flag_help_text(f->help, out->n_bytes - start, TEXT_COLUMN, out);
    }
}
