#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "pipeline/base/limits.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/crc32.h"
#include "stages/model/zipdir.h"
#include "tests/unit/scratch.h"
#include "tests/unit/tiny_pt.h"

static void make(struct tiny_zip *z, bool zip64)
{
    tiny_zip_init(z);
    tiny_zip_add(z, "archive/b", "123456789", 9);
    tiny_zip_add(z, "archive/a", "", 0);
    tiny_zip_add(z, "archive/c/d", "xyz", 3);
    tiny_zip_end(z, zip64);
}

static int parse(const struct tiny_zip *z, struct err *e)
{
    struct zipdir d;
    *e = (struct err){0};
    int rc = zipdir_parse(&d, (const unsigned char *)z->bytes.bytes, z->bytes.n_bytes, e);
    zipdir_release(&d);
    return rc;
}

static void crc_is_the_known_one(void **state)
{
    (void)state;
    assert_int_equal(crc32_add(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(crc32_add(crc32_add(0, "12", 2), "3456789", 7), 0xcbf43926);
}

static void entries_are_found(void **state)
{
    (void)state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        struct tiny_zip z;
        struct zipdir d;
        struct err e = {0};
        make(&z, zip64 == 1);
        need(zipdir_parse(&d, (unsigned char *)z.bytes.bytes, z.bytes.n_bytes, &e), &e);
        assert_int_equal(d.n_entries, 3);
        assert_int_equal(d.entries[0].n_bytes, 0);
        const struct zipdir_entry *b = zipdir_find(&d, "archive/b", 9);
        assert_non_null(b);
        assert_memory_equal(d.bytes + b->data_at, "123456789", 9);
        assert_int_equal(b->n_bytes, 9);
        assert_int_equal(b->crc, 0xcbf43926);
        assert_int_equal(b->header_at, z.entries[0].local_at);
        assert_int_equal(b->central_at, z.entries[0].central_at);
        assert_null(zipdir_find(&d, "archive/", 8));
        assert_null(zipdir_find(&d, "archive/bb", 10));
        need(zipdir_check_crc(&d, b, NULL, &e), &e);
        z.bytes.bytes[b->data_at + 3] ^= 1;
        assert_int_equal(zipdir_check_crc(&d, b, NULL, &e), ERR_FORMAT);
        assert_non_null(strstr(e.text, "entry archive/b: "));
        assert_non_null(strstr(e.text, "expected cbf43926: the file is damaged"));
        zipdir_release(&d);
        zipdir_release(&d);
        tiny_zip_release(&z);
    }
}

/* In parts by threads as in one. */
static void checksums_are_joined(void **state)
{
    enum { PART = 1 << 20, MOST = 3 * PART + 5 };
    static const size_t sizes[] = {0, 1, PART - 1, PART, PART + 1, 2 * PART, MOST};
    struct thread_pool *pool = thread_pool_open(2);
    unsigned char *bytes = xalloc(MOST);
    (void)state;
    for (size_t i = 0; i < MOST; i++)
        bytes[i] = (unsigned char)(i * 2654435761u >> 13);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint32_t whole = crc32_add(0, bytes, sizes[i]);
        assert_int_equal(crc32_of(pool, bytes, sizes[i]), whole);
        assert_int_equal(crc32_of(NULL, bytes, sizes[i]), whole);
    }
    xfree(bytes);
    thread_pool_close(pool);
}

static void comments_are_skipped(void **state)
{
    struct tiny_zip z;
    struct err e;
    (void)state;
    make(&z, false);
    tiny_zip_patch(&z, z.end_at + 20, 2, 5);
    buf_add_text(&z.bytes, "hello");
    need(parse(&z, &e), &e);
    buf_add_char(&z.bytes, '!');
    assert_int_equal(parse(&z, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "no end record"));
    tiny_zip_release(&z);
}

/* torch.save writes sizes behind the data: zeros in the local header and flag bit 3. */
static void descriptors_stand_for_zeros(void **state)
{
    struct tiny_zip z;
    struct err e;
    (void)state;
    make(&z, true);
    for (size_t i = 0; i < z.n_entries; i++) {
        tiny_zip_patch(&z, z.entries[i].central_at + 8, 2, 0x0808);
        tiny_zip_patch(&z, z.entries[i].local_at + 6, 2, 0x0808);
        tiny_zip_patch(&z, z.entries[i].local_at + 14, 8, 0);
        tiny_zip_patch(&z, z.entries[i].local_at + 22, 4, 0);
    }
    need(parse(&z, &e), &e);
    tiny_zip_release(&z);
}

