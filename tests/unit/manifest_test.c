#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/manifest/manifest.h"
#include "pipeline/manifest/subst.h"
#include "pipeline/manifest/toolkit_dir.h"
#include "tests/unit/scratch.h"

static char folder[SCRATCH_BYTES];

static int make_folder(void **state)
{
    (void)state;
    return scratch_open(folder);
}

static int remove_folder(void **state)
{
    (void)state;
    return scratch_remove(folder);
}

static char *put(const char *name, const char *text)
{
    struct err e = {0};
    char *path = file_join(folder, name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    return path;
}

#define GOOD                                                                        \
    "fmforge: 1\nname: router\nvars: {seed: 7}\nmatrix: {rank: [8, 16]}\nstages:\n" \
    "  data: {run: prep, inputs: {raw: x.jsonl}, with: {seed: $seed}}\n"            \
    "  adapter: {run: train, needs: [data]}\ndeliver: {adapter: $name.bin}\n"

static void refuses(const char *text, const char *message)
{
    struct manifest m;
    struct err e = {0};
    char *path = put("bad.yaml", text);
    assert_int_equal(manifest_open(&m, path, NULL, 0, &e), ERR_CONFIG);
    if (!strstr(e.text, message))
        fail_msg("expected \"%s\" in \"%s\"", message, e.text);
    manifest_release(&m);
    xfree(path);
}

static void a_manifest_is_read(void **state)
{
    (void)state;
    struct manifest m;
    struct err e = {0};
    char *path = put("good.yaml", GOOD);
    const char *sets[] = {"vars.seed=8"};
    assert_int_equal(manifest_open(&m, path, sets, 1, &e), 0);
    assert_string_equal(m.name, "router");
    assert_int_equal(m.n_stages, 2);
    assert_int_equal(m.n_axes, 1);
    assert_string_equal(m.axes[0].name, "rank");
    assert_string_equal(doc_get(m.vars, "seed")->text, "8");
    assert_non_null(manifest_stage(&m, "adapter"));
    assert_null(manifest_stage(&m, "nobody"));
    manifest_release(&m);
    xfree(path);
}

static void form_errors_have_a_place(void **state)
{
    (void)state;
    refuses("name: x\nstages: {}\n", "`fmforge: 1` is missing");
    refuses("fmforge: 2\nname: x\nstages: {}\n", "bad.yaml:1:10: manifest language 2");
    refuses("fmforge: 1\nname: a-b\nstages: {}\n", "bad.yaml:2:7: name `a-b`");
    char text[256];
    snprintf(text, sizeof text, "fmforge: 1\nname: %0129d\nstages: {}\n", 1);
    refuses(text, "bad.yaml:2:7: name of 129 characters: expected 128 at most");
    refuses("fmforge: 1\nname: x\nstage: {}\n", "did you mean `stages`?");
    refuses("fmforge: 1\nname: x\nstages: []\n", "stages must be a mapping, found a list");
    refuses("fmforge: 1\nname: x\nstages: {a: {run: [x]}}\n", "run must be a single value");
    refuses("fmforge: 1\nname: x\nstages: {a: {inputs: {}}}\n", "has no `run`");
    refuses("fmforge: 1\nname: x\nstages: {toolkit: {run: x}}\n", "cannot be a stage's name");
    refuses("fmforge: 1\nname: x\nstages: {a: {run: x, needs: [b]}}\n", "there is no stage `b`");
    refuses("fmforge: 1\nname: x\nmatrix: {r: [1, 1]}\nstages: {}\n", "has the value 1 twice");
    refuses("fmforge: 1\nname: x\nmatrix: {r: [../x]}\nstages: {}\n", "value of an axis");
    refuses("fmforge: 1\nname: x\nstages: {a: {run: x}}\ndeliver: {b: c}\n",
            "there is no stage `b`");
}

static void sets_must_name_what_is_there(void **state)
{
    (void)state;
    struct manifest m;
    struct err e = {0};
    char *path = put("good.yaml", GOOD);
    const char *sets[] = {"vars.sed=8"};
    assert_int_equal(manifest_open(&m, path, sets, 1, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "did you mean `seed`?"));
    manifest_release(&m);
    xfree(path);

    path = put("list.yaml", "fmforge: 1\nname: n\nvars: [x]\nstages: {a: {run: x}}\n");
    e = (struct err){0};
    assert_int_equal(manifest_open(&m, path, sets, 1, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "has no variable `sed`"));
    manifest_release(&m);
    xfree(path);
}

static void dollar_names(void **state)
{
    (void)state;
    struct yaml_doc d;
    struct err e = {0};
    const char *text = "vars: {seed: 7, word: \"7\"}\nt: [\"$seed\", $seed, $word, \"a$$b $5\", "
                       "\"${seed}x\", $name.fmadapter, $toolkit.version, $nobody]\n";
    assert_int_equal(yaml_doc_parse(&d, "x", text, strlen(text), &e), 0);
    struct subst_scope s = {.doc = &d,
                            .name = "router",
                            .vars = doc_get(d.root, "vars"),
                            .toolkit_label = "nano-0.1",
                            .toolkit_name = "nano",
                            .toolkit_version = "0.1"};
    static const struct {
        const char *text;
        bool quoted;
    } expected[] = {{"7", true},      {"7", false}, {"7", true},
                    {"a$b $5", true}, {"7x", true}, {"router.fmadapter", false},
                    {"0.1", false}};
    const struct doc_node *n = doc_get(d.root, "t")->first;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++, n = n->next) {
        char *out = NULL;
        bool quoted = false;
        assert_int_equal(subst_text(&s, n, &out, &quoted, &e), 0);
        assert_string_equal(out, expected[i].text);
        assert_int_equal(quoted, expected[i].quoted);
        xfree(out);
    }
    char *out = NULL;
    bool quoted = false;
    assert_int_equal(subst_text(&s, n, &out, &quoted, &e), ERR_CONFIG);
    assert_true(subst_uses("a/${rank}/b", "rank"));
    assert_true(subst_uses("$toolkit.name", "toolkit"));
    assert_false(subst_uses("$$rank $ranks", "rank"));
    yaml_doc_release(&d);
}

