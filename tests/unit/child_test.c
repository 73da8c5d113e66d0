#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "pipeline/base/child.h"

#define LIMIT_MS 20000

static struct child_spec shell(const char *const argv[4])
{
    return (struct child_spec){.argv = argv, .limit_ms = LIMIT_MS};
}

static void bytes_go_in_and_come_out(void **state)
{
    (void)state;
    static const char *const argv[] = {"sh", "-c", "cat; cat " CHILD_EXTRA_PATH "; echo note >&2",
                                       NULL};
    struct child_spec spec = shell(argv);
    struct child_result r;
    struct err e = {0};
    spec.input = "a\0b";
    spec.n_input_bytes = 3;
    spec.extra = "more";
    spec.n_extra_bytes = 4;
    assert_int_equal(child_run(&spec, &r, &e), 0);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.out.n_bytes, 7);
    assert_memory_equal(r.out.bytes, "a\0bmore", 7);
    assert_string_equal(buf_text(&r.note), "note\n");
    child_result_release(&r);
    child_result_release(&r);
}

static void a_failure_is_its_status(void **state)
{
    (void)state;
    static const char *const fails[] = {"sh", "-c", "exit 7", NULL};
    static const char *const dies[] = {"sh", "-c", "kill -9 $$", NULL};
    struct child_result r;
    struct err e = {0};
    struct child_spec spec = shell(fails);
    assert_int_equal(child_run(&spec, &r, &e), 0);
    assert_int_equal(WEXITSTATUS(r.status), 7);
    child_result_release(&r);
    spec = shell(dies);
    assert_int_equal(child_run(&spec, &r, &e), 0);
    assert_true(WIFSIGNALED(r.status));
    child_result_release(&r);
}

static void what_is_not_there_is_named(void **state)
{
    (void)state;
    static const char *const argv[] = {"no-such-program", NULL, NULL, NULL};
    struct child_spec spec = shell(argv);
    struct child_result r;
    struct err e = {0};
    assert_int_equal(child_run(&spec, &r, &e), ERR_MISSING);
    assert_non_null(strstr(e.text, "no-such-program"));
    child_result_release(&r);
}

/* What hangs, what hangs with its streams shut, and what a child of it holds. */
static void it_ends_in_time(void **state)
{
    (void)state;
    static const char *const scripts[] = {"sleep 100", "exec >/dev/null 2>&1; sleep 100",
                                          "sleep 100 & exit 0"};
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        const char *const argv[] = {"sh", "-c", scripts[i], NULL};
        struct child_spec spec = shell(argv);
        struct child_result r;
        struct err e = {0};
        time_t before = time(NULL);
        spec.limit_ms = 200;
        assert_int_equal(child_run(&spec, &r, &e), ERR_LIMIT);
        assert_non_null(strstr(e.text, "did not end within"));
        assert_true(time(NULL) - before < 20);
        child_result_release(&r);
    }
}

static void endless_output_is_refused(void **state)
{
    (void)state;
    static const char *const argv[] = {"sh", "-c", "while :; do echo y; done", NULL};
    struct child_spec spec = shell(argv);
    struct child_result r;
    struct err e = {0};
    assert_int_equal(child_run(&spec, &r, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "printed more than"));
    child_result_release(&r);
}

/* It gets no terminal, no descriptor, and not what was dropped from the environment. */
static void it_has_nothing_else(void **state)
{
    (void)state;
    static const char *const argv[] = {
        "sh", "-c",
        "echo \"${HIDDEN-none} $ADDED $SHOWN\"; (: </dev/tty) 2>/dev/null && echo terminal; "
        "for fd in 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$fd ] && echo open; done; cat; :",
        NULL};
    static const char *const drop[] = {"HIDDEN", NULL};
    static const char *const add[] = {"ADDED=added", NULL};
    struct child_spec spec = shell(argv);
    struct child_result r;
    struct err e = {0};
    spec.env_drop = drop;
    spec.env_add = add;
    assert_int_equal(setenv("HIDDEN", "hidden", 1) | setenv("SHOWN", "shown", 1), 0);
    assert_int_equal(child_run(&spec, &r, &e), 0);
    assert_string_equal(buf_text(&r.out), "none added shown\n");
    child_result_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_in_and_come_out),   cmocka_unit_test(a_failure_is_its_status),
        cmocka_unit_test(what_is_not_there_is_named), cmocka_unit_test(it_ends_in_time),
        cmocka_unit_test(endless_output_is_refused),  cmocka_unit_test(it_has_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
