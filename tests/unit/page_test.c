#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/json.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/report/graph_svg.h"
#include "pipeline/report/html.h"
#include "pipeline/report/page.h"

/* ------------------------------------------------------------------------------ is it HTML? */

#define DEPTH_MAX 64
#define IDS_MAX 512

struct form {
    char open[DEPTH_MAX][16];
    size_t depth;
    char *ids[IDS_MAX];
    size_t n_ids;
    const char *fault;
};

static const char *fault(struct form *f, const char *what)
{
    f->fault = f->fault ? f->fault : what;
    return NULL;
}

static bool is_void(const char *name)
{
    return str_eq(name, "meta") || str_eq(name, "link") || str_eq(name, "wbr") ||
           str_eq(name, "!DOCTYPE");
}

static void take_id(struct form *f, const char *value, size_t n)
{
    char *id = xstrndup(value, n);
    for (size_t i = 0; i < f->n_ids; i++)
        if (str_eq(f->ids[i], id))
            fault(f, "an id stands twice");
    assert_true(f->n_ids < IDS_MAX);
    f->ids[f->n_ids++] = id;
}

/* Attributes as ` name="value"`, up to '>' or "/>"; returns what is behind the tag. */
static const char *take_attributes(struct form *f, const char *p, bool *closed)
{
    while (*p == ' ') {
        const char *name = ++p;
        size_t n_name =
            strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-0123456789");
        p += n_name;
        if (n_name == 4 && strncmp(name, "html", 4) == 0)
            continue; /* of the doctype */
        if (n_name == 0 || strncmp(p, "=\"", 2) != 0)
            return fault(f, "an attribute is not name=\"value\"");
        p += 2;
        size_t n_value = strcspn(p, "\"<>");
        if (p[n_value] != '"')
            return fault(f, "an attribute's value has no end");
        if (n_name == 2 && strncmp(name, "id", 2) == 0)
            take_id(f, p, n_value);
        p += n_value + 1;
    }
    *closed = strncmp(p, "/>", 2) == 0;
    if (*closed)
        return p + 2;
    return *p == '>' ? p + 1 : fault(f, "a tag has no end");
}

