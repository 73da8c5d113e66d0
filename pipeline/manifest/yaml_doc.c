/*
 * libyaml gives events; this builds the tree. Events rather than libyaml's documents: they carry
 * the marks, tell plain from quoted, and let us refuse depth and duplicates before any expansion.
 */

#include "pipeline/manifest/yaml_doc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <yaml.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

struct builder {
    struct yaml_doc *doc;
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; owned */
    bool has_event;
    const char *text;
    size_t n_bytes;
    size_t at_char, at_byte; /* where the last event ended: libyaml counts characters */
    int flow_depth;          /* open [ and { */
    int flow_column;         /* column of the block mapping or list around the outermost of them */
    int block_column;        /* column of the innermost block mapping or list; 0 = none */
};

int doc_fail(const struct yaml_doc *d, struct yaml_mark mark, struct err *e, const char *format,
             ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (mark.line <= 0)
        return err_set(e, ERR_CONFIG, "%s: %s", d->path, text);
    return err_set(e, ERR_CONFIG, "%s:%d:%d: %s", d->path, mark.line, mark.column, text);
}

static void node_free(struct doc_node *n)
{
    while (n) {
        struct doc_node *next = n->next;
        node_free(n->first);
        xfree(n->key);
        xfree(n->text);
        xfree(n);
        n = next;
    }
}

static struct yaml_mark mark_of(yaml_mark_t m)
{
    struct yaml_mark out = {(int)m.line + 1, (int)m.column + 1};
    return out;
}

/* Byte place of a character place; events come in order, so the cursor only moves on. */
static size_t seek_char(struct builder *b, size_t char_index)
{
    while (b->at_char < char_index && b->at_byte < b->n_bytes) {
        b->at_byte++;
        while (b->at_byte < b->n_bytes && ((unsigned char)b->text[b->at_byte] & 0xc0) == 0x80)
            b->at_byte++;
        b->at_char++;
    }
    return b->at_byte;
}

/* A tab that indents a line which is not blank. */
static bool has_tab_indent(const char *text, size_t from, size_t to, size_t n_bytes)
{
    for (size_t i = from; i < to; i++) {
        if (text[i] != '\n' && text[i] != '\r')
            continue;
        size_t k = i + 1;
        bool tab = false;
        while (k < n_bytes && (text[k] == ' ' || text[k] == '\t'))
            tab |= text[k++] == '\t';
        if (tab && k < n_bytes && text[k] != '\n' && text[k] != '\r')
            return true;
    }
    return false;
}

/* A comment that touches what stands before it. */
static bool has_glued_comment(const char *text, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (text[i] != '#')
            continue;
        if (i > 0 && !strchr(" \t\r\n", text[i - 1]))
            return true;
        while (i < to && text[i] != '\n' && text[i] != '\r')
            i++;
    }
    return false;
}

/*
 * What libyaml 0.2.5 takes and YAML 1.2 does not: comments glued to a value, tabs as indentation
 * inside quotes and brackets, items of a bracket left of its parent, a lone "-" in brackets, a
 * block scalar of nothing but blanks.
 */
static int check_strict(struct builder *b, struct err *e)
{
    const yaml_event_t *v = &b->event;
    size_t gap = b->at_byte;
    size_t start = seek_char(b, v->start_mark.index);
    size_t end = seek_char(b, v->end_mark.index);
    struct yaml_mark m = mark_of(v->start_mark);
    bool block = false;
    if (v->type == YAML_SCALAR_EVENT) {
        yaml_scalar_style_t style = v->data.scalar.style;
        block = style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE;
        if (block && v->data.scalar.value[strspn((const char *)v->data.scalar.value, " \n")] == 0)
            return doc_fail(b->doc, m, e, "a block of text with nothing in it");
        if (b->flow_depth > 0 && style == YAML_PLAIN_SCALAR_STYLE &&
            str_eq((const char *)v->data.scalar.value, "-"))
            return doc_fail(b->doc, m, e, "a lone - in brackets");
    }
    if (has_glued_comment(b->text, gap, start))
        return doc_fail(b->doc, m, e, "a comment needs a space before its # (before this place)");
    if (has_tab_indent(b->text, gap, block ? start : end, b->n_bytes))
        return doc_fail(b->doc, m, e, "a tab is used as indentation here");
    bool item = v->type == YAML_SCALAR_EVENT || v->type == YAML_MAPPING_START_EVENT ||
                v->type == YAML_SEQUENCE_START_EVENT;
    if (item && b->flow_depth > 0 && m.column <= b->flow_column)
        return doc_fail(b->doc, m, e, "what is in brackets must stand right of column %d",
                        b->flow_column);
    return 0;
}

