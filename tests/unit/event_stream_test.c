#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/clock.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/event_stream.h"
#include "pipeline/engine/spawn.h"
#include "pipeline/provenance/statement.h"
#include "tests/unit/scratch.h"

static char folder[SCRATCH_BYTES];

static struct event_stream *opened(const char *path)
{
    struct event_stream *s = NULL;
    struct err e = {0};
    if (event_stream_open(path, &s, &e) != 0)
        fail_msg("%s", e.text);
    return s;
}

/* An event of about n bytes that says i. */
static void tell(struct event_stream *s, int64_t i, size_t n)
{
    struct json *o = json_new_object();
    char *text = xalloc(n + 1);
    memset(text, 'x', n);
    json_put_i64(o, "i", i);
    json_put_string(o, "text", text);
    xfree(text);
    event_stream_add(s, "told", o);
}

static int64_t number(const struct json *v, const char *key)
{
    struct err e = {0};
    int64_t n = 0;
    assert_int_equal(json_need_i64(v, key, &n, &e), 0);
    return n;
}

/* Every line is whole, numbered and dated; returns their number and that of lost events. */
static size_t check_lines(char *text, int64_t *n_lost)
{
    size_t n = 0;
    *n_lost = 0;
    for (char *line = text; *line != '\0'; n++) {
        struct json *v = NULL;
        struct err e = {0};
        size_t length = strcspn(line, "\n");
        int64_t ms = 0;
        const char *event = NULL, *when = NULL, *schema = NULL;
        assert_int_equal(line[length], '\n');
        assert_int_equal(json_parse(line, length, &v, &e), 0);
        assert_int_equal(json_need_string(v, "schema", &schema, &e), 0);
        assert_string_equal(schema, "fmforge.event/1");
        assert_int_equal(json_need_string(v, "event", &event, &e), 0);
        assert_int_equal(json_need_string(v, "time", &when, &e), 0);
        assert_true(statement_time_parse(when, &ms));
        assert_int_equal(number(v, "seq"), (int64_t)n + 1);
        if (str_eq(event, "lost"))
            *n_lost += number(v, "events");
        json_free(v);
        line += length + 1;
    }
    return n;
}

static void a_file_is_appended_to(void **state)
{
    (void)state;
    int64_t lost = 0;
    struct buf b;
    struct err e = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    for (int run = 1; run <= 2; run++) {
        struct event_stream *s = opened("events.jsonl");
        event_stream_add(s, "begun", NULL);
        assert_int_equal(file_read("events.jsonl", LIMIT_JSON_BYTES, &b, &e), 0);
        assert_non_null(strstr(buf_text(&b), "\"begun\"")); /* it does not wait for more */
        tell(s, 1, 100000);
        assert_true(event_stream_close(s, NULL));
    }
    assert_int_equal(file_read("events.jsonl", LIMIT_JSON_BYTES, &b, &e), 0);
    size_t half = b.n_bytes / 2;
    char *second = xstrdup(b.bytes + half);
    b.bytes[half] = '\0';
    assert_int_equal(check_lines(b.bytes, &lost), 2);
    assert_int_equal(check_lines(second, &lost), 2);
    xfree(second);
    buf_release(&b);
}

static void what_cannot_be_written_is_refused(void **state)
{
    (void)state;
    static const char *const paths[] = {"absent/events", ".", ""};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct event_stream *s = NULL;
        struct err e = {0};
        assert_int_equal(event_stream_open(paths[i], &s, &e), ERR_CONFIG);
        assert_non_null(strstr(e.text, "expected a file or a named pipe"));
    }
}