static const char *take_tag(struct form *f, const char *p)
{
    bool is_end = p[1] == '/';
    p += is_end ? 2 : 1;
    char name[16];
    size_t n = strspn(p, "!abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
    if (n == 0 || n >= sizeof name)
        return fault(f, "a '<' that starts no tag");
    memcpy(name, p, n);
    name[n] = 0;
    bool closed = false;
    p = take_attributes(f, p + n, &closed);
    if (!p || is_void(name) || closed)
        return p;
    if (!is_end && f->depth == DEPTH_MAX)
        return fault(f, "too deep");
    if (!is_end)
        memcpy(f->open[f->depth++], name, n + 1);
    else if (f->depth == 0 || !str_eq(f->open[--f->depth], name))
        return fault(f, "an end that closes something else");
    return p;
}

/* NULL when every tag is closed in order, every id is alone and nothing points outside. */
static const char *find_fault(const char *html)
{
    static const char *const references[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    struct form f = {0};
    if (strstr(html, "http"))
        fault(&f, "it points outside");
    for (const char *p = html; p && *p && !f.fault;) {
        unsigned char c = (unsigned char)*p;
        size_t i = 0;
        while (c == '&' && i < 5 && !str_starts(p, references[i]))
            i++;
        if (c == '>' || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F || i == 5)
            fault(&f, "a character that is not escaped");
        if (str_starts(p, "<style>")) {
            p = strstr(p, "</style>") + strlen("</style>");
            continue;
        }
        p = c == '<' ? take_tag(&f, p) : p + 1;
    }
    if (f.depth > 0)
        fault(&f, "a tag is not closed");
    for (size_t i = 0; i < f.n_ids; i++)
        xfree(f.ids[i]);
    return f.fault;
}

static void the_check_can_fail(void **state)
{
    (void)state;
    assert_null(
        find_fault("<!DOCTYPE html>\n<p class=\"a\">a &amp; b<b>c</b></p><svg><path/></svg>"));
    assert_string_equal(find_fault("<p><b></p></b>"), "an end that closes something else");
    assert_string_equal(find_fault("<p><b></b>"), "a tag is not closed");
    assert_string_equal(find_fault("<p id=\"a\"></p><p id=\"a\"></p>"), "an id stands twice");
    assert_string_equal(find_fault("<p id=a></p>"), "an attribute is not name=\"value\"");
    assert_string_equal(find_fault("<p id=\"<\"></p>"), "an attribute's value has no end");
    assert_string_equal(find_fault("a < b"), "a '<' that starts no tag");
    assert_string_equal(find_fault("a & b"), "a character that is not escaped");
    assert_string_equal(find_fault("a\x01"), "a character that is not escaped");
    assert_string_equal(find_fault("<a href=\"https:x\"></a>"), "it points outside");
}

/* --------------------------------------------------------------------------------- drawing */

/* The page of a document, checked; the caller xfrees it. */
static char *draw_tree(const struct json *page)
{
    struct buf out;
    buf_init(&out, BUF_MAX_DEFAULT);
    page_write(page, &out);
    const char *wrong = find_fault(buf_text(&out));
    if (wrong)
        fail_msg("%s in:\n%s", wrong, strstr(buf_text(&out), "</style>"));
    return buf_steal(&out);
}

/* JSON with ' for "; a real ' is written \u0027. The caller frees it. */
static struct json *parse(const char *text)
{
    char *real = xstrdup(text);
    for (char *p = real; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    struct json *v = NULL;
    struct err e = {0};
    if (json_parse(real, strlen(real), &v, &e) < 0)
        fail_msg("%s: %s", real, e.text);
    xfree(real);
    return v;
}

static char *draw(const char *text)
{
    struct json *page = parse(text);
    char *html = draw_tree(page);
    json_free(page);
    return html;
}

/* One block, between two that must come through whatever it is. */
static char *draw_block(const char *block)
{
    char *text = xasprintf("{'title': 't', 'sections': [{'id': 's', 'open': true, 'blocks': ["
                           "{'type': 'text', 'title': 'before', 'text': 'first'}, %s, "
                           "{'type': 'text', 'text': 'behind'}]}]}",
                           block);
    char *html = draw(text);
    xfree(text);
    assert_non_null(strstr(html, ">first</p>"));
    assert_non_null(strstr(html, ">behind</p>"));
    return html;
}

static size_t count(const char *html, const char *what)
{
    size_t n = 0;
    for (const char *p = strstr(html, what); p; p = strstr(p + strlen(what), what))
        n++;
    return n;
}

static void has(const char *html, const char *what)
{
    if (!strstr(html, what))
        fail_msg("no %s in:\n%s", what, strstr(html, "</style>"));
}

static void lacks(const char *html, const char *what)
{
    if (strstr(html, what))
        fail_msg("%s in:\n%s", what, strstr(html, "</style>"));
}

static void draws(const char *block, const char *what)
{
    char *html = draw_block(block);
    lacks(html, "cannot be drawn");
    has(html, what);
    xfree(html);
}

/* A copy with a text in the place of each c; the caller xfrees it. */
static char *fill(const char *text, char c, const char *with)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    for (; *text; text++)
        buf_add(&b, *text == c ? with : text, *text == c ? strlen(with) : 1);
    return buf_steal(&b);
}

/* In the note ` stands for a quotation mark. */
static void refuses(const char *block, const char *note)
{
    char *html = draw_block(block);
    char *wanted = fill(note, '`', "&quot;");
    has(html, wanted);
    xfree(wanted);
    assert_int_equal(count(html, " cannot be drawn: "), 1);
    xfree(html);
}

/* -------------------------------------------------------------------------------- the texts */

/* Every kind of place; @ stands for a text. */
static const char everywhere[] =
    "{'title': '@', 'subtitle': '@', 'status': {'text': '@', 'tone': 'good'},"
    "'facts': [{'name': '@', 'value': '@'},"
    "          {'name': 'n', 'value': {'text': '@', 'code': true, 'key': '@', 'tone': 'bad'}}],"
    "'tiles': [{'name': '@', 'value': {'text': '@'}, 'note': '@', 'tone': '@'},"
    "          {'name': 'n', 'value': {'number': 0.5, 'key': '@', 'tone': '@'}}],"
    "'sections': [{'id': '@', 'title': '@', 'note': '@', 'blocks': ["
    "{'type': '@', 'title': '@'},"
    "{'type': 'text', 'title': '@', 'text': '@'},"
    "{'type': 'table', 'title': 'a', 'columns': ['@', 'b'],"
    " 'rows': [['@', 1], [{'text': '@', 'key': '@'}, null]]},"
    "{'type': 'series', 'title': '@', 'x_label': '@', 'y_label': '@', 'log_y': true,"
    " 'lines': [{'name': '@', 'x': [1, 2], 'y': [1, 2]}, {'name': 'b', 'x': [2], 'y': [3]}]},"
    "{'type': 'series', 'title': 'a', 'lines': [{'name': '@', 'x': [2, 1], 'y': [1, 2]}]},"
    "{'type': 'pairs', 'title': 'a', 'columns': ['@', 'b'], 'rows': [['@', 'yes']]},"
    "{'type': 'matrix', 'title': 'a', 'row_label': '@', 'column_label': '@',"
    " 'rows': ['@', 'b'], 'columns': ['@', 'b'], 'values': [[1, 0], [2, 3]]},"
    "{'type': 'graph', 'title': '@', 'nodes': [{'id': '@', 'label': '@', 'note': '@',"
    " 'tone': 'warn'}, {'id': 'b'}], 'edges': [['@', 'b']]}"
    "]}, {'id': 'b', 'title': '@', 'open': true}]}";

static void escapes_everywhere(void **state)
{
    (void)state;
    char *text = fill(everywhere, '@', "<script>&\\u0027\\u0022");
    char *html = draw(text);
    lacks(html, "<script");
    assert_true(count(html, "&lt;script&gt;&amp;&#39;&quot;") >= 39); /* that many places */
    xfree(html);
    xfree(text);
}

static void odd_characters(void **state)
{
    (void)state;
    draws("{'type': 'text', 'text': 'a\\u0001\\u001b\\u007fb'}",
          ">a\xE2\x90\x81\xE2\x90\x9B\xE2\x90\xA1"
          "b<");
    draws("{'type': 'text', 'text': 'a\\u0085\\ufffe\\uffffb'}",
          ">a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
          "b<");
    draws("{'type': 'text', 'text': 'a\\r\\nb\\tc\\rd'}", ">a\nb\tc\xE2\x90\x8D"
                                                          "d<");
    draws("{'type': 'text', 'text': '\\u00a0\\u00e9\\u20ac\\ud83d\\ude00'}",
          ">\xC2\xA0\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80<");
    struct buf b;
    buf_init(&b, 100);
    html_add_text(&b, "a\xff\xc3(\xe2\x82");
    assert_string_equal(buf_text(&b), "a\xEF\xBF\xBD\xEF\xBF\xBD(\xEF\xBF\xBD\xEF\xBF\xBD");
    buf_release(&b);
}

static void long_words(void **state)
{
    (void)state;
    char *word = xalloc(10001);
    memset(word, 'w', 10000);
    char *text = fill(everywhere, '@', word);
    char *html = draw(text);
    assert_true(strlen(html) > 300000);
    has(html, "overflow-wrap:anywhere");
    xfree(html);
    xfree(text);
    xfree(word);
}

/* ------------------------------------------------------------------------------ the numbers */

/* The exact number and what is seen. */
static void numbers(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "0 0",
        "7 7",
        "-12 -12",
        "9999 9999",
        "10000 10,000",
        "2031320 2,031,320",
        "-123456 -123,456",
        "9007199254740992 9.007e15",
        "0.5 0.5",
        "0.8700000000000001 0.87",
        "0.31339029797031637 0.3134",
        "6.593823531934071 6.594",
        "99.996 100",
        "99.94 99.94",
        "999.96 1000",
        "1234.5678 1235",
        "12345.678 12,346",
        "-0.000364422 -0.0003644",
        "0.0001 0.0001",
        "0.00003 3e-5",
        "0.0000364422 3.644e-5",
        "1e+300 1e300",
        "5e-324 4.941e-324",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int n = (int)strcspn(cases[i], " ");
        char *block =
            xasprintf("{'type': 'table', 'columns': ['a'], 'rows': [[%.*s]]}", n, cases[i]);
        char *cell = xasprintf("data-value=\"%.*s\">%s</td>", n, cases[i], cases[i] + n + 1);
        draws(block, cell);
        xfree(cell);
        xfree(block);
    }
    draws("{'type': 'table', 'columns': ['a'], 'rows': [[-0]]}",
          "<td class=\"num n\" data-value=\"0\">0</td>");
}

static void cells(void **state)
{
    (void)state;
    char *html = draw(
        "{'facts': [{'name': 'a', 'value': {'text': '0123456789abcdef', 'code': true}},"
        "{'name': 'b', 'value': {'text': '0123456789ab', 'code': true}}, {'name': 'c', 'value': "
        "[]},"
        "{'name': 'd'}, 7],"
        "'tiles': [{'name': 'm', 'value': {'number': 0.123456, 'key': 'q[t=n]/m'}, 'note': 'o',"
        " 'tone': 'good'}, {'value': 12345, 'tone': 'gold'}, {'value': true}]}");
    has(html, "<dd class=\"code\" title=\"0123456789abcdef\" data-value=\"0123456789abcdef\">"
              "0123456789ab</dd>");
    has(html, "<div class=\"tile good\"><dt>m</dt><dd class=\"figure n\" data-value=\"0.123456\" "
              "data-key=\"q[t=n]/m\">0.1235</dd>");
    has(html,
        "<div class=\"tile\"><dt></dt><dd class=\"figure n\" data-value=\"12345\">12,345</dd>");
    assert_int_equal(count(html, ">cannot be drawn</dd>"), 4);
    xfree(html);
    draws("{'type': 'table', 'columns': ['a', 'b'], 'rows': [['x', 1], ['y', ''], ['z', null]]}",
          "<th scope=\"col\" class=\"num\">b</th>");
    draws("{'type': 'table', 'columns': ['a', 'b'], 'rows': [['x', 1], ['y', 'z']]}",
          "<th scope=\"col\" class=\"short\">b</th>");
    draws("{'type': 'table', 'columns': ['a'], 'rows': [[{'text': 'x', 'tone': 'bad'}]]}",
          "<th scope=\"row\" class=\"short bad\">x</th>");
    draws("{'type': 'table', 'columns': ['a'], 'rows': [[{'number': 1e-7, 'tone': 'muted'}]]}",
          "<td class=\"num n muted\" data-value=\"1e-7\">1e-7</td>");
}

/* ------------------------------------------------------------------------------- the blocks */

static void malformed(void **state)
{
    (void)state;
    static const char *const whole[][2] = {
        {"7", "type ? cannot be drawn: expected an object"},
        {"{'title': 'a'}", "type ? cannot be drawn: the key `type` is missing"},
        {"{'type': 3}", "type ? cannot be drawn: `type`: expected a text"},
        {"{'type': 'film'}", "type film cannot be drawn: no such type"},
        {"{'type': 'text', 'title': 3, 'text': 'a'}", "`title`: expected a text"},
        {"{'type': 'text'}", "`text` is missing"},
        {"{'type': 'text', 'text': ['a']}", "expected a text, found an array"}};
    static const char *const typed[][3] = {
        {"table", "'rows': []", "`columns` is missing"},
        {"table", "'columns': [], 'rows': []", "a table without columns"},
        {"table", "'columns': ['a', 1], 'rows': []", "`columns`, item 2"},
        {"table", "'columns': ['a'], 'rows': {}", "expected an array, found an object"},
        {"table", "'columns': ['a'], 'rows': [[1], 2]", "row 2: expected an array"},
        {"table", "'columns': ['a', 'b'], 'rows': [[1, 2], [1]]",
         "row 2: expected 2 items, found 1"},
        {"table", "'columns': ['a'], 'rows': [[1, 2]]", "expected 1 items, found 2"},
        {"table", "'columns': ['a'], 'rows': [[true]]", "row 1, column 1: expected a cell"},
        {"table", "'columns': ['a'], 'rows': [[{}]]", "either `text` or"},
        {"table", "'columns': ['a'], 'rows': [[{'text': 'a', 'number': 1}]]", "either"},
        {"table", "'columns': ['a'], 'rows': [[{'text': 1}]]", "`text`"},
        {"table", "'columns': ['a'], 'rows': [[{'number': '1'}]]", "`number`"},
        {"table", "'columns': ['a'], 'rows': [[{'text': '', 'tone': 1}]]", "tone"},
        {"table", "'columns': ['a'], 'rows': [[{'text': '', 'code': 1}]]", "code"},
        {"table", "'columns': ['a'], 'rows': [[{'text': '', 'key': 1}]]", "key"},
        {"series", "'title': 'a'", "`lines` is missing"},
        {"series", "'lines': 'a'", "expected an array"},
        {"series", "'lines': [], 'x_label': 1", "x_label"},
        {"series", "'lines': [], 'log_y': 1", "log_y"},
        {"series", "'lines': [1]", "line 1: the key `name` is missing"},
        {"series", "'lines': [{'name': 'a', 'x': [1]}]", "`y` is missing"},
        {"series", "'lines': [{'name': 'a', 'x': [1, 2], 'y': [1]}]",
         "2 numbers in `x` and 1 in `y`"},
        {"series", "'lines': [{'name': 'a', 'x': [1], 'y': [null]}]",
         "`y`, item 1: expected a number"},
        {"series", "'lines': [{'name': 'a', 'x': [1], 'y': [1e200]}]", "too large"},
        {"pairs", "'columns': [], 'rows': []", "pairs without columns"},
        {"pairs", "'columns': ['a'], 'rows': [['b', 'c']]", "row 1: expected 1 items"},
        {"pairs", "'columns': ['a'], 'rows': [[1]]", "row 1, column 1: expected a text"},
        {"matrix", "'rows': ['a'], 'columns': ['a']", "`values` is missing"},
        {"matrix", "'rows': ['a'], 'columns': ['a'], 'values': []", "expected 1 rows, found 0"},
        {"matrix", "'rows': ['a'], 'columns': ['a', 'b'], 'values': [[1]]", "2 items"},
        {"matrix", "'rows': ['a'], 'columns': ['a'], 'values': [['1']]", "a number"},
        {"matrix", "'rows': [1], 'columns': ['a'], 'values': [[1]]", "item 1"},
        {"graph", "'nodes': []", "`edges` is missing"},
        {"graph", "'nodes': [{'label': 'a'}], 'edges': []", "node 1: the key"},
        {"graph", "'nodes': [{'id': 'a'}, {'id': 'a'}], 'edges': []", "two nodes have the id `a`"},
        {"graph", "'nodes': [{'id': 'a'}], 'edges': [['a', 'b']]", "edge 1: there is no node `b`"},
        {"graph", "'nodes': [{'id': 'a'}], 'edges': [['a', 1]]", "edge 1: expected a text"},
        {"graph", "'nodes': [{'id': 'a'}], 'edges': [['a']]", "expected 2 items"},
        {"graph", "'nodes': [{'id': 'a'}], 'edges': [['a', 'a']]", "in a cycle"},
        {"graph",
         "'nodes': [{'id': 'a'}, {'id': 'b'}, {'id': 'c'}], 'edges': [['a', 'b'], ['b', 'c'], "
         "['c', 'b']]",
         "in a cycle"}};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++)
        refuses(whole[i][0], whole[i][1]);
    for (size_t i = 0; i < sizeof typed / sizeof typed[0]; i++) {
        char *block = xasprintf("{'type': '%s', %s}", typed[i][0], typed[i][1]);
        refuses(block, typed[i][2]);
        xfree(block);
    }
}

