#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/json.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/report/page.h"

/* The page of a document, JSON with ' for "; the caller xfrees it. */
static char *draw(const char *text)
{
    char *real = xstrdup(text);
    for (char *p = real; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    struct json *page = NULL;
    struct err e = {0};
    assert_int_equal(json_parse(real, strlen(real), &page, &e), 0);
    struct buf out;
    buf_init(&out, BUF_MAX_DEFAULT);
    page_write(page, &out);
    json_free(page);
    xfree(real);
    return buf_steal(&out);
}

static void has(const char *html, const char *what)
{
    if (!strstr(html, what))
        fail_msg("\"%s\" is not in %s", what, strstr(html, "</style>"));
}

/* A notice leads to the section that it is about, by the id that the section has on the page. */
static void notices(void **state)
{
    (void)state;
    char *html = draw("{'notices': [{'name': '<a>', 'text': '1 < 2', 'tone': 'warn', "
                      "'section': 'of a'}, {'name': 'b', 'text': 'lost', 'section': 'nowhere'}, "
                      "{'text': 'of none', 'tone': 'loud'}],"
                      "'sections': [{'id': 'of a', 'title': 'A'}]}");
    const char *main = strstr(html, "<main>"), *list = strstr(html, "<div class=\"notices\">");
    assert_true(list && list < main);
    has(list, "<li class=\"warn\"><a href=\"#of-a\">&lt;a&gt;</a> 1 &lt; 2</li>");
    has(list, "<li><b>b</b>\nlost</li>");
    has(list, "<li>of none</li>");
    has(main, "<section id=\"of-a\">");
    xfree(html);
}

static void notices_that_are_none(void **state)
{
    (void)state;
    static const char *const none[] = {"{}", "{'notices': []}", "{'notices': 'a'}"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        char *html = draw(none[i]);
        assert_null(strstr(html, "What to look at"));
        if (i == 2)
            has(html, "notices cannot be drawn: expected an array, found a text");
        xfree(html);
    }
    char *html = draw("{'notices': [7, null, {'name': 1, 'text': ['a']}]}");
    has(html, "<li></li>\n<li></li>\n<li></li>\n</ul>");
    xfree(html);
}

/* A text may lead to a file beside the page, and to nothing that has a scheme or a host. */
static void links(void **state)
{
    (void)state;
    static const char form[] =
        "{'sections': [{'id': 's', 'open': true, 'blocks': [{'type': 'table', "
        "'columns': ['a'], 'rows': [[{'text': 'x<', 'link': '%s'}]]}]}]}";
    static const char *const wrong[] = {"", "/etc/passwd", "javascript:x", "//a.b/c", "a b", "#s"};
    char *text = xasprintf(form, "../../a_1/index.html");
    char *html = draw(text);
    has(html, "<a href=\"../../a_1/index.html\">x&lt;</a></th>");
    xfree(html);
    xfree(text);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        text = xasprintf(form, wrong[i]);
        html = draw(text);
        has(html, "row 1, column 1: expected a relative address, found ");
        assert_null(strstr(html, "<a href"));
        xfree(html);
        xfree(text);
    }
}

/* A long name may be broken where a reader would, in what names a row or a column. */
static void names(void **state)
{
    (void)state;
    char *html = draw("{'sections': [{'id': 's', 'open': true, 'blocks': [{'type': 'table', "
                      "'columns': ['quality[toolkit=nano-1.0]', 'b'], 'rows': ["
                      "['expected_token_<&>', 'expected_token_probability'], "
                      "['0123456789_12345', 'c'], ['a_b c_d e_f g_h i_j', 'd']]}]}]}");
    has(html, ">quality[<wbr>toolkit=<wbr>nano-1.0]</th>");
    has(html, ">expected_<wbr>token_<wbr>&lt;&amp;&gt;</th>");
    has(html, ">expected_token_probability</td>");
    has(html, ">0123456789_12345</th>");
    has(html, ">a_b c_d e_f g_h i_j</th>");
    xfree(html);
}

/* Columns of texts side by side share the width; a column of line numbers takes no share. */
static void line_numbers(void **state)
{
    (void)state;
    static const char form[] =
        "{'sections': [{'id': 's', 'open': true, 'blocks': [{'type': 'pairs', "
        "'columns': ['line', 'text'], 'rows': [%s]}]}]}";
    char *text = xasprintf(form, "['12', 'a'], ['13', '14']");
    char *html = draw(text);
    has(html, "<th scope=\"col\" class=\"mark\">line</th><th scope=\"col\">text</th>");
    has(html, "<td class=\"mark\" data-label=\"line\"><div>12</div></td>");
    xfree(html);
    xfree(text);
    text = xasprintf(form, "['12', 'a'], ['twelve', '14']");
    html = draw(text);
    has(html, "<th scope=\"col\">line</th><th scope=\"col\">text</th>");
    xfree(html);
    xfree(text);
}

static void intervals(void **state)
{
    (void)state;
    static const char form[] =
        "{'sections': [{'id': 's', 'open': true, 'blocks': [{'type': 'table', "
        "'columns': ['a'], 'rows': [[{'number': 0.5, 'interval': %s}]]}]}]}";
    char *text = xasprintf(form, "[0.25, 0.75]");
    char *html = draw(text);
    has(html,
        "data-value=\"0.5\">0.5<span class=\"interval\"><span data-value=\"0.25\">0.250</span> to "
        "<span data-value=\"0.75\">0.750</span></span></td>");
    xfree(html);
    xfree(text);
    text = xasprintf(form, "[0.0277912, 12345]");
    html = draw(text);
    has(html, "<span data-value=\"0.0277912\">0.028</span> to <span data-value=\"12345\">12,345<");
    xfree(html);
    xfree(text);
    static const char *const wrong[] = {"[]", "[1]", "[1, 2, 3]", "3", "['a', 1]"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        text = xasprintf(form, wrong[i]);
        html = draw(text);
        has(html, "cannot be drawn: row 1, column 1: ");
        xfree(html);
        xfree(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notices),      cmocka_unit_test(notices_that_are_none),
        cmocka_unit_test(links),        cmocka_unit_test(names),
        cmocka_unit_test(line_numbers), cmocka_unit_test(intervals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
