#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/engine/plan.h"

/* "; took 2.1 s" behind the reason of a stage that would run. */
static void add_cost(const struct plan_row *row, struct buf *out)
{
    char seconds[24];
    buf_add_text(out, row->seconds < 0 ? "; time unknown" : "; took ");
    if (row->seconds >= 0)
        buf_add_text(out, str_format_seconds(row->seconds, seconds));
}

static void add_end(const char *pipeline, const struct plan_row *rows, size_t n, bool has_costs,
                    struct buf *out)
{
    size_t n_run = 0, n_unknown = 0, n_held = 0;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        n_held += rows[i].held != NULL;
        if (rows[i].held)
            continue;
        n_run += !rows[i].cached;
        n_unknown += !rows[i].cached && rows[i].seconds < 0;
        sum += !rows[i].cached && rows[i].seconds > 0 ? rows[i].seconds : 0;
    }
    buf_printf(out, "%s: %zu of %zu stages would run", pipeline, n_run, n);
    if (has_costs && n_run > n_unknown) {
        char seconds[24];
        buf_printf(out, ", %s when they take as long as before", str_format_seconds(sum, seconds));
    }
    if (has_costs && n_unknown > 0)
        buf_printf(out, ", %zu of unknown time", n_unknown);
    if (n_held > 0)
        buf_printf(out, ", %zu would be held back by a gate", n_held);
    buf_add_char(out, '\n');
}

void plan_rows_to_text(const char *pipeline, const struct plan_row *rows, size_t n, bool has_costs,
                       struct buf *out)
{
    size_t width = 5;
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(rows[i].name);
        width = length > width ? length : width;
    }
    for (size_t i = 0; i < n; i++) {
        buf_add_text(out, rows[i].held ? "held    " : rows[i].cached ? "cached  " : "run     ");
        buf_add_text(out, rows[i].name);
        for (size_t k = strlen(rows[i].name); k < width + 2; k++)
            buf_add_char(out, ' ');
        buf_add_text(out, rows[i].held ? rows[i].held : rows[i].why);
        if (has_costs && !rows[i].cached && !rows[i].held)
            add_cost(&rows[i], out);
        buf_add_char(out, '\n');
    }
    add_end(pipeline, rows, n, has_costs, out);
}
