#ifndef FMFORGE_REPORT_CHART_H
#define FMFORGE_REPORT_CHART_H

/*
 * A block of type "series": lines over x as an inline SVG, a legend that names first, last and
 * least value, and the values themselves in a folded table.
 *
 * The SVG is as wide as its figure and always 240 pixels high. Places are percentages of the plot
 * and letters keep their size, so one drawing serves a phone and a desk; only the lines live in
 * an inner SVG that is stretched. No script, no second drawing.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

struct chart_line {
    const char *name;
    size_t n_points;
    double *x;
    double *y;
};

/* Text is borrowed from the block. */
struct chart {
    const char *x_label;
    const char *y_label;
    bool log_y;
    struct chart_line *lines;
    size_t n_lines;
    size_t n_points; /* of all lines */
};

int chart_write(const struct json *block, struct buf *out, struct err *e) MUST_USE;

/* What stands below the drawing (chart_text.c). */
void chart_legend_write(const struct chart *c, struct buf *out);
void chart_values_write(const struct chart *c, struct buf *out);
/* " c0 d1": colour and dash of the i-th line. */
void chart_add_pen(struct buf *out, size_t i_line);

#define CHART_VALUES_ROWS 200

#endif