enum place { LOCAL, CENTRAL, END64, LOCATOR, END };

/* One field of a good file (entry 0, where it is one's) and what is said about it. */
struct damage {
    enum place place;
    size_t at;
    size_t n_bytes;
    uint64_t v;
    const char *message;
};

static size_t place_of(const struct tiny_zip *z, enum place place)
{
    switch (place) {
    case LOCAL:
        return z->entries[0].local_at;
    case CENTRAL:
        return z->entries[0].central_at;
    case END64:
        return z->end64_at;
    case LOCATOR:
        return z->locator_at;
    default:
        return z->end_at;
    }
}

static void try_damage(const struct damage *list, size_t n, bool zip64)
{
    for (size_t i = 0; i < n; i++) {
        struct tiny_zip z;
        struct err e;
        make(&z, zip64);
        tiny_zip_patch(&z, place_of(&z, list[i].place) + list[i].at, list[i].n_bytes, list[i].v);
        int rc = parse(&z, &e);
        if (rc != ERR_FORMAT && rc != ERR_LIMIT)
            fail_msg("taken: %s", list[i].message);
        if (strstr(e.text, list[i].message) == NULL)
            fail_msg("\"%s\", expected \"%s\"", e.text, list[i].message);
        tiny_zip_release(&z);
    }
}

static void damaged_fields_are_refused(void **state)
{
    static const struct damage list[] = {
        {END, 0, 4, 0, "no end record"},
        {END, 4, 2, 1, "several disks"},
        {END, 6, 2, 1, "several disks"},
        {END, 8, 2, 2, "several disks"},
        {END, 8, 4, 0x00020002, "bytes behind the last central header"},
        {END, 8, 4, 0x00040004, "4 entries in a central directory of "},
        {END, 8, 4, 0xffffffff, "65535 entries in a central directory of "},
        {END, 12, 4, 1, "central directory of 1 bytes"},
        {END, 16, 4, UINT32_MAX, "expected to end at the end record"},
        {END, 16, 4, 1, "expected to end at the end record"},
        {CENTRAL, 0, 4, 0, "no central header at byte "},
        {CENTRAL, 8, 2, 1, "entry archive/b: encrypted (flags 0x0001)"},
        {CENTRAL, 8, 2, 0x40, "entry archive/b: encrypted"},
        {CENTRAL, 8, 2, 0x2000, "entry archive/b: encrypted"},
        {CENTRAL, 8, 2, 0x20, "entry archive/b: flags 0x0020"},
        {CENTRAL, 8, 2, 0x08, "entry archive/b: flags is 0 in the local header, 8 in the central"},
        {CENTRAL, 10, 2, 8,
         "entry archive/b: compressed (method 8), expected stored: load the file "
         "with PyTorch and save it again with torch.save"},
        {CENTRAL, 16, 4, 7, "CRC-32 is 3421780262 in the local header, 7 in the central"},
        {CENTRAL, 20, 4, 8, "stored in 8 bytes, but 9 long"},
        {CENTRAL, 20, 8, 0x0000000800000008, "packed size is 9 in the local header, 8 in"},
        {CENTRAL, 20, 8, 0x7fffffff7fffffff, "bytes behind the local header at byte 0 reach past"},
        {CENTRAL, 28, 2, 65535, "reaches past its directory"},
        {CENTRAL, 28, 2, 0, "its name has the part \"\""},
        {CENTRAL, 30, 2, 65535, "reaches past its directory"},
        {CENTRAL, 30, 2, 3, "an extra field that reaches past its header"},
        {CENTRAL, 32, 2, 65535, "reaches past its directory"},
        {CENTRAL, 34, 2, 1, "entry archive/b: on disk 1"},
        {CENTRAL, 42, 4, 1, "no local header at byte 1"},
        {CENTRAL, 42, 4, 0x7fffffff, "local header at byte 2147483647, expected before"},
        {CENTRAL, 46, 1, 'B', "entry Brchive/b: its local header is named archive/b"},
        {LOCAL, 0, 4, 0, "no local header at byte 0"},
        {LOCAL, 6, 2, 8, "flags is 8 in the local header"},
        {LOCAL, 8, 2, 8, "method is 8 in the local header"},
        {LOCAL, 14, 4, 0, "CRC-32 is 0 in the local header"},
        {LOCAL, 18, 4, 8, "packed size is 8 in the local header"},
        {LOCAL, 22, 4, 8, "size is 8 in the local header"},
        {LOCAL, 26, 2, 8, "its local header is named archive/"},
        {LOCAL, 26, 2, 65535, "reach past byte"},
        {LOCAL, 28, 2, 65535, "reach past byte"},
        {LOCAL, 28, 2, 5, "an extra field that reaches past its header"},
    };
    (void)state;
    try_damage(list, sizeof list / sizeof list[0], false);
}