/* Nobody reads: events wait, then they are dropped and counted, and a late reader is told. */
static void a_full_pipe_holds_up_nothing(void **state)
{
    (void)state;
    int64_t lost = 0;
    size_t n_told = 3 * (size_t)LIMIT_EVENTS_BYTES / 10000;
    assert_int_equal(mkfifo("full", 0600), 0);
    double before = clock_ms();
    struct event_stream *s = opened("full");
    for (size_t i = 0; i < n_told; i++)
        tell(s, (int64_t)i, 10000);
    assert_true(clock_ms() - before < 20000.0);
    int fd = open("full", O_RDONLY | O_NONBLOCK);
    assert_true(fd >= 0);
    struct buf b;
    char chunk[65536];
    buf_init(&b, BUF_MAX_DEFAULT);
    for (ssize_t n = 1; n > 0; event_stream_flush(s)) {
        n = read(fd, chunk, sizeof chunk);
        if (n > 0)
            buf_add(&b, chunk, (size_t)n);
    }
    event_stream_add(s, "after", NULL);
    ssize_t n = read(fd, chunk, sizeof chunk);
    assert_true(n > 0);
    buf_add(&b, chunk, (size_t)n);
    assert_true(event_stream_close(s, NULL));
    close(fd);
    size_t n_lines = check_lines(b.bytes, &lost);
    assert_true(lost > 0);
    assert_int_equal(n_lines + (size_t)lost, n_told + 2); /* and `lost`, `after` */
    assert_non_null(strstr(buf_text(&b), "\"after\""));
    buf_release(&b);
}

/* At the limit it is kept, one byte past it is lost. */
static void the_limit(void **state)
{
    (void)state;
    for (int past = 0; past < 2; past++) {
        int64_t lost = 0;
        struct buf b;
        struct err e = {0};
        buf_init(&b, BUF_MAX_DEFAULT);
        assert_int_equal(file_remove_tree("limit", &e), 0);
        struct event_stream *s = opened("limit");
        tell(s, 1, 10);
        assert_int_equal(file_read("limit", LIMIT_JSON_BYTES, &b, &e), 0);
        size_t room = (size_t)LIMIT_EVENTS_BYTES - (b.n_bytes - 10);
        tell(s, 2, room - 1 + (size_t)past);
        assert_true(event_stream_close(s, NULL));
        assert_int_equal(file_read("limit", LIMIT_JSON_BYTES, &b, &e), 0);
        assert_int_equal(check_lines(b.bytes, &lost), 2);
        assert_int_equal(lost, past);
        buf_release(&b);
    }
}

static void a_reader_that_goes_ends_the_stream_only(void **state)
{
    (void)state;
    struct err problem = {0};
    assert_int_equal(mkfifo("closed", 0600), 0);
    int fd = open("closed", O_RDONLY | O_NONBLOCK);
    struct event_stream *s = opened("closed");
    tell(s, 1, 10);
    close(fd);
    tell(s, 2, 10);
    tell(s, 3, 10);
    assert_false(event_stream_close(s, &problem));
    assert_string_equal(problem.text, "closed: its reader is gone");
}

/* It waits a second for who reads nothing, and no longer. */
static void the_end_waits_a_second(void **state)
{
    (void)state;
    struct err problem = {0};
    assert_int_equal(mkfifo("slow", 0600), 0);
    struct event_stream *s = opened("slow");
    for (int i = 0; i < 20; i++)
        tell(s, i, 10000);
    double before = clock_ms();
    assert_false(event_stream_close(s, &problem));
    double took = clock_ms() - before;
    assert_true(took > 900 && took < 5000);
    assert_non_null(strstr(problem.text, "did not take everything"));
    event_stream_add(NULL, "nobody", json_new_object());
    event_stream_flush(NULL);
    assert_true(event_stream_close(NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_appended_to),
        cmocka_unit_test(what_cannot_be_written_is_refused),
        cmocka_unit_test(a_full_pipe_holds_up_nothing),
        cmocka_unit_test(the_limit),
        cmocka_unit_test(a_reader_that_goes_ends_the_stream_only),
        cmocka_unit_test(the_end_waits_a_second),
    };
    signal(SIGPIPE, SIG_IGN);
    if (scratch_open(folder) != 0 || chdir(folder) != 0)
        return 1;
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    if (chdir("/") == 0 && scratch_remove(folder) < 0)
        return 1;
    return rc;
}
