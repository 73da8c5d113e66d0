#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/corpus.h"
#include "tests/unit/scratch.h"

static char folder[SCRATCH_BYTES];

static int setup(void **state)
{
    (void)state;
    return scratch_open(folder);
}

static int teardown(void **state)
{
    (void)state;
    return scratch_remove(folder);
}

static char *put(const char *name, const void *bytes, size_t n_bytes)
{
    struct err e = {0};
    char *path = file_join(folder, name);
    assert_int_equal(file_write(path, bytes, n_bytes, &e), 0);
    return path;
}

/* Reads one file that is refused with this behind its path. */
static void refuse(const char *name, const void *bytes, size_t n_bytes, const char *wanted)
{
    struct corpus c;
    struct err e = {0};
    struct buf text;
    char *path = put(name, bytes, n_bytes);
    buf_init(&text, BUF_MAX_DEFAULT);
    assert_int_equal(corpus_open(&c, path, &e), 0);
    assert_int_equal(corpus_read(&c, 0, 1 << 20, "TEST_MAX", &text, &e), ERR_FORMAT);
    assert_int_equal(strncmp(e.text, path, strlen(path)), 0);
    if (!strstr(e.text, wanted))
        fail_msg("%s", e.text);
    corpus_close(&c);
    buf_release(&text);
    xfree(path);
}

#define BYTES(s) s, sizeof(s) - 1

static void what_is_no_text_is_named(void **state)
{
    (void)state;
    refuse("a.txt", BYTES("one\ntw\0o\n"), ":2: expected UTF-8 text, found a NUL byte at byte 7");
    refuse("a.txt", BYTES("one\ntwo\nth\xffree"), ":3: expected UTF-8 text, found invalid UTF-8");
    refuse("a.txt", BYTES("one\nhalf \xC3"), "at byte 10");
    refuse("a.txt", BYTES("\x89PNG\r\n\x1A\n\0\0"), "a PNG image: leave it out");
    refuse("a.txt", BYTES("\x1F\x8B\x08\0\0"), "gzip data: unpack it");
    refuse("a.txt", BYTES("PK\x03\x04\0\0"), "a zip archive: unpack it");
    refuse("a.txt", BYTES("\x28\xB5\x2F\xFD\0"), "name it .txt.zst");
    refuse("a.txt", BYTES("\xFF\xFEh\0i\0"), "UTF-16 text: save it as UTF-8");
    refuse("a.txt", BYTES("h\0i\0"), "binary or UTF-16");
    refuse("a.txt", BYTES("\0\0\0\0"), ":1: expected UTF-8 text, found a NUL byte at byte 1");
    refuse("a.txt", BYTES(""), "there is no text in it");
    refuse("a.txt", BYTES(" \n\r\n"), "there is no text in it");
    refuse("a.txt.zst", BYTES("plain text\n"), "expected zstd data");
    refuse("a.txt.zst", BYTES(""), "the file was cut off");
    /* A text may begin like an archive. */
    struct corpus c;
    struct err e = {0};
    struct buf text;
    char *path = put("a.txt", BYTES("BZh is how bzip2 begins\n"));
    buf_init(&text, BUF_MAX_DEFAULT);
    assert_int_equal(corpus_open(&c, path, &e), 0);
    assert_int_equal(corpus_read(&c, 0, 1 << 20, "TEST_MAX", &text, &e), 0);
    assert_string_equal(c.files[0].name, "a");
    assert_int_equal(corpus_read(&c, 0, 10, "TEST_MAX", &text, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "TEST_MAX"));
    corpus_close(&c);
    buf_release(&text);
    xfree(path);
}

/* Reads what is taken and gives its findings as text; the caller releases both. */
static void take(const char *name, const void *bytes, size_t n_bytes, struct buf *text,
                 struct buf *found)
{
    struct corpus c;
    struct err e = {0};
    struct json *rows = json_new_array();
    char *path = put(name, bytes, n_bytes);
    buf_init(text, BUF_MAX_DEFAULT);
    buf_init(found, BUF_MAX_DEFAULT);
    assert_int_equal(corpus_open(&c, path, &e), 0);
    assert_int_equal(corpus_read(&c, 0, 1 << 20, "TEST_MAX", text, &e), 0);
    corpus_take_findings(&c, "text", rows);
    json_write_canonical(rows, found);
    json_free(rows);
    corpus_close(&c);
    xfree(path);
}

static void other_kinds_are_known_in_letters(void **state)
{
    (void)state;
    refuse("a.txt", BYTES("%PDF-1.4\n1 0 obj\n"), ": expected UTF-8 text, found a PDF document: ");
    refuse("a.txt", BYTES("%!PS-Adobe-3.0\n"), "a PostScript document: save it as plain text");
    refuse("a.txt", BYTES("{\\rtf1 text}"), "an RTF document: save it as plain text");
    refuse("a.txt",
           BYTES("\x7F"
                 "ELF\x02\x01\x01\xff"),
           "a program: leave it out");
}