static int next_event(struct builder *b, struct err *e)
{
    if (b->has_event)
        yaml_event_delete(&b->event);
    b->has_event = false;
    if (yaml_parser_parse(&b->parser, &b->event)) {
        b->has_event = true;
        return check_strict(b, e);
    }
    if (b->parser.error == YAML_MEMORY_ERROR)
        return err_set(e, ERR_NOMEM, "%s: no memory for the parser", b->doc->path);
    const char *problem = b->parser.problem ? b->parser.problem : "not YAML";
    struct yaml_mark at = mark_of(b->parser.problem_mark);
    if (!b->parser.context)
        return doc_fail(b->doc, at, e, "%s", problem);
    struct yaml_mark from = mark_of(b->parser.context_mark);
    return doc_fail(b->doc, at, e, "%s, %s (it begins in line %d, column %d)", b->parser.context,
                    problem, from.line, from.column);
}

static int refuse_properties(struct builder *b, const unsigned char *anchor,
                             const unsigned char *tag, struct err *e)
{
    struct yaml_mark m = mark_of(b->event.start_mark);
    if (anchor)
        return doc_fail(b->doc, m, e, "anchor &%s: anchors are not part of this language",
                        (const char *)anchor);
    if (tag)
        return doc_fail(b->doc, m, e, "tag %s: tags are not part of this language",
                        (const char *)tag);
    return 0;
}

static int parse_node(struct builder *b, int depth, struct doc_node **out, struct err *e);

