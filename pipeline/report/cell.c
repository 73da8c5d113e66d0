#include "pipeline/report/cell.h"

#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/report/block_read.h"
#include "pipeline/report/html.h"

const char *cell_tone(const char *tone)
{
    static const char *const tones[] = {"good", "bad", "warn", "muted"};
    for (size_t i = 0; tone && i < sizeof tones / sizeof tones[0]; i++)
        if (str_eq(tone, tones[i]))
            return tones[i];
    return NULL;
}

int cell_read_tone(const struct json *o, const char **out, struct err *e)
{
    const char *tone = NULL;
    int rc = block_maybe_text(o, "tone", &tone, e);
    if (rc == 0)
        *out = cell_tone(tone);
    return rc;
}

/* Reads the optional "link" of o: nothing that leaves the folder of pages by scheme or host. */
static int read_link(const struct json *o, const char **out, struct err *e)
{
    static const char kept[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./";
    const char *link = NULL;
    int rc = block_maybe_text(o, "link", &link, e);
    if (rc < 0 || !json_get(o, "link"))
        return rc;
    if (!*link || *link == '/' || link[strspn(link, kept)])
        return err_set(e, ERR_FORMAT, "expected a relative address, found \"%s\"", link);
    *out = link;
    return 0;
}

static int read_interval(const struct json *o, struct cell *c, struct err *e)
{
    double *ends = NULL;
    size_t n = 0;
    if (!json_get(o, "interval"))
        return 0;
    int rc = block_numbers(o, "interval", &ends, &n, e);
    if (rc == 0 && n != 2)
        rc = err_set(e, ERR_FORMAT, "\"interval\": expected 2 numbers, found %zu", n);
    c->has_interval = rc == 0;
    if (rc == 0) {
        c->low = ends[0];
        c->high = ends[1];
    }
    xfree(ends);
    return rc;
}

static int read_object(const struct json *v, struct cell *c, struct err *e)
{
    const struct json *text = json_get(v, "text");
    const struct json *number = json_get(v, "number");
    const struct json *code = json_get(v, "code");
    const char *key = NULL;
    if ((text != NULL) == (number != NULL))
        return err_set(e, ERR_FORMAT, "a cell has either \"text\" or \"number\"");
    int rc =
        text ? json_need_string(v, "text", &c->text, e) : json_need_f64(v, "number", &c->number, e);
    if (rc == 0)
        rc = cell_read_tone(v, &c->tone, e);
    if (rc == 0)
        rc = block_maybe_text(v, "key", &key, e);
    if (rc == 0)
        rc = read_link(v, &c->link, e);
    if (rc == 0)
        rc = read_interval(v, c, e);
    if (rc == 0 && code)
        rc = json_need_bool(v, "code", &c->code, e);
    c->kind = text ? CELL_TEXT : CELL_NUMBER;
    c->key = json_get(v, "key") ? key : NULL;
    return rc;
}

int cell_read(const struct json *v, struct cell *out, struct err *e)
{
    struct cell c = {0};
    int rc = 0;
    switch (json_type(v)) {
    case JSON_NULL:
        break;
    case JSON_STRING:
        c.kind = CELL_TEXT;
        c.text = json_string(v);
        break;
    case JSON_NUMBER:
        c.kind = CELL_NUMBER;
        c.number = json_number(v);
        break;
    case JSON_OBJECT:
        rc = read_object(v, &c, e);
        break;
    default:
        rc = err_set(e, ERR_FORMAT, "expected a cell, found %s", json_type_name(json_type(v)));
    }
    if (rc == 0)
        *out = c;
    return rc;
}

static const char *kind_class(const struct cell *c)
{
    if (c->kind == CELL_NUMBER)
        return "n";
    if (c->kind == CELL_NONE)
        return "none";
    return c->code ? "code" : NULL;
}

/* How sure a figure is wants no four digits: 0.028 to 0.125. */
static void end_write(double v, struct buf *out)
{
    if (!(v >= -1 && v <= 1)) {
        html_add_number_span(out, v);
        return;
    }
    buf_add_text(out, "<span");
    html_add_exact(out, v);
    buf_add_char(out, '>');
    html_add_fixed(out, v, 3);
    buf_add_text(out, "</span>");
}

static void number_write(const struct cell *c, struct buf *out)
{
    html_add_number(out, c->number);
    if (!c->has_interval)
        return;
    buf_add_text(out, "<span class=\"interval\">");
    end_write(c->low, out);
    buf_add_text(out, " to ");
    end_write(c->high, out);
    buf_add_text(out, "</span>");
}

void cell_write(const struct cell *c, const char *element, const char *attributes,
                const char *class_name, struct buf *out)
{
    bool is_code = c->kind == CELL_TEXT && c->code;
    buf_printf(out, "<%s%s", element, attributes);
    html_add_classes(out, class_name, kind_class(c), c->tone);
    if (c->kind == CELL_NUMBER)
        html_add_exact(out, c->number);
    if (is_code) {
        html_add_attribute(out, "title", c->text);
        html_add_attribute(out, "data-value", c->text);
    }
    html_add_attribute(out, "data-key", c->key);
    buf_add_char(out, '>');
    if (c->link) {
        buf_add_text(out, "<a");
        html_add_attribute(out, "href", c->link);
        buf_add_char(out, '>');
    }
    if (c->kind == CELL_NUMBER)
        number_write(c, out);
    else if (c->kind == CELL_NONE)
        buf_add_text(out, "\xE2\x80\x93"); /* en dash */
    else if (is_code)
        html_add_text_n(out, c->text, html_cut(c->text, CELL_CODE_CHARACTERS));
    else if (str_eq(element, "th"))
        html_add_name(out, c->text);
    else
        html_add_text(out, c->text);
    if (c->link)
        buf_add_text(out, "</a>");
    buf_printf(out, "</%s>", element);
}
