#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/engine/watch.h"

/* A child with its own process group that holds n_bytes and waits for a signal. */
static pid_t start(size_t n_bytes, int ignored)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        if (ignored)
            signal(ignored, SIG_IGN);
        char *p = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p != MAP_FAILED)
            memset(p, 1, n_bytes);
        if (write(ends[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    char c;
    assert_int_equal(read(ends[0], &c, 1), 1);
    close(ends[0]);
    close(ends[1]);
    return child;
}

static int signal_of(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    return WTERMSIG(status);
}

static void has_text(const struct watch *w, const char *text)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    watch_to_text(w, &b);
    if (!strstr(buf_text(&b), text))
        fail_msg("expected \"%s\" in \"%s\"", text, buf_text(&b));
    buf_release(&b);
}

static void without_limits_nothing_is_looked_at(void **state)
{
    (void)state;
    struct watch w;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    watch_init(&w, NULL);
    assert_int_equal(watch_look(&w, 0, 0, 1e12), -1); /* a signal to 0 would end this test */
    watch_to_text(&w, &b);
    assert_int_equal(b.n_bytes, 0);
    buf_release(&b);
}

static void time_stops_and_grace_kills(void **state)
{
    (void)state;
    struct stage_limits limits = {.seconds = 10, .grace_seconds = 5};
    struct watch w;
    watch_init(&w, &limits);
    pid_t child = start(4096, SIGTERM);
    assert_in_range(watch_look(&w, child, 1000, 9000), 1900, 2100);
    assert_int_equal(w.passed, WATCH_NONE);
    assert_in_range(watch_look(&w, child, 1000, 11000), 4900, 5100);
    assert_int_equal(w.passed, WATCH_SECONDS);
    assert_in_range(watch_look(&w, child, 1000, 15000), 900, 1100);
    assert_false(w.killed);
    has_text(&w, "it ran for 10.0 s, limits.seconds is 10 (10.0 s); it was stopped");
    assert_int_equal(watch_look(&w, child, 1000, 16000), -1);
    assert_true(w.killed);
    assert_int_equal(signal_of(child), SIGKILL);
    has_text(&w, "it did not end in the 5 s of limits.grace and was killed");
    has_text(&w, "the same command goes on from its last checkpoint");
}

static void an_interrupt_leaves_its_grace(void **state)
{
    (void)state;
    struct stage_limits limits = {.seconds = 3, .grace_seconds = 5};
    struct watch w;
    watch_init(&w, &limits);
    pid_t child = start(4096, SIGTERM);
    watch_interrupt(&w, 2000);
    assert_in_range(watch_look(&w, child, 1000, 3000), 3900, 4100);
    watch_interrupt(&w, 5000); /* the first one counts, and no limit is passed any more */
    assert_in_range(watch_look(&w, child, 1000, 6000), 900, 1100);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    watch_to_text(&w, &b);
    assert_int_equal(b.n_bytes, 0);
    buf_release(&b);
    assert_int_equal(watch_look(&w, child, 1000, 7000), -1);
    assert_int_equal(signal_of(child), SIGKILL);
    has_text(&w, "it did not end in the 5 s of limits.grace and was killed");
}

static void who_is_suspended_is_stopped_too(void **state)
{
    (void)state;
    pid_t child = start(4096, 0);
    kill(child, SIGSTOP);
    watch_stop(child, SIGHUP); /* stages know SIGTERM and SIGINT */
    assert_int_equal(signal_of(child), SIGTERM);
}

static void memory_stops_and_a_quarter_more_kills(void **state)
{
    (void)state;
    static const struct {
        size_t held_mib, limit_mib;
        enum watch_limit passed;
        int number;
    } cases[] = {
        {16, 64, WATCH_NONE, 0}, {72, 64, WATCH_MEMORY, SIGTERM}, {200, 64, WATCH_MEMORY, SIGKILL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage_limits limits = {.memory_bytes = cases[i].limit_mib << 20,
                                      .grace_seconds = 60};
        struct watch w;
        watch_init(&w, &limits);
        pid_t child = start(cases[i].held_mib << 20, cases[i].number == SIGKILL ? SIGTERM : 0);
        int next = watch_look(&w, child, 0, 1);
        assert_int_equal(w.passed, cases[i].passed);
        assert_true(w.memory_bytes >= cases[i].held_mib << 20);
        assert_true(next == (cases[i].number == SIGKILL ? -1 : next) && next <= 101);
        if (cases[i].number == 0)
            kill(child, SIGTERM);
        else
            has_text(&w, "of memory, limits.memory is 64.0 MiB");
        assert_int_equal(signal_of(child), cases[i].number ? cases[i].number : SIGTERM);
        assert_int_equal(watch_memory(child), 0); /* it is gone */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_limits_nothing_is_looked_at),
        cmocka_unit_test(time_stops_and_grace_kills),
        cmocka_unit_test(an_interrupt_leaves_its_grace),
        cmocka_unit_test(who_is_suspended_is_stopped_too),
        cmocka_unit_test(memory_stops_and_a_quarter_more_kills),
    };
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