static void empty_blocks(void **state)
{
    (void)state;
    draws("{'type': 'text', 'text': ''}", "<p class=\"text\"></p>");
    draws("{'type': 'table', 'columns': ['a'], 'rows': []}", "no rows");
    draws("{'type': 'series', 'lines': []}", "no points");
    draws("{'type': 'series', 'lines': [{'name': 'a', 'x': [], 'y': []}]}", "no points");
    draws("{'type': 'series', 'lines': [{'name': 'a', 'x': [], 'y': []},"
          " {'name': 'b', 'x': [1], 'y': [2]}]}",
          "<b>a</b> <span class=\"stat\">no points");
    draws("{'type': 'pairs', 'columns': ['a'], 'rows': []}", "no rows");
    draws("{'type': 'matrix', 'rows': [], 'columns': ['a'], 'values': []}", "no values");
    draws("{'type': 'matrix', 'rows': ['a'], 'columns': [], 'values': [[]]}", "no values");
    draws("{'type': 'graph', 'nodes': [], 'edges': []}", "no nodes");
}

/* A copy in which the node that is *countdown nodes ahead is another one. */
static struct json *copy_but_one(const struct json *v, size_t *countdown, const char *other)
{
    if ((*countdown)-- == 0)
        return parse(other);
    enum json_type type = json_type(v);
    if (type != JSON_ARRAY && type != JSON_OBJECT)
        return json_clone(v);
    struct json *copy = type == JSON_ARRAY ? json_new_array() : json_new_object();
    for (const struct json *m = json_first(v); m; m = json_next(m)) {
        struct json *item = copy_but_one(m, countdown, other);
        if (type == JSON_ARRAY)
            json_append(copy, item);
        else
            json_put(copy, json_key(m), item);
    }
    return copy;
}