static int parse_key(struct builder *b, char **key, struct yaml_mark *mark, struct err *e)
{
    *mark = mark_of(b->event.start_mark);
    if (b->event.type == YAML_ALIAS_EVENT)
        return doc_fail(b->doc, *mark, e, "alias *%s: aliases are not part of this language",
                        (const char *)b->event.data.alias.anchor);
    if (b->event.type != YAML_SCALAR_EVENT)
        return doc_fail(b->doc, *mark, e, "a key must be a word, found a %s",
                        b->event.type == YAML_MAPPING_START_EVENT ? "mapping" : "list");
    int rc = refuse_properties(b, b->event.data.scalar.anchor, b->event.data.scalar.tag, e);
    if (rc < 0)
        return rc;
    const char *text = (const char *)b->event.data.scalar.value;
    if (str_eq(text, "<<") && b->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        return doc_fail(b->doc, *mark, e, "merge key <<: merging is not part of this language");
    if (strlen(text) != b->event.data.scalar.length)
        return doc_fail(b->doc, *mark, e, "a key holds a NUL character");
    if (*text == '\0')
        return doc_fail(b->doc, *mark, e, "empty key");
    if (strlen(text) > LIMIT_NAME_BYTES)
        return err_set(e, ERR_CONFIG, "%s:%d:%d: key longer than LIMIT_NAME_BYTES (%d)",
                       b->doc->path, mark->line, mark->column, LIMIT_NAME_BYTES);
    *key = xstrdup(text);
    return 0;
}

static int by_key_then_place(const void *a, const void *b)
{
    const struct doc_node *x = *(const struct doc_node *const *)a;
    const struct doc_node *y = *(const struct doc_node *const *)b;
    int c = strcmp(x->key, y->key);
    if (c != 0)
        return c;
    if (x->key_mark.line != y->key_mark.line)
        return x->key_mark.line < y->key_mark.line ? -1 : 1;
    return x->key_mark.column < y->key_mark.column ? -1 : 1;
}

static int refuse_duplicates(struct builder *b, const struct doc_node *map, struct err *e)
{
    if (map->n_items < 2)
        return 0;
    const struct doc_node **sorted = xalloc_array(map->n_items, sizeof *sorted);
    size_t n = 0;
    for (const struct doc_node *m = map->first; m; m = m->next)
        sorted[n++] = m;
    qsort(sorted, n, sizeof *sorted, by_key_then_place);
    int rc = 0;
    for (size_t i = 1; i < n && rc == 0; i++)
        if (str_eq(sorted[i - 1]->key, sorted[i]->key))
            rc = doc_fail(b->doc, sorted[i]->key_mark, e,
                          "key `%s` is given twice, first in line %d", sorted[i]->key,
                          sorted[i - 1]->key_mark.line);
    xfree(sorted);
    return rc;
}

/* The items behind a start event up to its end event. */
static int parse_items(struct builder *b, struct doc_node *parent, int depth, struct err *e)
{
    yaml_event_type_t end =
        parent->type == DOC_MAP ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    struct doc_node **tail = &parent->first;
    for (;;) {
        int rc = next_event(b, e);
        if (rc < 0 || b->event.type == end)
            return rc;
        char *key = NULL;
        struct yaml_mark key_mark = {0, 0};
        if (parent->type == DOC_MAP) {
            rc = parse_key(b, &key, &key_mark, e);
            if (rc == 0)
                rc = next_event(b, e);
        }
        struct doc_node *item = NULL;
        if (rc == 0)
            rc = parse_node(b, depth + 1, &item, e);
        if (rc < 0) {
            xfree(key);
            node_free(item);
            return rc;
        }
        item->key = key;
        item->key_mark = key_mark;
        *tail = item;
        tail = &item->next;
        parent->n_items++;
    }
}

static int fill_scalar(struct builder *b, struct doc_node *n, struct err *e)
{
    const char *text = (const char *)b->event.data.scalar.value;
    if (strlen(text) != b->event.data.scalar.length)
        return doc_fail(b->doc, n->mark, e, "text holds a NUL character");
    n->type = DOC_SCALAR;
    n->text = xstrdup(text);
    n->quoted = b->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return 0;
}

static int parse_collection(struct builder *b, struct doc_node *n, int depth, struct err *e)
{
    bool is_map = b->event.type == YAML_MAPPING_START_EVENT;
    int rc = is_map ? refuse_properties(b, b->event.data.mapping_start.anchor,
                                        b->event.data.mapping_start.tag, e)
                    : refuse_properties(b, b->event.data.sequence_start.anchor,
                                        b->event.data.sequence_start.tag, e);
    if (rc < 0)
        return rc;
    if (depth >= LIMIT_YAML_DEPTH)
        return err_set(e, ERR_CONFIG, "%s:%d:%d: nested deeper than LIMIT_YAML_DEPTH (%d)",
                       b->doc->path, n->mark.line, n->mark.column, LIMIT_YAML_DEPTH);
    n->type = is_map ? DOC_MAP : DOC_LIST;
    bool flow = is_map ? b->event.data.mapping_start.style == YAML_FLOW_MAPPING_STYLE
                       : b->event.data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
    int block_column = b->block_column;
    if (flow && b->flow_depth++ == 0)
        b->flow_column = block_column;
    if (!flow)
        b->block_column = n->mark.column;
    rc = parse_items(b, n, depth, e);
    b->flow_depth -= flow;
    b->block_column = block_column;
    if (rc == 0 && is_map)
        rc = refuse_duplicates(b, n, e);
    return rc;
}

/* Builds the node that starts at the current event. */
static int parse_node(struct builder *b, int depth, struct doc_node **out, struct err *e)
{
    struct yaml_mark mark = mark_of(b->event.start_mark);
    if (b->event.type == YAML_ALIAS_EVENT)
        return doc_fail(b->doc, mark, e, "alias *%s: aliases are not part of this language",
                        (const char *)b->event.data.alias.anchor);
    struct doc_node *n = xalloc(sizeof *n);
    n->mark = mark;
    *out = n;
    if (b->event.type != YAML_SCALAR_EVENT)
        return parse_collection(b, n, depth, e);
    int rc = refuse_properties(b, b->event.data.scalar.anchor, b->event.data.scalar.tag, e);
    return rc < 0 ? rc : fill_scalar(b, n, e);
}

static int parse_stream(struct builder *b, struct err *e)
{
    int rc = next_event(b, e); /* stream start */
    if (rc == 0)
        rc = next_event(b, e);
    if (rc < 0)
        return rc;
    struct yaml_mark top = {1, 1};
    if (b->event.type == YAML_STREAM_END_EVENT)
        return doc_fail(b->doc, top, e, "the file is empty");
    CHECK(b->event.type == YAML_DOCUMENT_START_EVENT);
    if (b->event.data.document_start.version_directive ||
        b->event.data.document_start.tag_directives.start !=
            b->event.data.document_start.tag_directives.end)
        return doc_fail(b->doc, mark_of(b->event.start_mark), e,
                        "directives (%%) are not part of this language");
    rc = next_event(b, e);
    if (rc == 0)
        rc = parse_node(b, 0, &b->doc->root, e);
    if (rc == 0)
        rc = next_event(b, e); /* document end */
    if (rc == 0)
        rc = next_event(b, e);
    if (rc == 0 && b->event.type != YAML_STREAM_END_EVENT)
        rc = doc_fail(b->doc, mark_of(b->event.start_mark), e,
                      "a second document starts here: one document a file");
    return rc;
}

/* UTF-8, and no control characters: what nobody can see decides nothing. */
static int check_bytes(const struct yaml_doc *d, const char *text, size_t n_bytes, struct err *e)
{
    struct yaml_mark m = {1, 1};
    if (n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        return doc_fail(d, m, e, "byte order mark: save the file as UTF-8 without one");
    size_t valid = str_utf8_prefix(text, n_bytes);
    for (size_t i = 0; i < valid; i++, m.column++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n') {
            m.line++;
            m.column = 0;
        } else if ((c < 32 && c != '\t' && c != '\r') || c == 127) {
            return doc_fail(d, m, e, "control character 0x%02x", c);
        }
    }
    if (valid < n_bytes)
        return doc_fail(d, m, e, "invalid UTF-8 (byte 0x%02x)", (unsigned char)text[valid]);
    return 0;
}

int yaml_doc_parse(struct yaml_doc *d, const char *path, const char *text, size_t n_bytes,
                   struct err *e)
{
    memset(d, 0, sizeof *d);
    d->path = xstrdup(path);
    d->source = xstrndup(text, n_bytes);
    d->source_bytes = n_bytes;
    int rc = check_bytes(d, text, n_bytes, e);
    if (rc < 0)
        return rc;
    struct builder b;
    memset(&b, 0, sizeof b);
    b.doc = d;
    b.text = text;
    b.n_bytes = n_bytes;
    if (!yaml_parser_initialize(&b.parser))
        return err_set(e, ERR_NOMEM, "%s: no memory for the parser", path);
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, n_bytes);
    rc = parse_stream(&b, e);
    if (b.has_event)
        yaml_event_delete(&b.event);
    yaml_parser_delete(&b.parser);
    return rc;
}

