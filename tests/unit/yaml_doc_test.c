#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/manifest/yaml_doc.h"

#define SUITE "../shared/data/yaml_parsing"

static void takes(const char *text, const char *canonical)
{
    struct yaml_doc d;
    struct err e = {0};
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = yaml_doc_parse(&d, "x.yaml", text, strlen(text), &e);
    if (rc < 0)
        fail_msg("%s", e.text);
    struct json *v = doc_to_json(d.root);
    json_write_canonical(v, &b);
    assert_string_equal(buf_text(&b), canonical);
    json_free(v);
    buf_release(&b);
    yaml_doc_release(&d);
}

static void refuses(const char *text, const char *message)
{
    struct yaml_doc d;
    struct err e = {0};
    assert_int_equal(yaml_doc_parse(&d, "x.yaml", text, strlen(text), &e), ERR_CONFIG);
    if (!strstr(e.text, message))
        fail_msg("expected \"%s\" in \"%s\"", message, e.text);
    yaml_doc_release(&d);
}

static void typing_is_ours(void **state)
{
    (void)state;
    takes("a: 1\nb: 1.10\nc: \"1\"\nd: no\ne: true\nf: 010\ng: 1e-4\nh:\ni: 2026-01-31\n",
          "{\"a\":1,\"b\":1.1,\"c\":\"1\",\"d\":\"no\",\"e\":true,\"f\":\"010\",\"g\":0.0001,"
          "\"h\":null,\"i\":\"2026-01-31\"}");
    takes("[a, [b], {c: d}]", "[\"a\",[\"b\"],{\"c\":\"d\"}]");
    takes("a: |\n  x\n  y\n", "{\"a\":\"x\\ny\\n\"}");
    struct yaml_doc d;
    struct err e = {0};
    assert_int_equal(yaml_doc_parse(&d, "x", "version: 1.10\n", 14, &e), 0);
    assert_string_equal(doc_get(d.root, "version")->text, "1.10");
    assert_false(doc_get(d.root, "version")->quoted);
    assert_int_equal(doc_get(d.root, "version")->mark.column, 10);
    yaml_doc_release(&d);
}

static void what_is_no_part_of_the_language(void **state)
{
    (void)state;
    refuses("a: &x 1\n", "x.yaml:1:4: anchor &x");
    refuses("a: 1\nb: *x\n", "x.yaml:2:4: alias *x");
    refuses("a: !!str 1\n", "tag");
    refuses("a: 1\n<<: {b: 2}\n", "x.yaml:2:1: merge key");
    refuses("%YAML 1.1\n---\na: 1\n", "directives");
    refuses("a: 1\n---\nb: 1\n", "x.yaml:2:1: a second document");
    refuses("? [a]\n: 1\n", "a key must be a word");
    refuses("", "empty");
    refuses("a: \"x\"# glued\n", "comment");
    refuses("a:\n  \"b\n\tc\"\n", "tab");
}

static void duplicates_name_both_lines(void **state)
{
    (void)state;
    refuses("a: 1\nb: 2\na: 3\n", "x.yaml:3:1: key `a` is given twice, first in line 1");
    refuses("x: {k: 1, k: 2}\n", "x.yaml:1:11: key `k` is given twice");
}

/* The parser sees it at the end of the file; people need the beginning. */
static void what_is_not_closed_is_told_by_its_beginning(void **state)
{
    (void)state;
    refuses("a:\n  b: { c: 1\nd: 2\n", "(it begins in line 2, column 6)");
    refuses("a: [1, 2\n", "x.yaml:2:1: ");
    refuses("a: [1, 2\n", "(it begins in line 1, column 4)");
    refuses("a: 'x\n\n", "(it begins in line 1, column 4)");
}

static void bad_bytes_have_a_place(void **state)
{
    (void)state;
    refuses("\xef\xbb\xbf"
            "a: 1\n",
            "x.yaml:1:1: byte order mark: save the file as UTF-8 without one");
    refuses("a: 1\nb: \xff\n", "x.yaml:2:4: invalid UTF-8 (byte 0xff)");
    refuses("a: 1\nb: \x01\n", "x.yaml:2:4: control character 0x01");
    refuses("a: \"\\0\"\n", "NUL");
}