static size_t count_nodes(const struct json *v)
{
    size_t n = 1;
    for (const struct json *m = json_first(v); m; m = json_next(m))
        n += count_nodes(m);
    return n;
}

/* Whatever stands in the place of any part of a document, a page comes out. */
static void any_part_may_be_wrong(void **state)
{
    (void)state;
    static const char *const others[] = {"null", "true",   "-1e308",           "'b'",
                                         "[]",   "[[[]]]", "{'type': 'text'}", "[1, 'b', {}]"};
    char *text = fill(everywhere, '@', "a");
    struct json *page = parse(text);
    size_t n = count_nodes(page);
    assert_true(n > 100);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < sizeof others / sizeof others[0]; k++) {
            size_t countdown = i;
            struct json *wrong = copy_but_one(page, &countdown, others[k]);
            char *html = draw_tree(wrong);
            has(html, "</html>");
            xfree(html);
            json_free(wrong);
        }
    }
    json_free(page);
    xfree(text);
}

static void same_bytes(void **state)
{
    (void)state;
    char *a = draw(everywhere);
    char *b = draw(everywhere);
    assert_string_equal(a, b);
    lacks(a, "cannot be drawn: expected");
    assert_int_equal(count(a, " cannot be drawn: "), 1); /* the type "@" */
    xfree(a);
    xfree(b);
}

