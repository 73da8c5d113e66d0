#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/hold.h"
#include "pipeline/store/object.h"
#include "pipeline/store/store.h"
#include "tests/unit/scratch.h"

#define EMPTY_ID "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static int setup(void **state)
{
    char *home = xalloc(SCRATCH_BYTES);
    struct store *s = NULL;
    struct err e = {0};
    assert_int_equal(scratch_open(home), 0);
    need(store_open(home, &s, &e), &e);
    store_close(s);
    *state = home;
    return 0;
}

static int teardown(void **state)
{
    int rc = scratch_remove(*state);
    xfree(*state);
    return rc;
}

static bool is_held(const struct objects *o, char kind, const char *id)
{
    char *path = file_join(o->session, "held");
    char *line = xasprintf("%c %s\n", kind, id);
    struct buf b;
    struct err ignored = {0};
    buf_init(&b, 1 << 20);
    bool held = file_read(path, 1 << 16, &b, &ignored) == 0 && strstr(buf_text(&b), line) != NULL;
    buf_release(&b);
    xfree(line);
    xfree(path);
    return held;
}

/* What was asked for before the list could be written is in it once there is room again. */
static void what_is_held_survives_a_full_disk(void **state)
{
    const char *home = *state;
    struct err full = {0}, e = {0};
    struct objects o;
    struct content_id id;
    struct rlimit before, none;
    objects_open(&o, home, false);
    assert_int_equal(hold_add(&o, HOLD_ACTION, EMPTY_ID, &e), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = (struct rlimit){0, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_int_equal(objects_put_bytes(&o, "row", 3, &id, &full), ERR_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_false(is_held(&o, 'K', EMPTY_ID));
    assert_int_equal(objects_put_bytes(&o, "row", 3, &id, &e), 0);
    assert_true(is_held(&o, 'K', EMPTY_ID));
    assert_true(is_held(&o, 'O', id.hex));
    objects_close(&o);
}

/* A line is written once, also when others came between; not so many others. */
static void what_is_held_is_written_once(void **state)
{
    struct err e = {0};
    struct objects o;
    char id[] = EMPTY_ID;
    uint64_t before = 0, after = 0;
    objects_open(&o, *state, false);
    need(hold_add(&o, HOLD_OBJECT, EMPTY_ID, &e), &e);
    char *path = file_join(o.session, "held");
    need(file_size(path, &before, &e), &e);
    need(hold_add(&o, HOLD_OBJECT, EMPTY_ID, &e), &e);
    need(hold_add(&o, HOLD_OBJECT, EMPTY_ID, &e), &e);
    need(file_size(path, &after, &e), &e);
    assert_in_range(after, before, 2 * before); /* the first one made the list */
    for (int i = 0; i < 2 * HOLD_RECENT; i++) {
        id[0] = "0123456789abcdef"[i % 16];
        need(hold_add(&o, HOLD_OBJECT, id, &e), &e);
        assert_true(is_held(&o, 'O', id));
    }
    need(hold_add(&o, HOLD_RAW, EMPTY_ID, &e), &e); /* another line */
    assert_true(is_held(&o, 'R', EMPTY_ID));
    need(hold_leave(&o, &e), &e);
    need(hold_add(&o, HOLD_OBJECT, EMPTY_ID, &e), &e); /* another list */
    assert_true(is_held(&o, 'O', EMPTY_ID));
    xfree(path);
    objects_close(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_held_survives_a_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_held_is_written_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