int yaml_doc_open(struct yaml_doc *d, const char *path, struct err *e)
{
    memset(d, 0, sizeof *d);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    struct err cause = {0};
    int rc = file_read(path, LIMIT_MANIFEST_BYTES, &b, &cause);
    if (rc < 0) /* what the user named cannot be used: status 2, unless the disk fails */
        rc = err_set(e, rc == ERR_IO ? ERR_IO : ERR_CONFIG, "%s", cause.text);
    else
        rc = yaml_doc_parse(d, path, buf_text(&b), b.n_bytes, e);
    buf_release(&b);
    return rc;
}

void yaml_doc_release(struct yaml_doc *d)
{
    node_free(d->root);
    xfree(d->path);
    xfree(d->source);
    memset(d, 0, sizeof *d);
}

const struct doc_node *doc_get(const struct doc_node *n, const char *key)
{
    if (!n || n->type != DOC_MAP)
        return NULL;
    for (const struct doc_node *m = n->first; m; m = m->next)
        if (str_eq(m->key, key))
            return m;
    return NULL;
}

const char *doc_type_name(enum doc_type t)
{
    static const char *const names[] = {"a single value", "a list", "a mapping"};
    return names[t];
}

int yaml_doc_set(struct yaml_doc *d, const char *dotted, const char *text, const char *origin,
                 struct err *e)
{
    struct doc_node *at = d->root;
    const char *p = dotted;
    for (;;) {
        size_t n = strcspn(p, ".");
        char *part = xstrndup(p, n);
        struct doc_node *child = (struct doc_node *)doc_get(at, part);
        bool last = p[n] == '\0';
        bool usable = n > 0 && at && at->type == DOC_MAP && (child || last);
        if (!usable) {
            xfree(part);
            return err_set(e, ERR_CONFIG, "%s: %s has no `%.*s`", origin, d->path,
                           (int)(p - dotted + (ptrdiff_t)n), dotted);
        }
        if (last && !child) {
            child = xalloc(sizeof *child);
            child->key = xstrdup(part);
            child->next = at->first;
            at->first = child;
            at->n_items++;
        }
        xfree(part);
        at = child;
        if (last)
            break;
        p += n + 1;
    }
    node_free(at->first);
    at->first = NULL;
    at->n_items = 0;
    xfree(at->text);
    at->type = DOC_SCALAR;
    at->text = xstrdup(text);
    at->quoted = false;
    return 0;
}

