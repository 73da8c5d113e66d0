#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pipeline/base/buf.h"
#include "pipeline/store/listing.h"

#define ID "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static int check(const char *const *paths, size_t n)
{
    struct buf b;
    struct err e = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, ID "  %s\n", paths[i]);
    int rc = listing_check(buf_text(&b), &e);
    buf_release(&b);
    return rc;
}

static void what_a_folder_can_have_is_taken(void **state)
{
    static const char *const good[] = {"a", "a-b", "a.txt", "b/c", "b/c.d", "b/c.d0", "b-"};
    (void)state;
    assert_int_equal(check(good, 1), 0);
    static const char *const sorted[] = {"a", "a-b", "a.txt", "b-", "b/c", "b/c.d", "b/c0"};
    assert_int_equal(check(sorted, 7), 0);
    assert_int_equal(check(sorted, 0), 0);
    assert_int_equal(check(good, 7), ERR_FORMAT); /* b- is before b/ */
}

static void what_no_folder_can_have_is_refused(void **state)
{
    static const char *const below[] = {"a", "a-b", "a/x"};
    static const char *const deep[] = {"a/b", "a/b.c", "a/b/c/d"};
    static const char *const twice[] = {"a", "a"};
    static const char *const climbs[] = {"a/../b"};
    struct err e = {0};
    (void)state;
    assert_int_equal(check(below, 3), ERR_FORMAT);
    assert_int_equal(check(deep, 3), ERR_FORMAT);
    assert_int_equal(check(twice, 2), ERR_FORMAT);
    assert_int_equal(check(climbs, 1), ERR_FORMAT);
    assert_int_equal(listing_check(ID "  a", &e), ERR_FORMAT); /* cut off */
    assert_int_equal(listing_check("a\n", &e), ERR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_folder_can_have_is_taken),
        cmocka_unit_test(what_no_folder_can_have_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