/* ----------------------------------------------------------------------------- the sections */

static void sections(void **state)
{
    (void)state;
    char *html = draw("{'sections': [{'id': 'a b', 'title': 'One', 'blocks': [7]},"
                      "{'id': 'a-b', 'open': true, 'blocks': [7]}, {'id': 'a-b-2', 'note': 'n'},"
                      "{}, 7, {'id': '\\u00e9', 'blocks': 'x'}]}");
    has(html, "<h1>Report</h1>");
    has(html, "<li><a href=\"#a-b\">One</a></li>\n<li><a href=\"#a-b-2\">a-b-2</a></li>\n"
              "<li><a href=\"#a-b-2-2\">a-b-2-2</a></li>\n<li><a href=\"#section-4\">");
    has(html, "<section id=\"a-b\">\n<details>\n<summary><h2>One</h2>\n</summary>");
    has(html, "<section id=\"a-b-2\">\n<h2>a-b-2</h2>");
    has(html, "<section id=\"a-b-2-2\">\n<h2>a-b-2-2</h2>\n<p class=\"lead\">n</p>");
    has(html, "section cannot be drawn: expected an object");
    has(html, "<section id=\"--\">\n<h2>--</h2>\n<p class=\"note undrawn\">blocks cannot be drawn");
    assert_int_equal(count(html, "<details>"), 1);
    xfree(html);
    html = draw("[]");
    has(html, "page cannot be drawn: expected an object");
    xfree(html);
    html = draw("{'title': 't', 'sections': 3, 'tiles': 4, 'facts': 'a', 'status': []}");
    assert_int_equal(count(html, "cannot be drawn: expected an array"), 3);
    lacks(html, "<nav");
    xfree(html);
}