static void damaged_zip64_fields_are_refused(void **state)
{
    static const struct damage list[] = {
        {LOCATOR, 4, 4, 1, "disks, expected one"},
        {LOCATOR, 16, 4, 2, "a zip file of 2 disks"},
        {LOCATOR, 8, 8, UINT64_MAX,
         "zip64 end record at byte 18446744073709551615, expected before"},
        {LOCATOR, 8, 8, 0, "no zip64 end record at byte 0"},
        {LOCATOR, 0, 4, 0, "expected to end at the end record"},
        {END64, 0, 4, 0, "no zip64 end record"},
        {END64, 4, 8, 43, "zip64 end record of 43 bytes"},
        {END64, 16, 4, 1, "several disks"},
        {END64, 20, 4, 1, "several disks"},
        {END64, 24, 8, 4, "several disks"},
        {END64, 40, 8, UINT64_MAX, "expected to end at the end record"},
        {END64, 48, 8, UINT64_MAX, "expected to end at the end record"},
        {END, 10, 2, 4, "several disks"},
        {END, 8, 4, 0x00040004, "the end record and the zip64 end record disagree"},
        {END, 12, 4, 9, "the end record and the zip64 end record disagree"},
        {END, 16, 4, 9, "the end record and the zip64 end record disagree"},
        {CENTRAL, 46 + 9 + 2, 2, 27, "entry archive/b: its zip64 field is too short"},
        {CENTRAL, 46 + 9 + 2, 2, 29, "an extra field that reaches past its header"},
        {CENTRAL, 46 + 9 + 4, 8, UINT64_MAX, "stored in 9 bytes, but 18446744073709551615 long"},
        {CENTRAL, 46 + 9 + 20, 8, UINT64_MAX, "local header at byte 18446744073709551615"},
        {CENTRAL, 46 + 9 + 28, 4, 3, "on disk 3"},
        {CENTRAL, 30, 2, 0, "entry archive/b: on disk 65535"},
    };
    (void)state;
    try_damage(list, sizeof list / sizeof list[0], true);
}

/* Two zip64 fields, and one that is too short for the numbers that it stands for. */
static void odd_zip64_fields_are_refused(void **state)
{
    struct tiny_zip z;
    struct err e;
    (void)state;
    make(&z, true);
    size_t extra_at = z.entries[0].central_at + 46 + 9;
    tiny_zip_patch(&z, extra_at + 2, 2, 10);
    tiny_zip_patch(&z, extra_at + 14, 4, 14u << 16);
    assert_int_equal(parse(&z, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "entry archive/b: its zip64 field is too short"));
    tiny_zip_release(&z);
    make(&z, true);
    tiny_zip_patch(&z, extra_at + 2, 2, 24);
    tiny_zip_patch(&z, z.entries[0].central_at + 34, 2, 0);
    tiny_zip_patch(&z, extra_at + 28, 4, 1);
    assert_int_equal(parse(&z, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "entry archive/b: two zip64 fields"));
    tiny_zip_release(&z);
}

