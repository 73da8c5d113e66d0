#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/json.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/manifest/assignment.h"
#include "pipeline/manifest/folder_glob.h"
#include "pipeline/manifest/layout.h"
#include "tests/unit/scratch.h"

#define ONE "00112233445566778899aabbccddeeff00112233"
#define TWO "ffeeddccbbaa99887766554433221100ffeeddcc"

static char root[SCRATCH_BYTES];
static char shelf[64], kit[64];

static void drop(const char *folder, const char *name)
{
    struct err e = {0};
    char *path = file_join(folder, name);
    assert_int_equal(file_remove_tree(path, &e), 0);
    xfree(path);
}

static int make_folder(void **state)
{
    (void)state;
    if (scratch_open(root) != 0)
        return -1;
    snprintf(shelf, sizeof shelf, "%s/shelf", root);
    snprintf(kit, sizeof kit, "%s/kit", root);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return scratch_remove(root);
}

/* ------------------------------------------------------------------------------- patterns */

static void finds(const char *glob, const char *wanted)
{
    char *found = NULL;
    struct err e = {0};
    if (folder_glob(kit, glob, &found, &e) != 0)
        fail_msg("%s: %s", glob, e.text);
    if (wanted)
        assert_string_equal(found, wanted);
    else
        assert_null(found);
    xfree(found);
}

static void finds_not(const char *glob, const char *message)
{
    char *found = NULL;
    struct err e = {0};
    assert_int_equal(folder_glob(kit, glob, &found, &e), ERR_CONFIG);
    assert_null(found);
    if (!strstr(e.text, message))
        fail_msg("expected \"%s\" in \"%s\"", message, e.text);
}

