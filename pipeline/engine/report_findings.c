#include "pipeline/engine/report_findings.h"

#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/report.h"
#include "pipeline/engine/report_cells.h"

/* Of one stage; the others are counted. */
#define NOTICES_MAX 12
#define LINES_MAX 5
#define LINE_BYTES 160

bool findings_is_block(const struct json *block)
{
    return str_eq(json_text(block, "type"), "table") &&
           str_eq(json_text(block, "title"), "Findings");
}

/* The first row of the table; NULL: nothing was found. */
static const struct json *first_row(const struct json *report)
{
    for (const struct json *b = report ? json_items(report, "blocks") : NULL; b; b = json_next(b))
        if (findings_is_block(b))
            return json_items(b, "rows");
    return NULL;
}

size_t findings_count(const struct json *report)
{
    size_t n = 0;
    for (const struct json *row = first_row(report); row; row = json_next(row))
        n++;
    return n;
}

static const char *text_of(const struct json *v)
{
    return v && json_type(v) == JSON_STRING ? json_string(v) : "";
}

/* "golden: near repeat of a training row, kept (2): golden:2 near raw:5, golden:7 near raw:4". A
 * row of another form says what it can. The caller xfrees it. */
static char *row_text(const struct json *row)
{
    const struct json *what = json_type(row) == JSON_ARRAY ? json_first(row) : NULL;
    const struct json *n = what ? json_next(what) : NULL;
    const struct json *where = n ? json_next(n) : NULL;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_add_text(&b, *text_of(what) ? text_of(what) : "?");
    if (json_is_number(n) && json_number(n) != 0)
        buf_printf(&b, " (%.0f)", json_number(n));
    if (*text_of(where))
        buf_printf(&b, ": %s", text_of(where));
    return buf_steal(&b);
}

void findings_add_notices(struct json *page, const char *stage, const char *section,
                          const struct json *report)
{
    size_t n = 0;
    for (const struct json *row = first_row(report); row; row = json_next(row)) {
        if (++n > NOTICES_MAX)
            continue;
        char *text = row_text(row);
        page_add_notice(page, stage, text, "warn", section);
        xfree(text);
    }
    if (n <= NOTICES_MAX)
        return;
    char *more = xasprintf("and %zu findings more", n - NOTICES_MAX);
    page_add_notice(page, stage, more, "warn", section);
    xfree(more);
}

/* Names of files and labels are in it: one line, whatever they hold. */
static void add_line(const char *text, struct buf *out)
{
    size_t n = strlen(text), n_shown = n;
    if (n > LINE_BYTES)
        n_shown = str_utf8_prefix(text, LINE_BYTES);
    buf_add_text(out, "  finding: ");
    for (size_t i = 0; i < n_shown; i++)
        buf_add_char(out, (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? ' ' : text[i]);
    buf_add_text(out, n_shown < n ? "...\n" : "\n");
}

void findings_say(struct store *s, const struct json *stage, struct buf *out)
{
    struct json *report = report_output(s, stage, "report", NULL);
    size_t n = 0;
    for (const struct json *row = first_row(report); row; row = json_next(row)) {
        if (++n > LINES_MAX)
            continue;
        char *text = row_text(row);
        add_line(text, out);
        xfree(text);
    }
    if (n > LINES_MAX)
        buf_printf(out, "  and %zu finding%s more: the page has all\n", n - LINES_MAX,
                   n - LINES_MAX == 1 ? "" : "s");
    json_free(report);
}
