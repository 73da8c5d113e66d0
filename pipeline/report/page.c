#include "pipeline/report/page.h"

#include <string.h>

#include "pipeline/base/err.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/report/block_html.h"
#include "pipeline/report/block_read.h"
#include "pipeline/report/cell.h"
#include "pipeline/report/html.h"
#include "pipeline/report/page_style.h"

/* The text of a member; "" when there is none, or when it is no text. */
static void element_write(const char *element, const char *class_name, const char *text,
                          struct buf *out)
{
    if (!*text)
        return;
    buf_printf(out, "<%s", element);
    html_add_classes(out, class_name, NULL, NULL);
    buf_add_char(out, '>');
    html_add_text(out, text);
    buf_printf(out, "</%s>\n", element);
}

static void note_write(const char *what, const char *reason, struct buf *out)
{
    buf_printf(out, "<p class=\"note undrawn\">%s cannot be drawn: ", what);
    html_add_text(out, reason);
    buf_add_text(out, "</p>\n");
}

/* The first item of an optional array; a member of another type is said on the page. */
static const struct json *items_of(const struct json *o, const char *key, struct buf *out)
{
    const struct json *list = json_get(o, key);
    if (!list)
        return NULL;
    if (json_type(list) == JSON_ARRAY)
        return json_first(list);
    struct err e = {0};
    err_set(&e, ERR_FORMAT, "expected an array, found %s", json_type_name(json_type(list)));
    note_write(key, e.text, out);
    return NULL;
}

/* A "value" that is no cell is shown as one that says so. */
static struct cell value_of(const struct json *o)
{
    struct cell c;
    struct err e = {0};
    const struct json *v = json_get(o, "value");
    if (v && cell_read(v, &c, &e) == 0)
        return c;
    return (struct cell){.kind = CELL_TEXT, .text = "cannot be drawn", .tone = "warn"};
}

static void facts_write(const struct json *page, struct buf *out)
{
    const struct json *fact = items_of(page, "facts", out);
    if (!fact)
        return;
    buf_add_text(out, "<dl class=\"facts\">\n");
    for (; fact; fact = json_next(fact)) {
        struct cell c = value_of(fact);
        buf_add_text(out, "<div><dt>");
        html_add_text(out, json_text(fact, "name"));
        buf_add_text(out, "</dt>");
        cell_write(&c, "dd", "", NULL, out);
        buf_add_text(out, "</div>\n");
    }
    buf_add_text(out, "</dl>\n");
}

static void tiles_write(const struct json *page, struct buf *out)
{
    const struct json *tile = items_of(page, "tiles", out);
    if (!tile)
        return;
    buf_add_text(out, "<dl class=\"tiles\">\n");
    for (; tile; tile = json_next(tile)) {
        struct cell c = value_of(tile);
        buf_add_text(out, "<div");
        html_add_classes(out, "tile", cell_tone(json_text(tile, "tone")), NULL);
        buf_add_text(out, "><dt>");
        html_add_text(out, json_text(tile, "name"));
        buf_add_text(out, "</dt>");
        cell_write(&c, "dd", "", "figure", out);
        element_write("dd", "beside", json_text(tile, "note"), out);
        buf_add_text(out, "</div>\n");
    }
    buf_add_text(out, "</dl>\n");
}

struct section {
    const struct json *source;
    char *id;
    const char *title;
};

static bool is_taken(const struct section *sections, size_t n, const char *id)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(sections[i].id, id))
            return true;
    return false;
}

