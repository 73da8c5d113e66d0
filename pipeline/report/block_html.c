#include "pipeline/report/block_html.h"

#include "pipeline/base/str.h"
#include "pipeline/report/block_read.h"
#include "pipeline/report/chart.h"
#include "pipeline/report/graph_svg.h"
#include "pipeline/report/html.h"
#include "pipeline/report/matrix_html.h"
#include "pipeline/report/pairs_html.h"
#include "pipeline/report/table_html.h"

static int text_write(const struct json *block, struct buf *out, struct err *e)
{
    const char *text = NULL;
    int rc = json_need_string(block, "text", &text, e);
    if (rc < 0)
        return rc;
    buf_add_text(out, "<p class=\"text\">");
    html_add_text(out, text);
    buf_add_text(out, "</p>\n");
    return 0;
}

/* Each writes what stands below the block's title; on failure `out` is thrown away. */
static const struct {
    const char *type;
    int (*write)(const struct json *block, struct buf *out, struct err *e);
} kinds[] = {
    {"text", text_write},   {"table", table_write},   {"series", chart_write},
    {"pairs", pairs_write}, {"matrix", matrix_write}, {"graph", graph_svg_write},
};

static int body_write(const struct json *block, struct buf *out, struct err *e)
{
    const char *type = NULL;
    int rc = json_need_string(block, "type", &type, e);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (str_eq(type, kinds[i].type))
            return kinds[i].write(block, out, e);
    return err_set(e, ERR_FORMAT, "no such type");
}

static void note_write(const struct json *block, const char *reason, struct buf *out)
{
    buf_add_text(out, "<p class=\"note undrawn\">block of type ");
    html_add_text(out, json_text_or(block, "type", "?"));
    buf_add_text(out, " cannot be drawn: ");
    html_add_text(out, reason);
    buf_add_text(out, "</p>\n");
}

void block_write(const struct json *block, struct buf *out)
{
    const char *title = "";
    struct err e = {0};
    struct buf body;
    buf_init(&body, out->max_bytes);
    int rc = json_type(block) == JSON_OBJECT ? block_maybe_text(block, "title", &title, &e)
                                             : err_set(&e, ERR_FORMAT, "expected an object");
    if (rc == 0)
        rc = body_write(block, &body, &e);
    buf_add_text(out, "<div class=\"block\">\n");
    if (*title) {
        buf_add_text(out, "<h3>");
        html_add_text(out, title);
        buf_add_text(out, "</h3>\n");
    }
    if (rc == 0)
        buf_add(out, buf_text(&body), body.n_bytes);
    else
        note_write(block, e.text, out);
    buf_add_text(out, "</div>\n");
    buf_release(&body);
}
