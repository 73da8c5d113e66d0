#include "pipeline/engine/progress.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/clock.h"
#include "pipeline/base/json.h"
#include "pipeline/base/str.h"
#include "pipeline/engine/spawn.h"

#define INTERVAL_MS 200.0
#define FIRST_LINE_MS 10e3 /* in a file */
#define MOST_LINE_MS 300e3
#define TAIL_BYTES 16384 /* a stage tells more than progress */

void progress_init(struct progress *p, const struct term *term)
{
    memset(p, 0, sizeof *p);
    p->term = term;
    p->wait_ms = term->note_is_terminal ? INTERVAL_MS : FIRST_LINE_MS;
    p->last_ms = term->note_is_terminal ? 0 : clock_ms();
}

int progress_due(const struct progress *p)
{
    double left = p->last_ms + p->wait_ms - clock_ms();
    return left > 0 ? (int)left + 1 : 0;
}

/* A stage's words are part of one line: nothing in them moves the cursor. */
static void add_words(const char *text, struct buf *out)
{
    for (; *text != '\0'; text++)
        buf_add_char(out, (unsigned char)*text < ' ' || *text == 0x7f ? ' ' : *text);
}

static void add_event(const struct json *v, struct buf *out)
{
    const struct json *done = json_get(v, "done");
    const struct json *of = json_get(v, "of");
    const char *note = json_find_text(v, "note");
    if (json_is_number(done) && json_is_number(of) && json_number(of) > 0)
        buf_printf(out, " %.0f %%", 100.0 * json_number(done) / json_number(of));
    if (note) {
        buf_add_char(out, ' ');
        add_words(note, out);
    }
}

/* A whole line that is a progress event, or NULL. Caller frees. */
static struct json *progress_event(const char *line, size_t n)
{
    struct json *v = NULL;
    struct err ignored = {0};
    if (json_parse(line, n, &v, &ignored) < 0)
        return NULL;
    if (str_eq(json_text(v, "event"), "progress"))
        return v;
    json_free(v);
    return NULL;
}

struct json *progress_last(const char *events)
{
    int fd = open(events, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    char tail[TAIL_BYTES + 1];
    off_t size = lseek(fd, 0, SEEK_END);
    off_t from = size > TAIL_BYTES ? size - TAIL_BYTES : 0;
    ssize_t n = pread(fd, tail, TAIL_BYTES, from);
    close(fd);
    while (n > 0 && tail[n - 1] != '\n')
        n--; /* a line that is being written */
    struct json *found = NULL;
    for (size_t end = n > 0 ? (size_t)n - 1 : 0; end > 0 && !found;) {
        size_t start = end;
        while (start > 0 && tail[start - 1] != '\n')
            start--;
        found = progress_event(tail + start, end - start);
        end = start > 0 ? start - 1 : 0;
    }
    return found;
}

void progress_draw(struct progress *p, size_t n_done, size_t n_all,
                   const struct progress_item *items, size_t n_items)
{
    double now = clock_ms();
    bool line = !p->term->note_is_terminal;
    if (now - p->last_ms < p->wait_ms)
        return;
    p->last_ms = now;
    if (n_items == 0)
        return;
    struct buf b;
    char took[24];
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_printf(&b, "[%zu/%zu]", n_done, n_all);
    for (size_t i = 0; i < n_items; i++) {
        buf_printf(&b, "%s%s", i ? " | " : " ", items[i].name);
        struct json *last = progress_last(items[i].events);
        if (last)
            add_event(last, &b);
        json_free(last);
        if (line)
            buf_printf(&b, ", %s", str_format_seconds((now - items[i].started_ms) / 1e3, took));
    }
    if (line) {
        term_notef(p->term, "%s\n", buf_text(&b));
        buf_release(&b);
        p->wait_ms = 2 * p->wait_ms < MOST_LINE_MS ? 2 * p->wait_ms : MOST_LINE_MS;
        return;
    }
    size_t room = (size_t)p->term->columns - 1;
    size_t shown = b.n_bytes < room ? b.n_bytes : room;
    shown = str_utf8_prefix(b.bytes, shown);
    term_notef(p->term, "\r%.*s\033[K", (int)shown, buf_text(&b));
    buf_release(&b);
    p->drawn = true;
}

void progress_erase(struct progress *p)
{
    if (p->drawn)
        term_note(p->term, "\r\033[K");
    p->drawn = false;
}

void progress_news(struct progress *p)
{
    if (p->term->note_is_terminal)
        return;
    p->wait_ms = FIRST_LINE_MS;
    p->last_ms = clock_ms();
}
