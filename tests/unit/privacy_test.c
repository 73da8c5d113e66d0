#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/privacy.h"
#include "pipeline/engine/session.h"
#include "tests/unit/scratch.h"

static char folder[SCRATCH_BYTES];
static char before[4096];

static void put(const char *name, const char *text)
{
    scratch_put(".", name, text);
}

/* A stage that only describes itself: inputs a and b, and what it says of copies ("" nothing). */
static void put_stage(const char *name, const char *copies)
{
    char *path = xasprintf("bin/stage-%s", name);
    char *text = xasprintf("#!/bin/sh\necho '{\"schema\":1,\"name\":\"%s\",\"summary\":\"s\","
                           "\"tool\":false,\"portable\":true,\"libraries\":[],\"params\":[],%s"
                           "\"inputs\":[{\"name\":\"a\",\"kind\":\"text\",\"required\":false},"
                           "{\"name\":\"b\",\"kind\":\"text\",\"required\":false}],"
                           "\"outputs\":[{\"name\":\"out\",\"kind\":\"text\"}]}'\n",
                           name, copies);
    put(path, text);
    assert_int_equal(chmod(path, 0755), 0);
    xfree(text);
    xfree(path);
}

#define SIGNATURE "signature: \"0123456789012345678901234567890123456789\"\n"

static int set_up(void **state)
{
    (void)state;
    if (!getcwd(before, sizeof before) || scratch_open(folder) != 0 || chdir(folder) != 0)
        return -1;
    put_stage("copy", "");
    put_stage("learn", "\"copies\":[],");
    put_stage("half", "\"copies\":[\"a\"],");
    put("tk/toolkit.yaml", "fmforge_toolkit: 1\nname: tk\nversion: \"1\"\n" SIGNATURE "facets:\n"
                           "  secret: {path: secret, private: true}\n  open: open\n"
                           "  by_rank: {by: rank, 8: open, private: true}\n"
                           "  made: {run: learn, inputs: {a: open}, private: true}\n"
                           "  made_openly: {run: copy, inputs: {a: toolkit.open}}\n"
                           "  made_of_secret: {run: copy, inputs: {a: toolkit.secret}}\n"
                           "  made_of_path: {run: copy, inputs: {a: deep/file}}\n");
    put("tk/secret", "s");
    put("tk/open", "o");
    put("tk/deep/file", "f");
    put("plain/toolkit.yaml",
        "fmforge_toolkit: 1\nname: plain\nversion: \"1\"\n" SIGNATURE "facets:\n  open: open\n");
    put("plain/open", "o");
    put("broken/toolkit.yaml", "no toolkit");
    put("broken/x", "x");
    put("own", "w");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return chdir(before) == 0 ? scratch_remove(folder) : -1;
}

/* Opens the manifest's stages; expects the named instances to be private, and no other. */
static void private_are(const char *stages, const char *expected)
{
    struct session s;
    struct err e = {0};
    char *text = xasprintf("fmforge: 1\nname: m\ntoolkits: [tk]\nstages:\n%s", stages);
    put("m.yaml", text);
    struct session_options o = {"m.yaml", ".fmforge", "bin", NULL, 0, false, NULL};
    if (session_open(&s, &o, &e) < 0)
        fail_msg("%s", e.text);
    struct privacy p = {0};
    privacy_open(&p, &s.graph);
    struct buf found;
    buf_init(&found, 65536);
    for (size_t i = 0; i < s.graph.n_instances; i++)
        if (p.is_private[i])
            buf_printf(&found, "%.*s ", (int)strcspn(s.graph.instances[i]->name, "["),
                       s.graph.instances[i]->name);
    assert_string_equal(buf_text(&found), expected);
    buf_release(&found);
    privacy_release(&p);
    session_release(&s);
    xfree(text);
}

static void copies_of_private_facets_are_private(void **state)
{
    (void)state;
    private_are("  x: {run: copy, inputs: {a: toolkit.secret}}\n", "x ");
    private_are("  x: {run: copy, inputs: {a: toolkit.open}}\n", "");
    private_are("  x: {run: copy, inputs: {a: own}}\n", "");
    private_are("  x: {run: copy, inputs: {a: toolkit.signature}}\n", "");
    private_are("  x: {run: learn, inputs: {a: toolkit.secret}}\n", "");
    private_are("  x: {run: half, inputs: {a: toolkit.secret}}\n", "x ");
    private_are("  x: {run: half, inputs: {b: toolkit.secret}}\n", "");
    private_are("  x: {run: half, inputs: {a: own, b: toolkit.secret}}\n", "");
}

static void it_passes_on_through_copies_alone(void **state)
{
    (void)state;
    private_are("  x: {run: copy, inputs: {a: toolkit.secret}}\n"
                "  y: {run: copy, inputs: {a: own, b: x}}\n"
                "  z: {run: learn, inputs: {a: y}}\n"
                "  after: {run: copy, inputs: {a: z}}\n",
                "x y ");
}

static void facets_that_stages_make(void **state)
{
    (void)state;
    /* A private facet is private whatever its stage says of copies. */
    private_are("  x: {run: copy, inputs: {a: toolkit.made}}\n", "toolkit.made x ");
    private_are("  x: {run: learn, inputs: {a: toolkit.made}}\n", "toolkit.made ");
    private_are("  x: {run: copy, inputs: {a: toolkit.made_openly}}\n", "");
    private_are("  x: {run: copy, inputs: {a: toolkit.made_of_secret}}\n",
                "toolkit.made_of_secret x ");
    private_are("  x: {run: copy, inputs: {a: toolkit.made_of_path}}\n", "toolkit.made_of_path x ");
}

static void paths_into_a_toolkit_with_something_private(void **state)
{
    (void)state;
    private_are("  x: {run: copy, inputs: {a: tk/secret}}\n", "x ");
    private_are("  x: {run: copy, inputs: {a: ./tk/deep/file}}\n", "x ");
    private_are("  x: {run: copy, inputs: {a: tk/deep}}\n", "x ");
    private_are("  x: {run: copy, inputs: {a: tk}}\n", "x ");
    private_are("  x: {run: learn, inputs: {a: tk}}\n", "");
    private_are("  x: {run: copy, inputs: {a: plain/open}}\n", "");
    private_are("  x: {run: copy, inputs: {a: broken/x}}\n", "x ");
    assert_int_equal(symlink("tk", "link"), 0);
    private_are("  x: {run: copy, inputs: {a: link/secret}}\n", "x ");
}

static void a_stage_may_not_name_what_it_does_not_have(void **state)
{
    (void)state;
    put_stage("wrong", "\"copies\":[\"c\"],");
    put("m.yaml", "fmforge: 1\nname: m\nstages:\n  x: {run: wrong}\n");
    struct session s;
    struct err e = {0};
    struct session_options o = {"m.yaml", ".fmforge", "bin", NULL, 0, false, NULL};
    assert_true(session_open(&s, &o, &e) < 0);
    assert_non_null(strstr(e.text, "copies: `c` is no input"));
    session_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_of_private_facets_are_private),
        cmocka_unit_test(it_passes_on_through_copies_alone),
        cmocka_unit_test(facets_that_stages_make),
        cmocka_unit_test(paths_into_a_toolkit_with_something_private),
        cmocka_unit_test(a_stage_may_not_name_what_it_does_not_have),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
