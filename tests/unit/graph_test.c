#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/session.h"
#include "tests/unit/scratch.h"

static char folder[SCRATCH_BYTES];
static char before[4096];

static void put(const char *name, const char *text)
{
    scratch_put(".", name, text);
}

/* A stage that only describes itself. */
static void put_stage(const char *name, const char *ports_and_params)
{
    char *path = xasprintf("bin/stage-%s", name);
    char *text = xasprintf("#!/bin/sh\necho '{\"schema\":1,\"name\":\"%s\",\"summary\":\"s\","
                           "\"tool\":false,\"portable\":true,\"libraries\":[],%s}'\n",
                           name, ports_and_params);
    put(path, text);
    assert_int_equal(chmod(path, 0755), 0);
    xfree(text);
    xfree(path);
}

static int set_up(void **state)
{
    (void)state;
    if (!getcwd(before, sizeof before) || scratch_open(folder) != 0 || chdir(folder) != 0)
        return -1;
    put_stage("prep", "\"inputs\":[{\"name\":\"raw\",\"kind\":\"rows\",\"required\":true}],"
                      "\"outputs\":[{\"name\":\"train\",\"kind\":\"tokens\"},"
                      "{\"name\":\"valid\",\"kind\":\"tokens\"}],\"params\":[{\"name\":\"seed\","
                      "\"type\":\"int\",\"default\":7}]");
    put_stage("train", "\"inputs\":[{\"name\":\"train\",\"kind\":\"tokens\",\"required\":true},"
                       "{\"name\":\"init\",\"kind\":\"adapter\",\"required\":false}],"
                       "\"outputs\":[{\"name\":\"checkpoint\",\"kind\":\"adapter\"}],\"params\":["
                       "{\"name\":\"rank\",\"type\":\"int\",\"default\":32,\"min\":1,\"max\":64},"
                       "{\"name\":\"rate\",\"type\":\"float\",\"default\":0.0001}]");
    put_stage("eval", "\"inputs\":[{\"name\":\"adapter\",\"kind\":\"adapter\",\"required\":false}],"
                      "\"outputs\":[{\"name\":\"metrics\",\"kind\":\"metrics\"}],\"params\":[]");
    put_stage("export", "\"inputs\":[{\"name\":\"adapter\",\"kind\":\"adapter\",\"required\":true},"
                        "{\"name\":\"signature\",\"kind\":\"signature\",\"required\":true},"
                        "{\"name\":\"export\",\"kind\":\"export\",\"required\":true}],"
                        "\"outputs\":[{\"name\":\"package\",\"kind\":\"package\"},"
                        "{\"name\":\"report\",\"kind\":\"report\"}],\"params\":[{\"name\":"
                        "\"name\",\"type\":\"text\"}]");
    put("tk/toolkit.yaml",
        "fmforge_toolkit: 1\nname: nano\nversion: \"0.1\"\n"
        "signature: \"0123456789012345678901234567890123456789\"\n"
        "facets:\n  recovery: {by: rank, 8: r8, 32: r32}\n  export: {lora_rank: 32}\n"
        "  made: {run: train, inputs: {train: r8}, with: {rank: 8}}\n"
        "  theirs: {path: assets/theirs, missing: \"ask them for it\"}\n"
        "  chosen: {by: rank, 32: assets/r32, missing: \"ask them for it\"}\n"
        "  built: {run: train, inputs: {train: assets/pt}, missing: \"ask them for pt\"}\n");
    put("tk/r8", "8");
    put("tk/r32", "32");
    put("rows.jsonl", "x\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return chdir(before) == 0 ? scratch_remove(folder) : -1;
}

#define HEAD "fmforge: 1\nname: router\ntoolkits: [tk]\nvars: {seed: 7}\n"
#define DATA "  data: {run: prep, inputs: {raw: rows.jsonl}, with: {seed: $seed}}\n"
#define ADAPTER "  adapter: {run: train, inputs: {train: data.train, init: toolkit.recovery}}\n"
#define QUALITY "  quality: {run: eval, inputs: {adapter: adapter}, gates: [\"m >= 1\"]}\n"
#define PACKAGE                                                                         \
    "  package: {run: export, needs: [quality], inputs: {adapter: adapter.checkpoint, " \
    "signature: toolkit.signature, export: toolkit.export}, with: {name: $name}}\n"     \
    "deliver: {package: $name.fmadapter}\n"

static int open_session(struct session *s, const char *manifest, struct err *e)
{
    put("m.yaml", manifest);
    struct session_options o = {"m.yaml", ".fmforge", "bin", NULL, 0, false, NULL};
    return session_open(s, &o, e);
}

static void opens(struct session *s, const char *manifest)
{
    struct err e = {0};
    if (open_session(s, manifest, &e) < 0)
        fail_msg("%s", e.text);
}

static void refuses(const char *manifest, const char *message)
{
    struct session s;
    struct err e = {0};
    assert_int_equal(open_session(&s, manifest, &e), ERR_CONFIG);
    if (!strstr(e.text, message))
        fail_msg("expected \"%s\" in \"%s\"", message, e.text);
    session_release(&s);
}

static void stages_become_instances(void **state)
{
    (void)state;
    struct session s;
    opens(&s, HEAD "stages:\n" DATA ADAPTER QUALITY PACKAGE);
    static const char *const names[] = {"data", "adapter[toolkit=nano-0.1]",
                                        "quality[toolkit=nano-0.1]", "package[toolkit=nano-0.1]"};
    assert_int_equal(s.graph.n_instances, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(s.graph.instances[i]->name, names[i]);
    const struct instance *adapter = s.graph.instances[1];
    assert_string_equal(adapter->inputs[1].path, "tk/r32");
    assert_int_equal(json_number(json_get(adapter->config, "rank")), 32);
    assert_int_equal(s.graph.n_deliveries, 1);
    assert_string_equal(s.graph.deliveries[0].path, "router/nano-0.1/router.fmadapter");
    assert_true(s.plan.items[0].has_key);
    assert_false(s.plan.items[1].has_key);
    session_release(&s);
    assert_false(file_exists(".fmforge")); /* a plan writes nothing */
}

static void finds(const struct graph *g, const char *name, size_t index)
{
    struct err e = {0};
    size_t i = GRAPH_NONE;
    if (graph_find(g, name, &i, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(i, index);
}

static void finds_none(const struct graph *g, const char *name, const char *message)
{
    struct err e = {0};
    size_t i = 0;
    assert_int_equal(graph_find(g, name, &i, &e), ERR_CONFIG);
    if (!strstr(e.text, message))
        fail_msg("expected \"%s\" in \"%s\"", message, e.text);
}

static void axes_multiply_what_names_them(void **state)
{
    (void)state;
    struct session s;
    opens(&s, HEAD "matrix: {rank: [8, 32]}\nstages:\n" DATA
                   "  adapter: {run: train, inputs: {train: data.train, init: toolkit.recovery}, "
                   "with: {rank: $rank}}\n" QUALITY "deliver: {adapter: a.bin}\n");
    assert_int_equal(s.graph.n_instances, 5); /* data once, the others per rank */
    assert_string_equal(s.graph.instances[1]->name, "adapter[rank=8,toolkit=nano-0.1]");
    assert_string_equal(s.graph.instances[1]->inputs[1].path, "tk/r8");
    assert_string_equal(s.graph.instances[4]->name, "quality[rank=32,toolkit=nano-0.1]");
    assert_int_equal(s.graph.instances[4]->inputs[0].producer, 2);
    assert_string_equal(s.graph.deliveries[1].path, "router/nano-0.1/rank=32/a.bin");
    finds(&s.graph, "data", 0);
    finds(&s.graph, "quality[rank=32,toolkit=nano-0.1]", 4);
    finds(&s.graph, "quality[rank=32]", 4);
    finds(&s.graph, "quality[toolkit=nano-0.1,rank=32]", 4);
    finds_none(&s.graph, "quality", "has 2 stages `quality`; name one, e.g. 'quality[rank=8,");
    finds_none(&s.graph, "quality[toolkit=nano-0.1]", "name one, e.g. 'quality[rank=8,");
    finds_none(&s.graph, "quality[rank=3]",
               "has no `quality[rank=3]`; it has e.g. 'quality[rank=8,");
    finds_none(&s.graph, "quality[rank=32", "has no `quality[rank=32`");
    finds_none(&s.graph, "qualty", "has no stage `qualty`, did you mean `quality`?");
    session_release(&s);
}

static void a_facet_may_be_made_by_a_stage(void **state)
{
    (void)state;
    struct session s;
    opens(&s, HEAD "stages:\n  q: {run: eval, inputs: {adapter: toolkit.made}}\n");
    assert_int_equal(s.graph.n_instances, 2);
    assert_string_equal(s.graph.instances[0]->name, "toolkit.made[toolkit=nano-0.1]");
    assert_int_equal(s.graph.instances[1]->inputs[0].producer, 0);
    session_release(&s);
}

static char *key_of_first(const char *manifest)
{
    struct session s;
    opens(&s, manifest);
    char *key = xstrdup(s.plan.items[0].key.hex);
    session_release(&s);
    return key;
}

static void only_what_decides_bytes_is_in_the_key(void **state)
{
    (void)state;
    char *a = key_of_first(HEAD "stages:\n" DATA);
    char *b = key_of_first("# a comment\nname: router\nfmforge: 1\ntoolkits: [tk]\nstages:\n"
                           "  d2: {with: {seed: 7}, inputs: {raw: rows.jsonl}, run: prep}\n");
    char *c = key_of_first(HEAD "stages:\n  data: {run: prep, inputs: {raw: rows.jsonl}}\n");
    char *d = key_of_first(HEAD "stages:\n  data: {run: prep, inputs: {raw: rows.jsonl}, "
                                "with: {seed: 8}}\n");
    assert_string_equal(a, b); /* order, comments and the stage's name */
    assert_string_equal(a, c); /* a default that is written out */
    assert_string_not_equal(a, d);
    xfree(a);
    xfree(b);
    xfree(c);
    xfree(d);
}

static void type_errors(void **state)
{
    (void)state;
    refuses(HEAD "stages:\n  data: {run: pep}\n", "m.yaml:6:15: there is no kind of stage `pep`");
    refuses(HEAD "stages:\n  data: {run: prep}\n", "needs the input `raw` (rows)");
    refuses(HEAD "stages:\n  data: {run: prep, inputs: {row: x}}\n", "did you mean `raw`?");
    refuses(HEAD "stages:\n  data: {run: prep, inputs: {raw: no.jsonl}}\n", "no such file");
    refuses(HEAD "stages:\n" DATA "  b: {run: prep, inputs: {raw: data.train}}\n",
            "expected rows, found data.train, which is tokens");
    refuses(HEAD "stages:\n" DATA "  a: {run: train, inputs: {train: data}}\n",
            "has 2 outputs; say which");
    refuses(HEAD "stages:\n" DATA "  a: {run: train, inputs: {train: data.trai}}\n",
            "did you mean `train`?");
    refuses(HEAD "stages:\n" DATA
                 "  a: {run: train, inputs: {train: data.train}, with: {rank: x}}\n",
            "m.yaml:7:61: parameter `rank`: expected a whole number, found `x`");
    refuses(HEAD "stages:\n" DATA
                 "  a: {run: train, inputs: {train: data.train}, with: {rank: \"8\"}}\n",
            "found the text \"8\"");
    refuses(HEAD "stages:\n" DATA
                 "  a: {run: train, inputs: {train: data.train}, with: {rank: 65}}\n",
            "expected 1 to 64, found 65");
    refuses(HEAD "stages:\n" DATA
                 "  a: {run: train, inputs: {train: data.train, init: toolkit.recovry}}\n",
            "did you mean `recovery`?");
    refuses(HEAD "stages:\n" DATA
                 "  a: {run: train, inputs: {train: data.train, init: toolkit.recovery}, with: "
                 "{rank: 16}}\n",
            "toolkit nano-0.1 has no recovery for rank 16; it has 8, 32");
    refuses("fmforge: 1\nname: x\nstages:\n  q: {run: eval, inputs: {adapter: toolkit.made}}\n",
            "the manifest has no `toolkits`");
}

/* A toolkit whose files are its user's to supply is whole until one of them is needed. */
static void files_that_a_toolkit_waits_for(void **state)
{
    (void)state;
    struct session s;
    opens(&s, HEAD "stages:\n" DATA ADAPTER QUALITY PACKAGE);
    session_release(&s);
    refuses(HEAD "stages:\n  q: {run: eval, inputs: {adapter: toolkit.theirs}}\n",
            "m.yaml:6:36: input `adapter`: toolkit nano-0.1 has no `theirs` here: put it at "
            "tk/assets/theirs; ask them for it");
    refuses(HEAD "stages:\n" DATA
                 "  a: {run: train, inputs: {train: data.train, init: toolkit.chosen}}\n",
            "toolkit nano-0.1 has no `chosen` here: put it at tk/assets/r32; ask them for it");
    refuses(HEAD "stages:\n  q: {run: eval, inputs: {adapter: toolkit.built}}\n",
            "toolkit nano-0.1 has no `built` here: put it at tk/assets/pt; ask them for pt");
}

static void cycles_are_named(void **state)
{
    (void)state;
    refuses(HEAD "stages:\n  a: {run: train, inputs: {train: data.train, init: b}}\n"
                 "  b: {run: train, inputs: {train: data.train, init: a}}\n" DATA,
            "cycle: a -> b -> a");
    refuses(HEAD "stages:\n  q: {run: eval, gates: [\"m > q.m\"]}\n", "cycle: q -> q");
}

/* A file or folder beside a stage of its name: the stage is meant, and the way to the file is said.
 */
static void files_named_like_stages(void **state)
{
    (void)state;
    put("data.jsonl", "x");
    put("rows/a", "x");
    refuses(HEAD "stages:\n  data: {run: prep, inputs: {raw: data.jsonl}}\n",
            "cycle: data -> data (each needs the next); for the file or folder data.jsonl write "
            "./data.jsonl");
    refuses(HEAD "stages:\n  rows: {run: prep, inputs: {raw: other.train}}\n"
                 "  other: {run: prep, inputs: {raw: rows}}\n",
            "write ./rows");
    refuses(HEAD "stages:\n" DATA "  two: {run: prep, inputs: {raw: data.jsonl}}\n",
            "data has no output `jsonl` (for a file write ./data.jsonl)");
    refuses(
        HEAD "stages:\n  rows: {run: eval}\n  two: {run: prep, inputs: {raw: rows}}\n",
        "expected rows, found rows.metrics, which is metrics; for the file or folder rows write "
        "./rows");
}

static void what_export_would_refuse(void **state)
{
    (void)state;
    refuses(
        HEAD
        "stages:\n" DATA
        "  adapter: {run: train, inputs: {train: data.train}, with: {rank: 8}}\n" QUALITY PACKAGE,
        "adapter of rank 8 (made by adapter)");
    refuses(HEAD "stages:\n" DATA ADAPTER
                 "  package: {run: export, inputs: {adapter: adapter, signature: "
                 "toolkit.signature, export: toolkit.export}, with: {name: a-b}}\n",
            "`a-b` cannot be an adapter's name");
    refuses(HEAD "stages:\n" DATA "deliver: {data.train: a-b.fmadapter}\n",
            "`a-b` cannot be an adapter's name");
    refuses(HEAD "stages:\n" DATA "deliver: {data.train: ../../etc/passwd}\n",
            "below the output folder");
    put("sig.json", "\"0123\"");
    refuses(HEAD "stages:\n" DATA ADAPTER
                 "  package: {run: export, inputs: {adapter: adapter, signature: sig.json, "
                 "export: toolkit.export}, with: {name: x}}\n",
            "signature `0123` is not 40 lower-case hex digits");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_become_instances),
        cmocka_unit_test(axes_multiply_what_names_them),
        cmocka_unit_test(a_facet_may_be_made_by_a_stage),
        cmocka_unit_test(only_what_decides_bytes_is_in_the_key),
        cmocka_unit_test(type_errors),
        cmocka_unit_test(files_that_a_toolkit_waits_for),
        cmocka_unit_test(cycles_are_named),
        cmocka_unit_test(files_named_like_stages),
        cmocka_unit_test(what_export_would_refuse),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