static void pairs(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    for (int n = 40; n <= 42; n++) {
        buf_clear(&b);
        buf_add_text(&b, "{'type': 'pairs', 'columns': ['prompt', 'same', 'odd'], 'rows': [");
        for (int i = 0; i < n; i++)
            buf_printf(&b, "%s['p%d', '%s', '%s']", i ? "," : "", i, i % 2 ? "yes" : "no",
                       i == n - 1 ? "maybe" : "yes");
        buf_add_text(&b, "]}");
        char *html = draw_block(buf_text(&b));
        assert_int_equal(count(html, "data-label=\"prompt\""), n);
        assert_int_equal(count(html, "class=\"badge "), n);
        assert_int_equal(count(html, "<summary>"), n > 40);
        if (n == 41)
            has(html, "<summary>1 more row</summary>");
        if (n == 42)
            has(html, "<summary>2 more rows</summary>");
        xfree(html);
    }
    buf_release(&b);
    draws("{'type': 'pairs', 'columns': ['same'], 'rows': [['yes']]}",
          "<td class=\"mark\" data-label=\"same\"><span class=\"badge good\">yes</span></td>");
    /* An answer of yes or no is an answer. */
    draws("{'type': 'pairs', 'columns': ['expected'], 'rows': [['no']]}",
          "<td data-label=\"expected\"><div>no</div></td>");
}

