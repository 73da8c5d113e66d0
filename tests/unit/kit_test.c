#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/base/arena.h"
#include "pipeline/base/flag.h"
#include "pipeline/base/thread.h"
#include "stages/kit/param.h"
#include "stages/kit/rng.h"
#include "stages/kit/stage.h"

/* Known answers of Random123's kat_vectors for philox4x32 with 10 rounds. */
static void test_philox(void **state)
{
    (void)state;
    uint32_t out[4];
    const uint32_t zero[4] = {0};
    rng_philox(zero, zero, out);
    const uint32_t a[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    assert_memory_equal(out, a, sizeof a);
    const uint32_t ones[4] = {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff};
    rng_philox(ones, ones, out);
    const uint32_t b[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    assert_memory_equal(out, b, sizeof b);
    const uint32_t counter[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344};
    const uint32_t key[2] = {0xa4093822, 0x299f31d0};
    rng_philox(counter, key, out);
    const uint32_t c[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    assert_memory_equal(out, c, sizeof c);
}

static void test_streams(void **state)
{
    (void)state;
    struct rng a = rng_open(7, "a");
    struct rng b = rng_open(7, "b");
    assert_true(rng_u32_at(&a, 0) != rng_u32_at(&b, 0));
    uint32_t order[100];
    rng_shuffle(&a, order, 100);
    unsigned seen[100] = {0};
    for (int i = 0; i < 100; i++)
        seen[order[i]]++;
    for (int i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    double sum = 0;
    double squares = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        double v = rng_normal_at(&b, i);
        sum += v;
        squares += v * v;
    }
    assert_true(sum / 20000 < 0.03 && sum / 20000 > -0.03);
    assert_true(squares / 20000 < 1.04 && squares / 20000 > 0.96);
    for (int i = 0; i < 1000; i++)
        assert_true(rng_below(&a, 7) < 7);
}

struct config {
    int64_t epochs;
    double rate;
    bool pack;
    const char *name;
    int mode;
};

static const char *const MODES[] = {"fresh", "random", NULL};
static const struct param PARAMS[] = {
    {"epochs", PARAM_INT, offsetof(struct config, epochs), "4", 1, 1000, NULL, "epochs", "Passes."},
    {"rate", PARAM_FLOAT, offsetof(struct config, rate), "1e-4", 0, 0, NULL, "", "Step."},
    {"pack", PARAM_BOOL, offsetof(struct config, pack), "true", 0, 0, NULL, "", "Pack."},
    {"name", PARAM_TEXT, offsetof(struct config, name), NULL, 0, 0, NULL, "", "Name."},
    {"mode", PARAM_CHOICE, offsetof(struct config, mode), "fresh", 0, 0, MODES, "", "Mode."},
};

static int read_config(const char *text, struct config *c, struct err *e)
{
    struct json *v = NULL;
    int rc = json_parse(text, strlen(text), &v, e);
    assert_int_equal(rc, 0);
    rc = param_read(PARAMS, 5, v, c, e);
    json_free(v);
    return rc;
}

static void test_params(void **state)
{
    (void)state;
    struct config c = {0};
    struct err e = {0};
    assert_int_equal(read_config("{\"epochs\":3,\"rate\":0.5,\"pack\":false,\"name\":\"x\","
                                 "\"mode\":\"random\"}",
                                 &c, &e),
                     0);
    assert_int_equal(c.epochs, 3);
    assert_int_equal(c.mode, 1);
    static const struct {
        const char *text, *reason;
    } bad[] = {
        {"{\"epochs\":3,\"rate\":1,\"pack\":true,\"name\":\"x\"}", "mode is missing"},
        {"{\"epochs\":0,\"rate\":1,\"pack\":true,\"name\":\"x\",\"mode\":\"fresh\"}",
         "epochs: expected 1 to 1000 epochs, found 0"},
        {"{\"epochs\":1.5,\"rate\":1,\"pack\":true,\"name\":\"x\",\"mode\":\"fresh\"}",
         "whole number"},
        {"{\"epochs\":1,\"rate\":\"a\",\"pack\":true,\"name\":\"x\",\"mode\":\"fresh\"}",
         "rate: expected a number, found a text"},
        {"{\"epochs\":1,\"rate\":1,\"pack\":true,\"name\":\"x\",\"mode\":\"fish\"}",
         "fresh or random"},
        {"{\"epoch\":1,\"rate\":1,\"pack\":true,\"name\":\"x\",\"mode\":\"fresh\"}",
         "did you mean \"epochs\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        e = (struct err){0};
        assert_int_equal(read_config(bad[i].text, &c, &e), ERR_CONFIG);
        if (strstr(e.text, bad[i].reason) == NULL)
            fail_msg("expected \"%s\", found \"%s\"", bad[i].reason, e.text);
    }
}

static void test_describe(void **state)
{
    (void)state;
    struct json *v = param_describe(PARAMS, 5);
    struct buf b;
    buf_init(&b, 10000);
    json_write_canonical(json_first(v), &b);
    assert_string_equal(buf_text(&b), "{\"default\":4,\"help\":\"Passes.\",\"max\":1000,\"min\":1,"
                                      "\"name\":\"epochs\",\"type\":\"int\",\"unit\":\"epochs\"}");
    buf_release(&b);
    json_free(v);
}

static void count_item(void *context, size_t i, int i_thread)
{
    (void)i_thread;
    atomic_fetch_add(&((atomic_int *)context)[i], 1);
}

static void test_threads(void **state)
{
    (void)state;
    for (int n = 1; n <= 4; n++) {
        struct thread_pool *p = thread_pool_open(n);
        for (int turn = 0; turn < 200; turn++) {
            atomic_int counts[37] = {0};
            thread_pool_run(p, 37, count_item, counts);
            for (int i = 0; i < 37; i++)
                assert_int_equal(counts[i], 1);
        }
        thread_pool_close(p);
    }
}

static void test_arena(void **state)
{
    (void)state;
    struct arena a = {0};
    struct err e = {0};
    assert_int_equal(arena_reserve(&a, "step", arena_cost(10) + arena_cost(100), &e), 0);
    char *x = arena_take(&a, 10);
    char *y = arena_take(&a, 100);
    assert_int_equal((uintptr_t)y % 64, 0);
    assert_int_equal(y[99], 0);
    assert_ptr_equal(y, x + arena_cost(10));
    arena_release(&a);
    arena_release(&a);
    assert_int_equal(arena_reserve(&a, "huge", (size_t)1 << 60, &e), ERR_NOMEM);
    assert_non_null(strstr(e.text, "huge memory"));
}

static void test_flags(void **state)
{
    (void)state;
    bool json = false;
    int64_t jobs = 1;
    struct flag_list sets = {.n_items = 0};
    const char *home = NULL;
    const struct flag flags[] = {
        {"json", 0, FLAG_BOOL, &json, NULL, "print JSON"},
        {"jobs", 'j', FLAG_INT, &jobs, "N", "stages at a time"},
        {"set", 0, FLAG_LIST, &sets, "K=V", "override"},
        {"home", 0, FLAG_STRING, &home, "DIR", "where the store is"},
    };
    const char *positionals[2];
    size_t n = 0;
    bool help = false;
    struct err e = {0};
    char *argv[] = {"x", "--json", "-j", "4", "a.yaml", "--set", "v=1", "--set=w=2", "--home=h"};
    assert_int_equal(flag_parse(9, argv, flags, 4, positionals, 2, &n, &help, &e), 0);
    assert_true(json);
    assert_int_equal(jobs, 4);
    assert_int_equal(sets.n_items, 2);
    assert_string_equal(sets.items[1], "w=2");
    assert_string_equal(home, "h");
    assert_int_equal(n, 1);
    char *unknown[] = {"x", "--hom", "h"};
    assert_int_equal(flag_parse(3, unknown, flags, 4, positionals, 2, &n, &help, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "did you mean --home?"));
    e = (struct err){0};
    char *no_value[] = {"x", "--home"};
    assert_int_equal(flag_parse(2, no_value, flags, 4, positionals, 2, &n, &help, &e), ERR_CONFIG);
}

static int body_with_signal(const struct stage_run *run, struct err *e)
{
    (void)run;
    raise(SIGTERM);
    return stage_interrupted() ? err_set(e, ERR_IO, "interrupted") : 0;
}

/* Runs a stage without ports and parameters in a child. */
static int status_of(const struct stage_spec *spec, const char *config)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char *argv[] = {(char *)"stage-x", (char *)"--config", (char *)config, NULL};
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(99);
        _exit(stage_main(3, argv, spec, body_with_signal));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* A stage hears of a signal and ends in order; a tool has nothing to save and just ends. */
static void test_signals(void **state)
{
    (void)state;
    char config[] = "/tmp/fmforge_kit_XXXXXX";
    int fd = mkstemp(config);
    assert_true(fd >= 0 && write(fd, "{}", 2) == 2 && close(fd) == 0);
    const struct stage_spec stage = {.name = "x", .summary = "x"};
    const struct stage_spec tool = {.name = "x", .summary = "x", .is_tool = true};
    int status = status_of(&stage, config);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 130);
    status = status_of(&tool, config);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    unlink(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals),  cmocka_unit_test(test_philox),
        cmocka_unit_test(test_streams),  cmocka_unit_test(test_params),
        cmocka_unit_test(test_describe), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_arena),    cmocka_unit_test(test_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