static char *nested(size_t depth)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < depth; i++)
        buf_add_char(&b, '[');
    buf_add_char(&b, '1');
    for (size_t i = 0; i < depth; i++)
        buf_add_char(&b, ']');
    return buf_steal(&b);
}

static void depth_at_the_limit_and_past_it(void **state)
{
    (void)state;
    struct yaml_doc d;
    struct err e = {0};
    char *text = nested(LIMIT_YAML_DEPTH);
    assert_int_equal(yaml_doc_parse(&d, "x", text, strlen(text), &e), 0);
    yaml_doc_release(&d);
    xfree(text);
    text = nested(LIMIT_YAML_DEPTH + 1);
    refuses(text, "LIMIT_YAML_DEPTH");
    xfree(text);
    text = nested(500000); /* a megabyte of brackets: refused at once, not after a quadratic walk */
    refuses(text, "LIMIT_YAML_DEPTH");
    xfree(text);
}

static void set_changes_one_scalar(void **state)
{
    (void)state;
    struct yaml_doc d;
    struct err e = {0};
    const char *text = "vars: {seed: 7}\nlist: [1]\n";
    assert_int_equal(yaml_doc_parse(&d, "x", text, strlen(text), &e), 0);
    assert_int_equal(yaml_doc_set(&d, "vars.seed", "8", "--set", &e), 0);
    assert_string_equal(doc_get(doc_get(d.root, "vars"), "seed")->text, "8");
    assert_int_equal(yaml_doc_set(&d, "list", "one", "--set", &e), 0);
    assert_int_equal(doc_get(d.root, "list")->type, DOC_SCALAR);
    assert_int_equal(yaml_doc_set(&d, "nothing.here", "8", "--set", &e), ERR_CONFIG);
    yaml_doc_release(&d);
}

static void unknown_keys_name_the_nearest(void **state)
{
    (void)state;
    static const char *const known[] = {"inputs", "with"};
    struct yaml_doc d;
    struct err e = {0};
    assert_int_equal(yaml_doc_parse(&d, "x", "input: 1\n", 9, &e), 0);
    assert_int_equal(doc_only_keys(&d, d.root, "stage a", known, 2, &e), ERR_CONFIG);
    assert_string_equal(e.text, "x:1:1: unknown key `input` in stage a, did you mean `inputs`?");
    yaml_doc_release(&d);
}

/* The suite covers all of YAML: a subset may refuse many y_ files, but must take no n_ file. */
static void the_yaml_suite(void **state)
{
    (void)state;
    struct file_list files = {0};
    struct err e = {0};
    if (!file_is_folder(SUITE)) {
        print_message("skipped: %s is not there\n", SUITE);
        skip();
    }
    assert_int_equal(file_list_folder(SUITE, &files, &e), 0);
    size_t n_taken = 0, n_refused = 0;
    for (size_t i = 0; i < files.n_paths; i++) {
        if (!str_ends(files.paths[i], ".yaml"))
            continue;
        struct yaml_doc d;
        struct err why = {0};
        char *path = file_join(SUITE, files.paths[i]);
        int rc = yaml_doc_open(&d, path, &why);
        if (rc == 0 && str_starts(files.paths[i], "n_"))
            fail_msg("%s was taken", path);
        if (rc < 0)
            assert_true(str_starts(why.text, path));
        n_taken += rc == 0;
        n_refused += rc < 0;
        yaml_doc_release(&d);
        xfree(path);
    }
    assert_true(n_taken > 100);
    print_message("yaml suite: %zu taken, %zu refused\n", n_taken, n_refused);
    file_list_release(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(typing_is_ours),
        cmocka_unit_test(what_is_no_part_of_the_language),
        cmocka_unit_test(duplicates_name_both_lines),
        cmocka_unit_test(what_is_not_closed_is_told_by_its_beginning),
        cmocka_unit_test(bad_bytes_have_a_place),
        cmocka_unit_test(depth_at_the_limit_and_past_it),
        cmocka_unit_test(set_changes_one_scalar),
        cmocka_unit_test(unknown_keys_name_the_nearest),
        cmocka_unit_test(the_yaml_suite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