static void matrix(void **state)
{
    (void)state;
    const char *swapped = "{'type': 'matrix', 'rows': ['a', 'b'], 'columns': ['b', 'a', 'c'],"
                          " 'values': [[0, 9, 1], [2, -1, 0]]}";
    draws(swapped, "<td class=\"zero\" data-value=\"0\">0</td>"
                   "<td class=\"same h9\" data-value=\"9\">9</td>"
                   "<td class=\"h1\" data-value=\"1\">1</td>");
    draws(swapped, "<td class=\"same h10\" data-value=\"2\">2</td><td data-value=\"-1\">-1</td>");
    draws(swapped, "<span>answered ");
    draws("{'type': 'matrix', 'rows': ['a', 'b'], 'columns': ['c', 'd'], 'row_label': 'from',"
          " 'values': [[0, 1], [1e308, 1e308]]}",
          "<td class=\"same zero\" data-value=\"0\">0</td><td class=\"h10\" data-value=\"1\">");
    draws("{'type': 'matrix', 'rows': ['a', 'b'], 'columns': ['c', 'd'], 'row_label': 'from',"
          " 'values': [[0, 1], [0.25, 0.75]]}",
          "<td class=\"same h8\" data-value=\"0.75\">0.75</td>");
}

/* ------------------------------------------------------------------------------- the charts */

static void add_numbers(struct buf *b, const char *key, const double *values, size_t n)
{
    buf_printf(b, ", '%s': [", key);
    for (size_t i = 0; i < n; i++) {
        buf_add_text(b, i ? "," : "");
        json_add_number(b, values[i]);
    }
    buf_add_char(b, ']');
}

/* The caller xfrees it. */
static char *draw_line(const double *x, const double *y, size_t n, const char *more)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_printf(&b, "{'type': 'series'%s, 'lines': [{'name': 'a'", more);
    add_numbers(&b, "x", x, n);
    add_numbers(&b, "y", y, n);
    buf_add_text(&b, "}]}");
    char *html = draw_block(buf_text(&b));
    lacks(html, "cannot be drawn");
    buf_release(&b);
    return html;
}

/* The path of the first line; the caller xfrees it. */
static char *path_of(const char *html)
{
    const char *start = strstr(html, "<path class=\"line");
    assert_non_null(start);
    start = strstr(start, "d=\"") + 3;
    return xstrndup(start, strcspn(start, "\""));
}

/*
 * 9,999 points, ten or so to each column of the plot. One reaches 100 and one -100, the ends of
 * the axis, between neighbours that do not.
 */
static void thinning_keeps_extremes(void **state)
{
    (void)state;
    enum { N = 9999 };
    double *x = xalloc_array(N, sizeof *x);
    double *y = xalloc_array(N, sizeof *y);
    for (size_t i = 0; i < N; i++) {
        x[i] = (double)i;
        y[i] = (double)(i * 7 % 11);
    }
    for (size_t at = 4000; at < 4020; at++) {
        y[at] = 100;
        y[at + 1000] = -100;
        char *html = draw_line(x, y, N, "");
        char *path = path_of(html);
        has(path, " 0L");     /* 100 is at the top */
        has(path, " 10000L"); /* -100 is at the bottom */
        assert_true(count(path, "L") > 1500);
        assert_true(count(path, "L") <= 4 * 1001);
        has(html, "Values (200 of 9999 rows, evenly spaced)");
        assert_int_equal(count(html, "<tr><td class=\"num n\""), 200);
        has(html, "<tr><td class=\"num n\" data-value=\"9998\">9998</td>");
        has(html, "min <span data-value=\"-100\">-100</span> at");
        xfree(path);
        xfree(html);
        y[at] = 5;
        y[at + 1000] = 5;
    }
    xfree(x);
    xfree(y);
}