/* One odd character in a text is said, many are no text. */
static void odd_characters(void **state)
{
    struct buf text, bytes, found;
    (void)state;
    take("a.txt", BYTES("one\n\x1B[1mtwo\x1B[0m \xC2\x92\x7F\f\r\n\tthree \xEF\xBF\xBD\n"), &text,
         &found);
    assert_string_equal(buf_text(&text),
                        "one\n\x1B[1mtwo\x1B[0m \xC2\x92\x7F\f\r\n\tthree \xEF\xBF\xBD\n");
    assert_string_equal(buf_text(&found),
                        "[[\"text: control character, kept\",4,\"2 (U+001B), 2 (U+001B), "
                        "2 (U+0092), 2 (U+007F)\"],"
                        "[\"text: character that an earlier conversion has lost (U+FFFD), kept\","
                        "1,\"3 (U+FFFD)\"]]");
    buf_release(&text);
    buf_release(&found);
    refuse("a.txt", BYTES("one\n\x01\x02\x03\x04\x05\x06\x07\x08 two"),
           ":2: expected UTF-8 text, found the control character U+0001 at byte 5 of the file, one "
           "of 8 in this line: it is binary");
    refuse("a.txt", BYTES("\xC2\x81\xC2\x81\xC2\x81\xC2\x81\xC2\x81\xC2\x81\xC2\x81\xC2\x81"),
           "U+0081");
    refuse("a.txt",
           BYTES("\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF"
                 "\xBD\xEF"
                 "\xBF\xBD"),
           ":1: expected UTF-8 text, found the replacement character U+FFFD at byte 1 of the file, "
           "one of 8 in this line: a wrong conversion");
    /* Eight in as many bytes as they may be, and in one less. */
    buf_init(&bytes, BUF_MAX_DEFAULT);
    for (int i = 0; i < PLAIN_ODD_MIN; i++) {
        buf_add_text(&bytes, "\x1B\n");
        while (bytes.n_bytes % PLAIN_CONTROL_SHARE != 0)
            buf_add_char(&bytes, 'x');
    }
    take("a.txt", bytes.bytes, bytes.n_bytes, &text, &found);
    assert_int_equal(text.n_bytes, PLAIN_ODD_MIN * PLAIN_CONTROL_SHARE);
    buf_release(&text);
    buf_release(&found);
    refuse("a.txt", bytes.bytes, bytes.n_bytes - 1,
           ":1: expected UTF-8 text, found the control character U+001B at byte 1 of the file, one "
           "of 8 in this file: ");
    buf_release(&bytes);
}

static void a_byte_order_mark_is_left_out(void **state)
{
    struct buf text, found;
    (void)state;
    take("a.txt", BYTES("\xEF\xBB\xBFone\n"), &text, &found);
    assert_string_equal(buf_text(&text), "one\n");
    assert_int_equal(text.n_bytes, 4);
    assert_string_equal(buf_text(&found),
                        "[[\"text: byte order mark, left out\",1,\"at its beginning\"]]");
    buf_release(&text);
    buf_release(&found);
    refuse("a.txt", BYTES("\xEF\xBB\xBF\n"), "there is no text in it");
    refuse("a.txt", BYTES("\xEF\xBB\xBF"), "there is no text in it");
}

static void truncated_zst_is_named(void **state)
{
    struct err e = {0};
    struct buf bytes;
    static const char text[] = "some text that is packed and then cut";
    char *path = file_join(folder, "b.txt.zst");
    (void)state;
    buf_init(&bytes, BUF_MAX_DEFAULT);
    scratch_put_zstd(path, text, strlen(text));
    assert_int_equal(file_read(path, 1 << 20, &bytes, &e), 0);
    refuse("cut.txt.zst", bytes.bytes, bytes.n_bytes - 5, "the file was cut off");
    buf_release(&bytes);
    xfree(path);
}

static void odd_files_are_findings(void **state)
{
    struct corpus c;
    struct err e = {0};
    struct buf text;
    struct json *rows = json_new_array();
    char *line = xalloc(CORPUS_LONG_LINE_BYTES + 2);
    (void)state;
    memset(line, 'x', CORPUS_LONG_LINE_BYTES + 1);
    buf_init(&text, BUF_MAX_DEFAULT);
    xfree(put("empty.txt", BYTES("")));
    xfree(put("image.png", BYTES("\x89PNG")));
    buf_add_text(&text, "short\n");
    buf_add(&text, line, CORPUS_LONG_LINE_BYTES); /* as long as it may be */
    buf_add_text(&text, "\n");
    buf_add(&text, line, CORPUS_LONG_LINE_BYTES + 1);
    xfree(put("long.txt", text.bytes, text.n_bytes));
    assert_int_equal(corpus_open(&c, folder, &e), 0);
    assert_int_equal(c.n_files, 2);
    assert_true(corpus_has(&c, "empty,", 5));
    assert_false(corpus_has(&c, "image", 5));
    for (size_t i = 0; i < c.n_files; i++)
        assert_int_equal(corpus_read(&c, i, 1 << 20, "TEST_MAX", &text, &e), 0);
    corpus_take_findings(&c, "text", rows);
    buf_clear(&text);
    json_write_canonical(rows, &text);
    assert_string_equal(buf_text(&text),
                        "[[\"text: file left out, it is no *.txt or *.txt.zst\",1,\"image.png\"],"
                        "[\"text: file without text\",1,\"empty.txt\"],"
                        "[\"text: very long line\",1,\"long.txt:3 (65537 bytes)\"]]");
    corpus_close(&c);
    corpus_close(&c);
    json_free(rows);
    buf_release(&text);
    xfree(line);
}

static void a_folder_without_text(void **state)
{
    struct corpus c;
    struct err e = {0};
    (void)state;
    xfree(put("image.png", BYTES("\x89PNG")));
    assert_int_equal(corpus_open(&c, folder, &e), ERR_MISSING);
    assert_non_null(strstr(e.text, folder));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_no_text_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(other_kinds_are_known_in_letters, setup, teardown),
        cmocka_unit_test_setup_teardown(odd_characters, setup, teardown),
        cmocka_unit_test_setup_teardown(a_byte_order_mark_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(truncated_zst_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(odd_files_are_findings, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_without_text, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