/* The caller xfrees it. Only what needs no escape in an address. */
static char *make_id(const struct section *sections, size_t n, const char *wanted)
{
    static const char kept[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    char *stem = *wanted ? xstrdup(wanted) : xasprintf("section-%zu", n + 1);
    for (char *p = stem; *p; p++)
        if (!strchr(kept, *p))
            *p = '-';
    char *id = xstrdup(stem);
    for (size_t k = 2; is_taken(sections, n, id); k++) {
        xfree(id);
        id = xasprintf("%s-%zu", stem, k);
    }
    xfree(stem);
    return id;
}

/* The section that a notice is about; NULL: the page has none of that id. */
static const struct section *section_of(const struct json *notice, const struct section *sections,
                                        size_t n)
{
    const char *wanted = json_text(notice, "section");
    for (size_t i = 0; i < n && *wanted; i++)
        if (str_eq(json_text(sections[i].source, "id"), wanted))
            return &sections[i];
    return NULL;
}

static void notice_write(const struct json *notice, const struct section *about, struct buf *out)
{
    const char *name = json_text(notice, "name");
    buf_add_text(out, "<li");
    html_add_classes(out, cell_tone(json_text(notice, "tone")), NULL, NULL);
    buf_add_char(out, '>');
    if (about && *name) {
        buf_printf(out, "<a href=\"#%s\">", about->id);
        html_add_text(out, name);
        buf_add_text(out, "</a> ");
    } else {
        element_write("b", NULL, name, out);
    }
    html_add_text(out, json_text(notice, "text"));
    buf_add_text(out, "</li>\n");
}

static void notices_write(const struct json *page, const struct section *sections, size_t n,
                          struct buf *out)
{
    const struct json *notice = items_of(page, "notices", out);
    if (!notice)
        return;
    buf_add_text(out, "<div class=\"notices\">\n<h2>What to look at</h2>\n<ul>\n");
    for (; notice; notice = json_next(notice))
        notice_write(notice, section_of(notice, sections, n), out);
    buf_add_text(out, "</ul>\n</div>\n");
}

static void header_write(const struct json *page, const char *title, const struct section *sections,
                         size_t n, struct buf *out)
{
    const struct json *status = json_get(page, "status");
    buf_add_text(out, "<header>\n<div>");
    element_write("h1", NULL, title, out);
    if (*json_text(status, "text")) {
        buf_add_text(out, "<span");
        html_add_classes(out, "badge", cell_tone(json_text(status, "tone")), NULL);
        buf_add_char(out, '>');
        html_add_text(out, json_text(status, "text"));
        buf_add_text(out, "</span>");
    }
    buf_add_text(out, "</div>\n");
    element_write("p", "subtitle", json_text(page, "subtitle"), out);
    if (json_type(page) != JSON_OBJECT)
        note_write("page", "expected an object", out);
    facts_write(page, out);
    tiles_write(page, out);
    notices_write(page, sections, n, out);
    buf_add_text(out, "</header>\n");
}

static void nav_write(const struct section *sections, size_t n, struct buf *out)
{
    if (n < 2)
        return;
    buf_add_text(out, "<nav aria-label=\"Sections\">\n<ul>\n");
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "<li><a href=\"#%s\">", sections[i].id);
        html_add_text(out, sections[i].title);
        buf_add_text(out, "</a></li>\n");
    }
    buf_add_text(out, "</ul>\n</nav>\n");
}

static void section_body_write(const struct section *s, struct buf *out)
{
    element_write("p", "lead", json_text(s->source, "note"), out);
    if (json_type(s->source) != JSON_OBJECT)
        note_write("section", "expected an object", out);
    const struct json *block = items_of(s->source, "blocks", out);
    for (; block; block = json_next(block))
        block_write(block, out);
}

static void section_write(const struct section *s, struct buf *out)
{
    bool is_folded = !json_is_true(s->source, "open") && json_items(s->source, "blocks");
    buf_printf(out, "<section id=\"%s\">\n", s->id);
    if (is_folded)
        buf_add_text(out, "<details>\n<summary>");
    element_write("h2", NULL, s->title, out);
    if (is_folded)
        buf_add_text(out, "</summary>\n");
    section_body_write(s, out);
    if (is_folded)
        buf_add_text(out, "</details>\n");
    buf_add_text(out, "</section>\n");
}

static void body_write(const struct json *page, const char *title, struct buf *out)
{
    struct buf notes;
    buf_init(&notes, out->max_bytes);
    const struct json *first = items_of(page, "sections", &notes);
    size_t n = 0;
    for (const struct json *v = first; v; v = json_next(v))
        n++;
    struct section *sections = xalloc_array(n, sizeof *sections);
    size_t i = 0;
    for (const struct json *v = first; v; v = json_next(v), i++) {
        sections[i].source = v;
        sections[i].id = make_id(sections, i, json_text(v, "id"));
        sections[i].title = *json_text(v, "title") ? json_text(v, "title") : sections[i].id;
    }
    header_write(page, title, sections, n, out);
    nav_write(sections, n, out);
    buf_add_text(out, "<main>\n");
    buf_add_text(out, buf_text(&notes));
    for (i = 0; i < n; i++) {
        section_write(&sections[i], out);
        xfree(sections[i].id);
    }
    buf_add_text(out, "</main>\n");
    xfree(sections);
    buf_release(&notes);
}

void page_write(const struct json *page, struct buf *out)
{
    const char *title = *json_text(page, "title") ? json_text(page, "title") : "Report";
    buf_add_text(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                      "<link rel=\"icon\" href=\"data:,\">\n");
    element_write("title", NULL, title, out);
    page_style_write(out);
    buf_add_text(out, "</head>\n<body>\n");
    body_write(page, title, out);
    buf_add_text(out, "</body>\n</html>\n");
}