static void names_that_lead_elsewhere_are_refused(void **state)
{
    static const char *const bad[][2] = {
        {"/etc/passwd", "its name is absolute"},  {"a/../b", "its name has the part \"..\""},
        {"..", "its name has the part \"..\""},   {"a/..", "its name has the part \"..\""},
        {"./a", "its name has the part \".\""},   {"a//b", "its name has the part \"\""},
        {"a/", "its name has the part \"\""},     {"a\\b", "its name holds byte 0x5c"},
        {"a\nb", "its name holds byte 0x0a"},     {"a\x7f", "its name holds byte 0x7f"},
        {"a\xff", "its name is not valid UTF-8"},
    };
    struct tiny_zip z;
    struct err e;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tiny_zip_init(&z);
        tiny_zip_add(&z, bad[i][0], "x", 1);
        tiny_zip_end(&z, false);
        assert_int_equal(parse(&z, &e), ERR_FORMAT);
        assert_non_null(strstr(e.text, bad[i][1]));
        tiny_zip_release(&z);
    }
    tiny_zip_init(&z);
    tiny_zip_add(&z, "...", "x", 1);
    tiny_zip_add(&z, ".a/..b/c..", "x", 1);
    tiny_zip_end(&z, false);
    need(parse(&z, &e), &e);
    tiny_zip_release(&z);
}

static void overlaps_and_repeats_are_refused(void **state)
{
    struct tiny_zip z;
    struct err e;
    (void)state;
    tiny_zip_init(&z);
    tiny_zip_add(&z, "a/twice", "x", 1);
    tiny_zip_add(&z, "a/twice", "y", 1);
    tiny_zip_end(&z, false);
    assert_int_equal(parse(&z, &e), ERR_FORMAT);
    assert_string_equal(e.text, "entry a/twice: this name is there twice");
    /* The second directory entry means the first one's bytes. */
    tiny_zip_patch(&z, z.entries[1].central_at + 42, 4, 0);
    tiny_zip_patch(&z, z.entries[1].central_at + 16, 4, z.entries[0].crc);
    assert_int_equal(parse(&z, &e), ERR_FORMAT);
    assert_string_equal(e.text,
                        "entry a/twice: at byte 0, overlaps a/twice, which ends at byte 38");
    tiny_zip_release(&z);
    /* An entry inside the data of another. */
    struct tiny_zip inner;
    tiny_zip_init(&inner);
    tiny_zip_add(&inner, "q", "hidden", 6);
    tiny_zip_init(&z);
    tiny_zip_add(&z, "outer", inner.bytes.bytes, inner.bytes.n_bytes);
    tiny_zip_add(&z, "q", "hidden", 6);
    tiny_zip_end(&z, false);
    need(parse(&z, &e), &e);
    tiny_zip_patch(&z, z.entries[1].central_at + 42, 4, z.entries[0].data_at);
    assert_int_equal(parse(&z, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "entry q: at byte 35, overlaps outer"));
    tiny_zip_release(&inner);
    tiny_zip_release(&z);
}

static void truncated_files_are_refused(void **state)
{
    (void)state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        struct tiny_zip z;
        struct err e;
        make(&z, zip64 == 1);
        need(parse(&z, &e), &e);
        while (z.bytes.n_bytes > 0) {
            z.bytes.n_bytes--;
            assert_int_equal(parse(&z, &e), ERR_FORMAT);
        }
        tiny_zip_release(&z);
    }
}

static void too_many_entries_are_refused(void **state)
{
    struct tiny_zip z;
    struct err e;
    char name[16];
    (void)state;
    tiny_zip_init(&z);
    for (int i = 0; i < LIMIT_ZIP_ENTRIES; i++) {
        snprintf(name, sizeof name, "%d", i);
        tiny_zip_add(&z, name, "", 0);
    }
    tiny_zip_end(&z, true);
    need(parse(&z, &e), &e);
    tiny_zip_patch(&z, z.end64_at + 24, 8, LIMIT_ZIP_ENTRIES + 1);
    tiny_zip_patch(&z, z.end64_at + 32, 8, LIMIT_ZIP_ENTRIES + 1);
    assert_int_equal(parse(&z, &e), ERR_LIMIT);
    assert_string_equal(e.text, "200001 entries, LIMIT_ZIP_ENTRIES is 200000");
    tiny_zip_release(&z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_is_the_known_one),
        cmocka_unit_test(entries_are_found),
        cmocka_unit_test(checksums_are_joined),
        cmocka_unit_test(comments_are_skipped),
        cmocka_unit_test(descriptors_stand_for_zeros),
        cmocka_unit_test(damaged_fields_are_refused),
        cmocka_unit_test(damaged_zip64_fields_are_refused),
        cmocka_unit_test(odd_zip64_fields_are_refused),
        cmocka_unit_test(names_that_lead_elsewhere_are_refused),
        cmocka_unit_test(overlaps_and_repeats_are_refused),
        cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(too_many_entries_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