int doc_need(const struct yaml_doc *d, const struct doc_node *n, enum doc_type type,
             const char *what, struct err *e)
{
    if (n->type == type)
        return 0;
    return doc_fail(d, n->mark, e, "%s must be %s, found %s", what, doc_type_name(type),
                    doc_type_name(n->type));
}

char *doc_hint(const char *wanted, const char *const *names, size_t n_names, char *out, size_t size)
{
    const char *near = str_nearest(wanted, names, n_names);
    out[0] = '\0';
    if (near)
        snprintf(out, size, ", did you mean `%s`?", near);
    return out;
}

int doc_only_keys(const struct yaml_doc *d, const struct doc_node *map, const char *what,
                  const char *const *known, size_t n_known, struct err *e)
{
    for (const struct doc_node *m = map->first; m; m = m->next) {
        bool found = false;
        for (size_t i = 0; i < n_known && !found; i++)
            found = str_eq(m->key, known[i]);
        char hint[160];
        if (!found)
            return doc_fail(d, m->key_mark, e, "unknown key `%s` in %s%s", m->key, what,
                            doc_hint(m->key, known, n_known, hint, sizeof hint));
    }
    return 0;
}

int doc_wrong(const struct doc_section *s, const struct doc_node *v, const char *expected,
              struct err *e)
{
    if (v->type != DOC_SCALAR)
        return doc_fail(s->doc, v->mark, e, "%s `%s`: expected %s, found %s", s->what, v->key,
                        expected, doc_type_name(v->type));
    if (v->text[0] == '$')
        return doc_fail(s->doc, v->mark, e, "%s `%s`: expected %s, found `%.200s` (%s)", s->what,
                        v->key, expected, v->text, s->no_variables);
    return doc_fail(s->doc, v->mark, e, "%s `%s`: expected %s, found `%.200s`", s->what, v->key,
                    expected, v->text);
}

int doc_read_i64(const struct doc_section *s, const struct doc_node *v, struct doc_range range,
                 int64_t *out, struct err *e)
{
    char expected[96];
    if (v->type == DOC_SCALAR && str_to_i64(v->text, out) && *out >= range.min && *out <= range.max)
        return 0;
    snprintf(expected, sizeof expected, "%s from %lld to %lld", range.what, (long long)range.min,
             (long long)range.max);
    return doc_wrong(s, v, expected, e);
}

static struct json *scalar_to_json(const struct doc_node *n)
{
    int64_t i = 0;
    double f = 0;
    if (n->quoted)
        return json_new_string(n->text);
    if (str_eq(n->text, "null") || str_eq(n->text, "~") || n->text[0] == '\0')
        return json_new_null();
    if (str_eq(n->text, "true") || str_eq(n->text, "false"))
        return json_new_bool(str_eq(n->text, "true"));
    if (str_to_i64(n->text, &i) && i <= (INT64_C(1) << 53) && i >= -(INT64_C(1) << 53))
        return json_new_i64(i);
    if (!str_to_i64(n->text, &i) && str_to_f64(n->text, &f))
        return json_new_f64(f);
    return json_new_string(n->text);
}

struct json *doc_to_json(const struct doc_node *n)
{
    if (n->type == DOC_SCALAR)
        return scalar_to_json(n);
    struct json *out = n->type == DOC_MAP ? json_new_object() : json_new_array();
    for (const struct doc_node *m = n->first; m; m = m->next) {
        if (n->type == DOC_MAP)
            json_put(out, m->key, doc_to_json(m));
        else
            json_append(out, doc_to_json(m));
    }
    return out;
}