/* What a tool is told of the toolkit below. */
static void check_facts(const struct toolkit_dir *t)
{
    struct json *v = toolkit_dir_to_json(t);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    assert_string_equal(json_string(json_get(v, "label")), "nano-26.10");
    const struct json *f = json_first(json_get(v, "facets")); /* base: absent */
    const struct json *file = json_first(json_get(f, "files"));
    assert_string_equal(json_string(json_get(f, "type")), "file");
    assert_false(json_bool(json_get(file, "present")));
    f = json_next(f); /* recovery */
    assert_string_equal(json_string(json_get(f, "by")), "rank");
    assert_int_equal(json_count(json_get(f, "files")), 2);
    f = json_next(f); /* export */
    json_write_canonical(json_get(f, "value"), &b);
    assert_string_equal(buf_text(&b), "{\"format\":\"fmadapter\",\"lora_rank\":32}");
    f = json_next(json_next(f)); /* own */
    file = json_first(json_get(f, "files"));
    assert_string_equal(json_string(json_get(file, "missing")), "ask them");
    assert_string_equal(json_string(json_get(json_next(f), "run")), "import");
    buf_release(&b);
    json_free(v);
}

static void toolkit_facets(void **state)
{
    (void)state;
    char *path =
        put("toolkit.yaml",
            "fmforge_toolkit: 1\nname: nano\nversion: 26.10\n"
            "signature: \"0123456789012345678901234567890123456789\"\nos: [\"26.0\"]\n"
            "facets:\n  base: base.bin\n  recovery: {by: rank, 8: a, 16: b}\n"
            "  export: {lora_rank: 32, format: fmadapter}\n  n: {value: 8}\n"
            "  own: {path: p, private: true, missing: \"ask them\"}\n  made: {run: import}\n"
            "  some: {by: rank, 8: a, missing: no}\n");
    struct toolkit_dir t;
    struct err e = {0};
    assert_int_equal(toolkit_dir_open(&t, folder, &e), 0);
    assert_string_equal(t.label, "nano-26.10");
    assert_int_equal(toolkit_dir_facet(&t, "base")->type, FACET_PATH);
    assert_string_equal(toolkit_dir_facet(&t, "export")->value,
                        "{\"format\":\"fmadapter\",\"lora_rank\":32}");
    assert_string_equal(toolkit_dir_facet(&t, "n")->value, "8");
    assert_string_equal(toolkit_dir_facet(&t, "os")->value, "[\"26.0\"]");
    assert_string_equal(toolkit_dir_facet(&t, "signature")->value,
                        "\"0123456789012345678901234567890123456789\"");
    assert_true(toolkit_dir_facet(&t, "own")->is_private);
    assert_int_equal(toolkit_dir_facet(&t, "made")->type, FACET_STAGE);
    const struct facet *recovery = toolkit_dir_facet(&t, "recovery");
    char *choice = toolkit_dir_choice(&t, recovery, "16");
    char *choices = toolkit_dir_choices(recovery);
    assert_string_equal(file_base_name(choice), "b");
    assert_string_equal(choices, "8, 16");
    assert_null(toolkit_dir_choice(&t, recovery, "by"));
    const struct facet *some = toolkit_dir_facet(&t, "some"), *own = toolkit_dir_facet(&t, "own");
    assert_string_equal(some->missing, "no");
    assert_null(toolkit_dir_choice(&t, some, "missing"));
    char *only = toolkit_dir_choices(some), *text = toolkit_dir_missing(&t, own, own->path);
    assert_string_equal(only, "8");
    assert_non_null(strstr(text, "toolkit nano-26.10 has no `own` here: put it at "));
    assert_non_null(strstr(text, "/p; ask them"));
    xfree(only);
    xfree(text);
    text = toolkit_dir_missing(&t, recovery, "x/a");
    assert_string_equal(text, "no such file or folder: x/a (facet `recovery` of toolkit "
                              "nano-26.10)");
    xfree(text);
    xfree(choice);
    xfree(choices);
    check_facts(&t);
    toolkit_dir_release(&t);
    xfree(path);
}