static void few_points_are_all_drawn(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3, 4, 10};
    const double y[] = {6.593823531934071, 2, 0.25, 1, 0.30526187056632165};
    char *html = draw_line(x, y, 5, ", 'x_label': 'step', 'y_label': 'loss', 'title': 'Loss'");
    char *path = path_of(html);
    assert_int_equal(count(path, "L"), 4);
    assert_int_equal(count(html, "<circle "), 5);
    has(html, "role=\"img\" width=\"100%\" height=\"240\"><title>Loss</title>");
    has(html, "first <span data-value=\"6.593823531934071\">6.594</span> at "
              "<span data-value=\"1\">1</span>");
    has(html, "last <span data-value=\"0.30526187056632165\">0.3053</span> at "
              "<span data-value=\"10\">10</span>");
    has(html, "min <span data-value=\"0.25\">0.25</span> at <span data-value=\"3\">3</span>");
    has(html, "<tr><td class=\"num n\" data-value=\"3\">3</td>"
              "<td class=\"num n\" data-value=\"0.25\">0.25</td></tr>");
    has(html, "Values (5 rows)");
    xfree(path);
    xfree(html);
    html = draw_line(x, y, 1, "");
    lacks(html, "<path");
    has(html, "<circle r=\"4\"");
    xfree(html);
}

static void log_axis(void **state)
{
    (void)state;
    const double y[] = {1, 10, 100};
    char *html = draw_line(y, y, 3, ", 'y_label': 'loss', 'log_y': true");
    has(html, "d=\"M100 10000L1000 5000L10000 0\"");
    has(html, "loss (logarithmic)");
    xfree(html);
}

/* -------------------------------------------------------------------------------- the graph */

struct rect {
    double x, y, width, height;
};

static size_t take_rects(const char *html, struct rect *rects, size_t n_max)
{
    size_t n = 0;
    for (const char *p = strstr(html, "<rect "); p && n < n_max; p = strstr(p + 1, "<rect ")) {
        struct rect *r = &rects[n++];
        int n_read = sscanf(p, "<rect rx=\"6\" x=\"%lf\" y=\"%lf\" width=\"%lf\" height=\"%lf\"",
                            &r->x, &r->y, &r->width, &r->height);
        assert_int_equal(n_read, 4);
    }
    return n;
}

static void longest_path(void **state)
{
    (void)state;
    struct rect r[4];
    char *html = draw_block("{'type': 'graph', 'nodes': [{'id': 'd', 'tone': 'good'}, {'id': 'a'},"
                            " {'id': 'b', 'label': 'B'}, {'id': 'c'}],"
                            " 'edges': [['a', 'd'], ['a', 'b'], ['b', 'c'], ['c', 'd']]}");
    assert_int_equal(take_rects(html, r, 4), 4);
    assert_true(r[1].x < r[2].x && r[2].x < r[3].x && r[3].x < r[0].x);
    has(html, "<g class=\"node good\" data-id=\"d\"><title>d</title>");
    has(html, ">B</text>");
    xfree(html);
}

/* Nodes in a row, and edges of which all but the first say nothing new. */
static char *graph_of(size_t n_nodes, size_t n_edges)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_add_text(&b, "{'type': 'graph', 'nodes': [");
    for (size_t i = 0; i < n_nodes; i++)
        buf_printf(&b, "%s{'id': '%zu'}", i ? "," : "", i);
    buf_add_text(&b, "], 'edges': [");
    for (size_t i = 0; i < n_edges; i++)
        buf_printf(&b, "%s['0', '1']", i ? "," : "");
    buf_add_text(&b, "]}");
    return buf_steal(&b);
}

static void graph_limits(void **state)
{
    (void)state;
    char *most = graph_of(GRAPH_NODES_MAX, GRAPH_EDGES_MAX);
    char *nodes = graph_of(GRAPH_NODES_MAX + 1, 1);
    char *edges = graph_of(2, GRAPH_EDGES_MAX + 1);
    draws(most, "<svg class=\"graph\"");
    refuses(nodes, "201 nodes; at most 200 are drawn");
    refuses(edges, "801 edges; at most 800 are drawn");
    xfree(most);
    xfree(nodes);
    xfree(edges);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_check_can_fail),
        cmocka_unit_test(escapes_everywhere),
        cmocka_unit_test(odd_characters),
        cmocka_unit_test(long_words),
        cmocka_unit_test(numbers),
        cmocka_unit_test(cells),
        cmocka_unit_test(malformed),
        cmocka_unit_test(empty_blocks),
        cmocka_unit_test(any_part_may_be_wrong),
        cmocka_unit_test(same_bytes),
        cmocka_unit_test(sections),
        cmocka_unit_test(pairs),
        cmocka_unit_test(matrix),
        cmocka_unit_test(thinning_keeps_extremes),
        cmocka_unit_test(few_points_are_all_drawn),
        cmocka_unit_test(log_axis),
        cmocka_unit_test(longest_path),
        cmocka_unit_test(graph_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
