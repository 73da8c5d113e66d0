#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/clock.h"
#include "pipeline/provenance/statement.h"

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define COMMIT "0123456789012345678901234567890123456789"

static const struct statement_subject subjects[] = {
    {"checkpoint", "adapter", ID_A, false, 1000, NULL},
    {"package", "package", ID_B, true, 2000, NULL},
};
static const struct statement_input inputs[] = {
    {.name = "train",
     .kind = "tokens",
     .id = ID_A,
     .n_bytes = 5,
     .producer = ID_B,
     .from = "data.train"},
    {.name = "rows", .kind = "rows", .id = ID_B, .n_bytes = 7, .uri = "configs/a.jsonl"},
    {.name = "golden",
     .kind = "golden",
     .id = ID_B,
     .is_folder = true,
     .n_bytes = 9,
     .uri = "golden/a"},
    {.name = "base",
     .kind = "base",
     .id = ID_B,
     .n_bytes = 9,
     .facet = "nano-0.1/base",
     .uri = "configs/toolkits/nano-0.1/base.safetensors"},
};
static const struct statement_pair libraries[] = {{"libx.so.0", ID_A}};
static const struct statement_pair host[] = {{"machine", "x86_64"}, {"os", "Debian"}};
static const struct statement_pair tools[] = {{"libc", "2.36"}};
static const struct statement_dirty dirty[] = {{"a.c", ID_A, NULL}, {"gone.c", NULL, NULL}};

static struct statement_facts sample(const struct json *config)
{
    return (struct statement_facts){
        .stage = "train",
        .instance = "adapter[rank=8]",
        .pipeline = "support_desk",
        .toolkit = "nano-0.1",
        .recipe = ID_B,
        .config = config,
        .subjects = subjects,
        .n_subjects = 2,
        .inputs = inputs,
        .n_inputs = 4,
        .binary_name = "stage-train",
        .binary = ID_A,
        .libraries = libraries,
        .n_libraries = 1,
        .source =
            {.commit = COMMIT, .branch = "main", .dirty = dirty, .n_dirty = 2, .n_dirty_all = 3},
        .manifest_uri = "configs/quickstart.yaml",
        .manifest = ID_B,
        .builder_version = "0.1",
        .builder_binary = ID_A,
        .invocation = "one",
        .started_ms = 1700000000123,
        .finished_ms = 1700000060000,
        .host = host,
        .n_host = 2,
        .tools = tools,
        .n_tools = 1,
        .usage = {.wall_seconds = 59.877,
                  .user_seconds = 100.5,
                  .peak_bytes = 1 << 20,
                  .threads = 2,
                  .retries = 3},
        .kernels = "avx2",
        .sandbox = "landlock ABI 7",
        .log = ID_B,
    };
}

static void a_statement_comes_back(void **state)
{
    (void)state;
    struct json *config = NULL;
    struct err e = {0};
    assert_int_equal(json_parse("{\"rank\":8}", 10, &config, &e), 0);
    struct statement_facts f = sample(config);
    struct buf b, again;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_init(&again, BUF_MAX_DEFAULT);
    statement_build(&f, &b);
    struct statement s;
    assert_int_equal(statement_parse(b.bytes, b.n_bytes, &s, &e), 0);
    assert_int_equal(s.facts.n_subjects, 2);
    assert_true(s.facts.subjects[1].is_folder);
    assert_int_equal(s.facts.n_inputs, 4);
    assert_string_equal(s.facts.inputs[0].producer, ID_B);
    assert_string_equal(s.facts.inputs[0].from, "data.train");
    assert_string_equal(s.facts.inputs[3].facet, "nano-0.1/base");
    assert_string_equal(s.facts.source.commit, COMMIT);
    assert_null(s.facts.source.dirty[1].id);
    assert_true(s.facts.started_ms == 1700000000123);
    assert_string_equal(s.facts.sandbox, "landlock ABI 7");
    assert_int_equal(s.facts.usage.retries, 3);
    statement_build(&s.facts, &again);
    assert_string_equal(buf_text(&again), buf_text(&b));
    statement_release(&s);
    statement_release(&s);
    buf_release(&b);
    buf_release(&again);
    json_free(config);
}

static void it_is_an_in_toto_statement(void **state)
{
    (void)state;
    struct statement_facts f = sample(NULL);
    struct statement_subject with_files = subjects[1];
    with_files.listing = ID_A "  metadata.json\n" ID_B "  deep/weights.bin\n";
    f.subjects = &with_files;
    f.n_subjects = 1;
    f.source = (struct statement_source){.unavailable = "no repository"};
    struct buf b;
    struct err e = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    statement_build(&f, &b);
    const char *t = buf_text(&b);
    assert_non_null(strstr(t, "\"_type\":\"https://in-toto.io/Statement/v1\""));
    assert_non_null(strstr(t, "\"predicateType\":\"https://slsa.dev/provenance/v1\""));
    assert_non_null(
        strstr(t, "{\"digest\":{\"sha256\":\"" ID_B "\"},\"name\":\"package/deep/weights.bin\"}"));
    assert_non_null(strstr(t, "\"digest\":{\"dirHash\":\"" ID_B "\"},\"name\":\"package\""));
    assert_non_null(strstr(t, "\"source_unavailable\":\"no repository\""));
    assert_non_null(strstr(t, "\"startedOn\":\"2023-11-14T22:13:20.123Z\""));
    struct statement s;
    assert_int_equal(statement_parse(b.bytes, b.n_bytes, &s, &e), 0);
    assert_int_equal(s.n_files, 2);
    assert_int_equal(s.facts.n_subjects, 1);
    assert_null(s.facts.source.commit);
    statement_release(&s);
    buf_release(&b);
}

static void cut_and_foreign_bytes_are_refused(void **state)
{
    (void)state;
    struct statement_facts f = sample(NULL);
    struct statement_dirty odd = {"caf\xe9.c", NULL, "too large"};
    f.source.dirty = &odd;
    f.source.n_dirty = 1;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    statement_build(&f, &b);
    assert_non_null(strstr(buf_text(&b), "caf\\\\xe9.c"));
    assert_non_null(strstr(buf_text(&b), "\"unhashed\":\"too large\""));
    struct statement s;
    for (size_t n = 0; n < b.n_bytes; n += 7) {
        struct err e = {0};
        assert_int_equal(statement_parse(b.bytes, n, &s, &e), ERR_FORMAT);
    }
    /* Every single flipped byte: refused or read, never a crash. */
    for (size_t i = 0; i < b.n_bytes; i++) {
        struct err e = {0};
        b.bytes[i] ^= 2;
        if (statement_parse(b.bytes, b.n_bytes, &s, &e) == 0)
            statement_release(&s);
        b.bytes[i] ^= 2;
    }
    buf_release(&b);
}

static void times_are_strict(void **state)
{
    (void)state;
    char text[25];
    int64_t ms = 0;
    assert_string_equal(clock_text(0, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(clock_text(951782400001, text), "2000-02-29T00:00:00.001Z");
    assert_true(statement_time_parse("2000-02-29T00:00:00.001Z", &ms));
    assert_true(ms == 951782400001);
    assert_false(statement_time_parse("2001-02-29T00:00:00.000Z", &ms));
    assert_false(statement_time_parse("2001-02-28T24:00:00.000Z", &ms));
    assert_false(statement_time_parse("2001-02-28 23:00:00.000Z", &ms));
    assert_false(statement_time_parse("", &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_statement_comes_back),
        cmocka_unit_test(it_is_an_in_toto_statement),
        cmocka_unit_test(cut_and_foreign_bytes_are_refused),
        cmocka_unit_test(times_are_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