static void one_file_by_a_pattern(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "a/b", "*", "a/?.x", "..a", "a../b", ".a"};
    static const char *const bad[] = {"",     "/a",   "a/",   "a//b", ".",   "..",
                                      "../a", "a/..", "a/./", "./a",  "a/.", "a/../b"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(folder_glob_is_good(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(folder_glob_is_good(bad[i]));
    scratch_put(kit, "assets/base-model.pt", "x");
    scratch_put(kit, "assets/.hidden.pt", "x");
    scratch_put(kit, "assets/a.json", "x");
    scratch_put(kit, "assets/b.json", "x");
    scratch_put(kit, "v1/deep/one.txt", "x");
    finds("assets/base-model.pt", "assets/base-model.pt");
    finds("assets/*.pt", "assets/base-model.pt");
    finds("*/deep/*", "v1/deep/one.txt");
    finds("assets/no-*", NULL);
    finds("nowhere/*.pt", NULL);
    finds("assets/base-model.pt/x", NULL);
    finds("ASSETS/base-model.pt", NULL);
    finds_not("assets/[ab].json",
              "two files fit assets/[ab].json: assets/a.json and assets/b.json");
    finds_not("assets", "/kit/assets is a folder, expected a file");
    char *link = file_join(kit, "assets/link.bin"), *folder = file_join(kit, "v2");
    assert_int_equal(symlink("base-model.pt", link), 0);
    assert_int_equal(symlink("v1", folder), 0);
    finds_not("assets/link.bin", "/kit/assets/link.bin is a symbolic link");
    finds_not("assets/*.bin", "is a symbolic link");
    finds_not("v2/deep/one.txt", "/kit/v2 is a symbolic link");
    finds_not("*/deep/one.txt", "/kit/v2 is a symbolic link");
    assert_int_equal(unlink(link) + unlink(folder), 0);
    xfree(link);
    xfree(folder);
    drop(root, "kit");
}

/* ------------------------------------------------------------------------------- the constant */

static void reads(const char *text)
{
    char hex[41];
    struct err e = {0};
    if (assignment_parse_hex("c.py", text, strlen(text), "SIG", 40, hex, &e) != 0)
        fail_msg("%s: %s", text, e.text);
    assert_string_equal(hex, ONE);
}

static void reads_not(const char *text, size_t n_bytes, const char *message)
{
    char hex[41];
    struct err e = {0};
    assert_int_equal(assignment_parse_hex("c.py", text, n_bytes, "SIG", 40, hex, &e), ERR_FORMAT);
    if (!strstr(e.text, message))
        fail_msg("expected \"%s\" in \"%s\"", message, e.text);
}

static void a_constant_is_read_as_text(void **state)
{
    (void)state;
    reads("SIG = \"" ONE "\"\n");
    reads("\"\"\"About SIG.\"\"\"\nimport x\n\nSIG='" ONE "'# a comment\nSIGN = 1\nA = SIG\n");
    reads("A = 1\r\nSIG\t =\t\"" ONE "\" \r\n");
    reads("SIGNATURE = \"" TWO "\"\nSIG = \"" ONE "\"");
    static const char *const bad[][2] = {
        {"", "c.py: no line SIG = \"40 hex digits\""},
        {"SIGN = \"" ONE "\"", "no line SIG"},
        {"x = 1\nSIG = f()",
         "c.py:2: found SIG = f(), expected SIG = \"40 lower-case hex digits\""},
        {" SIG = \"" ONE "\"", "c.py:1: found  SIG"},
        {"SIG: str = \"" ONE "\"", "found SIG: str"},
        {"SIG == \"" ONE "\"", "found SIG =="},
        {"SIG += \"" ONE "\"", "found SIG +="},
        {"SIG = " ONE, "found SIG"},
        {"SIG = \"" ONE "'", "found SIG"},
        {"SIG = \"" ONE "0\"", "found SIG"},
        {"SIG = \"A0112233445566778899aabbccddeeff00112233\"", "found SIG"},
        {"SIG = \"0112233445566778899aabbccddeeff00112233\"", "found SIG"},
        {"SIG = f\"" ONE "\"", "found SIG"},
        {"SIG = \"" ONE "\" + x", "found SIG"},
        {"SIG = \"" ONE "\"; x = 1", "found SIG"},
        {"SIG", "found SIG, expected"},
        {"SIG = \"\033[1m\"", "found another form"},
        {"SIG = \"" ONE "\"\nSIG = \"" ONE "\"\n", "lines 1 and 2 both begin with SIG"},
        {"SIG = \"" ONE "\"\nif x:\n    SIG = y\n", "lines 1 and 3 both begin with SIG"},
        {"\xff", "bytes that are no UTF-8"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        reads_not(bad[i][0], strlen(bad[i][0]), bad[i][1]);
    reads_not("SIG\0", 4, "or NUL");
    char hex[41];
    struct err e = {0};
    scratch_put(kit, "c.py", "SIG = \"" ONE "\"");
    char *path = file_join(kit, "c.py");
    assert_int_equal(assignment_read_hex(path, "SIG", 40, hex, &e), 0);
    drop(kit, "c.py");
    assert_int_equal(assignment_read_hex(path, "SIG", 40, hex, &e), ERR_MISSING);
    xfree(path);
}

/* ------------------------------------------------------------------------------- layouts */

#define HEAD                                                                                     \
    "fmforge_layout: 1\nversions: [afm-1, afm-2]\nmust_have: [assets/*.pt, c.py]\n"              \
    "refuse: [{folder: \"old*\", because: too old}, {file: k.json, key: type, expected: seven, " \
    "because: another kind}]\n"                                                                  \
    "signature: {from: c.py, assignment: SIG}\n"
#define FACETS                                                                          \
    "facets:\n  base: {run: import, inputs: {pt: assets/*.pt, shape: toolkit.shape}}\n" \
    "  tokenizer: {path: assets/t*.model, private: false, missing: \"get it\"}\n"       \
    "  spec: [x]\n  mil: assets/d.mil\n  recovery: {by: rank, 8: r/*8, 16: r/16}\n"
#define LAYOUT HEAD "public: [shape, export, os]\n" FACETS

static void put_version(const char *name, const char *version, const char *signature)
{
    char *text =
        xasprintf("fmforge_toolkit: 1\nname: afm\nversion: %s\nsignature: %s\nos: [\"26\"]\n"
                  "facets:\n  shape: shape.json\n  export: {lora_rank: 32}\n"
                  "  pick: {by: rank, 8: a}\n",
                  version, signature);
    scratch_put(shelf, name, text);
    xfree(text);
}

/* A folder that fits, and the shelf with its layout. */
static void put_all(const char *layout)
{
    scratch_put(shelf, "x-layout.yaml", layout);
    scratch_put(shelf, "notes.yaml", "no layout");
    put_version("afm-1/toolkit.yaml", "1", ONE);
    put_version("afm-2/toolkit.yaml", "2.10", TWO);
    scratch_put(kit, "assets/base-model.pt", "x");
    scratch_put(kit, "assets/tokenizer.model", "x");
    scratch_put(kit, "r/r8", "x");
    scratch_put(kit, "c.py", "SIG = \"" TWO "\"\n");
    scratch_put(kit, "k.json", "{\"type\": \"seven\"}");
}

static void drop_all(void)
{
    drop(root, "kit");
    drop(root, "shelf");
}

static void a_folder_is_recognised(void **state)
{
    (void)state;
    struct toolkit_dir t;
    struct err e = {0};
    put_all(LAYOUT);
    if (layout_open(&t, kit, shelf, &e) != 0)
        fail_msg("%s", e.text);
    assert_string_equal(t.label, "afm-2.10");
    assert_string_equal(t.signature, TWO);
    assert_string_equal(t.version, "2.10");
    const struct facet *base = toolkit_dir_facet(&t, "base");
    const struct doc_node *inputs = doc_get(base->node, "inputs");
    assert_int_equal(base->type, FACET_STAGE);
    assert_string_equal(doc_get(inputs, "pt")->text, "assets/base-model.pt");
    assert_string_equal(doc_get(inputs, "shape")->text, "toolkit.shape");
    const struct facet *tokenizer = toolkit_dir_facet(&t, "tokenizer");
    assert_true(str_starts(tokenizer->path, kit));
    assert_true(str_ends(tokenizer->path, "/kit/assets/tokenizer.model"));
    assert_true(base->is_private && tokenizer->is_private);
    assert_true(str_ends(toolkit_dir_facet(&t, "mil")->path, "/kit/assets/d.mil"));
    assert_true(toolkit_dir_facet(&t, "recovery")->is_private);
    char *choice = toolkit_dir_choice(&t, toolkit_dir_facet(&t, "recovery"), "8");
    assert_true(str_ends(choice, "/kit/r/r8"));
    xfree(choice);
    /* What is public is that of the version, beside the layout. */
    assert_true(str_starts(toolkit_dir_facet(&t, "shape")->path, shelf));
    assert_false(toolkit_dir_facet(&t, "shape")->is_private);
    assert_string_equal(toolkit_dir_facet(&t, "export")->value, "{\"lora_rank\":32}");
    assert_string_equal(toolkit_dir_facet(&t, "os")->value, "[\"26\"]");
    assert_string_equal(toolkit_dir_facet(&t, "signature")->value, "\"" TWO "\"");
    assert_null(toolkit_dir_facet(&t, "pick"));
    struct json *v = toolkit_dir_to_json(&t);
    assert_true(str_ends(json_string(json_get(v, "layout")), "/x-layout.yaml"));
    json_free(v);
    toolkit_dir_release(&t);
    assert_true(layout_resembles(kit, shelf));
    drop(kit, "assets");
    assert_true(layout_resembles(kit, shelf));
    drop(kit, "c.py");
    assert_false(layout_resembles(kit, shelf));
    drop_all();
}

/* Opens `folder` (NULL: kit), which must be refused; everything is put right after it. */
static void refuses(const char *folder, const char *message)
{
    struct toolkit_dir t;
    struct err e = {0};
    assert_true(layout_open(&t, folder ? folder : kit, shelf, &e) < 0);
    if (!strstr(e.text, message))
        fail_msg("expected \"%s\" in \"%s\"", message, e.text);
    toolkit_dir_release(&t);
    drop_all();
    put_all(LAYOUT);
}

static void a_folder_is_refused_by_name(void **state)
{
    (void)state;
    put_all(LAYOUT);
    drop(kit, "c.py");
    refuses(NULL, "/x-layout.yaml looks for assets/*.pt, c.py: there is no c.py");
    scratch_put(kit, "assets/other.pt", "x");
    refuses(NULL, "two files fit assets/*.pt: assets/base-model.pt and assets/other.pt");
    scratch_put(kit, "c.py", "SIG = \"0000000000000000000000000000000000000000\"");
    refuses(NULL,
            "/kit/c.py: SIG is 0000000000000000000000000000000000000000, and no version that ");
    scratch_put(kit, "c.py", "SIG = \"0\"");
    refuses(NULL, "/kit/c.py:1: found SIG = \"0\", expected");
    scratch_put(kit, "k.json", "{\"type\": \"eight\"}");
    refuses(NULL, "/kit/k.json: refused: type is \"eight\", expected \"seven\": another kind");
    scratch_put(kit, "k.json", "{\"type\": 7}");
    refuses(NULL, "/kit/k.json: refused: it has no text \"type\"");
    scratch_put(kit, "k.json", "{");
    refuses(NULL, "/kit/k.json: ");
    scratch_put(shelf, "y-layout.yaml", LAYOUT);
    refuses(NULL, "two layouts fit: ");
    scratch_put(shelf, "a-layout.yaml", "x: 1");
    refuses(NULL, "/a-layout.yaml:1:1");
    drop(shelf, "x-layout.yaml");
    refuses(NULL, "no toolkit.yaml in it, and no *-layout.yaml in ");
    drop(shelf, "afm-1");
    refuses(NULL, "/x-layout.yaml:2:12: version afm-1: there is no ");
    scratch_put(shelf, "afm-1/toolkit.yaml", "x: 1");
    refuses(NULL, "/x-layout.yaml:2:12: version afm-1: ");
    char *old = file_join(root, "old-0.1");
    scratch_put(root, "old-0.1/x", "x");
    assert_true(layout_resembles(old, shelf));
    refuses(old, "/old-0.1: refused, since its name is as old*: too old");
    drop(root, "old-0.1");
    xfree(old);
    /* Without the JSON file the rule about it says nothing. */
    struct toolkit_dir t;
    struct err e = {0};
    drop(kit, "k.json");
    assert_int_equal(layout_open(&t, kit, shelf, &e), 0);
    toolkit_dir_release(&t);
    drop_all();
}

static void a_layout_has_a_form(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"fmforge_layout: 2\n", "layout language 2: this program knows version 1 only"},
        {"versions: [a]\n", "`fmforge_layout` is missing"},
        {"fmforge_layout: 1\nversion: [a]\n", "did you mean `versions`?"},
        {"fmforge_layout: 1\n", "`versions` is missing"},
        {"fmforge_layout: 1\nversions: []\n", "`versions` is empty"},
        {"fmforge_layout: 1\nversions: [../a]\n", ":2:12: `../a`: a version is the name of"},
        {"fmforge_layout: 1\nversions: [a]\n", "`must_have` is missing"},
        {"fmforge_layout: 1\nversions: [a]\nmust_have: [x, ../y]\n", ":3:16: `../y`: a pattern is"},
        {"fmforge_layout: 1\nversions: [a]\nmust_have: [x]\nrefuse: [{folder: x}]\n",
         ":4:10: `because` is missing"},
        {"fmforge_layout: 1\nversions: [a]\nmust_have: [x]\nrefuse: [{folder: x, key: y}]\n",
         "`key`"},
        {"fmforge_layout: 1\nversions: [a]\nmust_have: [x]\n"
         "refuse: [{file: /x, key: y, expected: z, because: w}]\n",
         "`/x`: a pattern is"},
        {"fmforge_layout: 1\nversions: [a]\nmust_have: [x]\n", "`signature` is missing"},
        {"fmforge_layout: 1\nversions: [a]\nmust_have: [x]\nsignature: {from: a/.., assignment: "
         "S}\n",
         "`a/..`: a pattern is"},
        {"fmforge_layout: 1\nversions: [a]\nmust_have: [x]\nsignature: {from: a, assignment: \"S "
         "=\"}\n",
         "`S =` is no name of a constant"},
        {HEAD "public: []\n" FACETS, "`public` is empty"},
        {HEAD "public: [\"a b\"]\n" FACETS, "`a b` cannot be a facet's name"},
        {HEAD "public: [shape]\n", "`facets` is missing"},
        {HEAD "public: [shap]\n" FACETS,
         "toolkit afm-2.10 has no facet `shap`, did you mean `shape`?"},
        {HEAD "public: [pick]\n" FACETS,
         "facet `pick` of toolkit afm-2.10 is no file and no value"},
        {HEAD "public: [shape]\nfacets: {shape: a}\n", ":6:10: there are two facets `shape`"},
        {HEAD "facets: {a: ../x}\n", ":6:13: `../x`: a pattern is below the folder"},
        {HEAD "facets: {a: {run: x, inputs: {b: /x}}}\n", "`/x`: a pattern is below the folder"},
        {HEAD "facets: {a: {path: x, privat: true}}\n", "did you mean `private`?"},
        {HEAD "facets: {a: assets/*}\n", "two files fit assets/*"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct toolkit_dir t;
        struct err e = {0};
        put_all(bad[i][0]);
        assert_int_equal(layout_open(&t, kit, shelf, &e), ERR_CONFIG);
        if (!strstr(e.text, bad[i][1]))
            fail_msg("expected \"%s\" in \"%s\"", bad[i][1], e.text);
        toolkit_dir_release(&t);
        drop_all();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_file_by_a_pattern),  cmocka_unit_test(a_constant_is_read_as_text),
        cmocka_unit_test(a_folder_is_recognised), cmocka_unit_test(a_folder_is_refused_by_name),
        cmocka_unit_test(a_layout_has_a_form),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
