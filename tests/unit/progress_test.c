/* The progress line in a file: how often, and what it says. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "pipeline/base/clock.h"
#include "pipeline/engine/progress.h"
#include "tests/unit/scratch.h"

static char said[4096];

static void note(const char *text, size_t n_bytes)
{
    assert_true(strlen(said) + n_bytes < sizeof said);
    (void)strncat(said, text, n_bytes);
}

/* As if so many milliseconds had passed. */
static const char *after(struct progress *p, double ms, const struct progress_item *items, size_t n)
{
    said[0] = '\0';
    p->last_ms -= ms;
    progress_draw(p, 1, 3, items, n);
    return said;
}

static void a_file_gets_lines(void **state)
{
    struct term term = {.note = note};
    struct progress p;
    char folder[SCRATCH_BYTES], path[SCRATCH_BYTES + 16];
    (void)state;
    assert_int_equal(scratch_open(folder), 0);
    snprintf(path, sizeof path, "%s/events.jsonl", folder);
    scratch_put(folder, "events.jsonl",
                "{\"event\":\"progress\",\"note\":\"loss\\n3.5\",\"done\":41,\"of\":100}\n");
    struct progress_item items[] = {{"adapter", path, clock_ms() - 65e3},
                                    {"draft", "/nowhere", clock_ms() - 5e3}};
    progress_init(&p, &term);
    assert_in_range(progress_due(&p), 9000, 10001);
    assert_string_equal(after(&p, 9e3, items, 2), "");
    const char *line = after(&p, 1.5e3, items, 2);
    assert_int_equal(strncmp(line, "[1/3] adapter 41 % loss 3.5, 1 min 5 s | draft, 5", 49), 0);
    assert_int_equal(strcspn(line, "\r\n"), strlen(line) - 1);
    assert_string_equal(after(&p, 19e3, items, 2), ""); /* twice as long as before */
    assert_string_not_equal(after(&p, 1.5e3, items, 2), "");
    for (int i = 0; i < 20; i++)
        assert_string_not_equal(after(&p, 301e3, items, 1), "");
    assert_in_range(progress_due(&p), 299e3, 300001); /* but never longer than that */
    progress_erase(&p);
    assert_in_range(progress_due(&p), 298e3, 300001);
    progress_news(&p); /* a stage begins */
    assert_in_range(progress_due(&p), 9000, 10001);
    assert_string_equal(after(&p, 11e3, items, 0), ""); /* nothing runs */
    assert_int_equal(scratch_remove(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_gets_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