static void bad_toolkits(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"signature: abc\nfacets: {}\n", "not 40 lower-case hex digits"},
        {"signature: \"0123456789012345678901234567890123456789\"\nfacets: {a: ../x}\n",
         "below the toolkit's folder"},
        {"signature: \"0123456789012345678901234567890123456789\"\nfacets: {a: /x}\n",
         "below the toolkit's folder"},
        {"signature: \"0123456789012345678901234567890123456789\"\nfacets: {a: {by: rank}}\n",
         "nothing to choose from"},
        {"signature: \"0123456789012345678901234567890123456789\"\nfacet: {}\n", "did you mean"},
        {"signature: \"0123456789012345678901234567890123456789\"\nfacets: {a: {path: x, "
         "privat: true}}\n",
         "did you mean `private`?"},
        {"signature: \"0123456789012345678901234567890123456789\"\nfacets: {a: {path: x, "
         "missing: []}}\n",
         "missing must be"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *text = xasprintf("fmforge_toolkit: 1\nname: n\nversion: 1\n%s", bad[i][0]);
        char *path = put("toolkit.yaml", text);
        struct toolkit_dir t;
        struct err e = {0};
        assert_int_equal(toolkit_dir_open(&t, folder, &e), ERR_CONFIG);
        if (!strstr(e.text, bad[i][1]))
            fail_msg("expected \"%s\" in \"%s\"", bad[i][1], e.text);
        toolkit_dir_release(&t);
        xfree(path);
        xfree(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_is_read),
        cmocka_unit_test(form_errors_have_a_place),
        cmocka_unit_test(sets_must_name_what_is_there),
        cmocka_unit_test(dollar_names),
        cmocka_unit_test(toolkit_facets),
        cmocka_unit_test(bad_toolkits),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
