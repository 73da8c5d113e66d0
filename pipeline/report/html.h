#ifndef FMFORGE_REPORT_HTML_H
#define FMFORGE_REPORT_HTML_H

/*
 * Text and numbers as HTML. Any bytes become valid text: what HTML reserves is escaped, control
 * characters are shown as their pictures (U+2400 and on), what is no UTF-8 as U+FFFD.
 * Numbers have two forms: the exact one, as json_add_number writes it, in an attribute, and one
 * for people. Neither depends on the locale.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/buf.h"

void html_add_text(struct buf *out, const char *s);
void html_add_text_n(struct buf *out, const char *s, size_t n_bytes);
/* A name: a long one without a space may be broken behind _ [ , = and / where it does not fit. */
void html_add_name(struct buf *out, const char *s);
/* ` name="value"`, with the space in front; nothing when value is NULL. */
void html_add_attribute(struct buf *out, const char *name, const char *value);
/* ` class="a b"` of those that are not NULL or empty; nothing when none is left. */
void html_add_classes(struct buf *out, const char *a, const char *b, const char *c);

/* ` data-value="0.8700000000000001"`: the exact number. */
void html_add_exact(struct buf *out, double v);
/*
 * For people: 7856, 507,830 (grouped from 10,000 on), 0.3134 (four significant digits, trailing
 * zeros cut), 3.644e-5 (below 1e-4 and from 1e15 on). Above 1,000 fractions are rounded away.
 */
void html_add_number(struct buf *out, double v);
/* Both in one: <span data-value="...">...</span>. */
void html_add_number_span(struct buf *out, double v);
/* A fixed number of decimals (0 to 9); |v| * 10^decimals stays below 1e15 (CHECK). */
void html_add_fixed(struct buf *out, double v, int decimals);

/* How wide a text is in halves of a wide character: most letters 1, East Asian ones 2. */
size_t html_width(const char *s);
/* Bytes of the longest start of s that is at most `width` wide. */
size_t html_cut(const char *s, size_t width);

#endif
