#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/store.h"
#include "tests/unit/scratch.h"

enum { N_ROUNDS = 200, N_TOGETHER = 6 };

/* In a child: opens the store once all are there (the pipe is closed). */
static int open_together(const char *home, const int ends[2])
{
    char byte;
    struct store *s = NULL;
    struct err e = {0};
    close(ends[1]);
    (void)!read(ends[0], &byte, 1);
    int rc = store_open(home, &s, &e);
    if (rc != 0)
        print_error("%s\n", e.text);
    store_close(s);
    return rc != 0;
}

/* Whoever comes while another makes the store takes it for a store. */
static void a_store_is_made_by_several_at_once(void **state)
{
    (void)state;
    char folder[SCRATCH_BYTES];
    int n_failed = 0;
    assert_int_equal(scratch_open(folder), 0);
    for (int round = 0; round < N_ROUNDS; round++) {
        char *home = xasprintf("%s/%d", folder, round);
        int ends[2], status = 0;
        assert_int_equal(pipe(ends), 0);
        for (int i = 0; i < N_TOGETHER; i++)
            if (fork() == 0)
                _exit(open_together(home, ends));
        close(ends[0]);
        close(ends[1]);
        for (int i = 0; i < N_TOGETHER; i++) {
            assert_true(wait(&status) > 0);
            n_failed += status != 0;
        }
        xfree(home);
    }
    assert_int_equal(n_failed, 0);
    assert_int_equal(scratch_remove(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_is_made_by_several_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
