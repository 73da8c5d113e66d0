/* The half of instant.h that the front program has: no JSON, no hash, no library but libc. */

#include <string.h>
#include <unistd.h>

#include "pipeline/base/clock.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/engine/instant.h"
#include "pipeline/store/hold.h"
#include "pipeline/store/run_line.h"
#include "pipeline/store/seen.h"
#include "pipeline/store/state_file.h"

static void add_part(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text) + 1);
}

bool instant_question(const struct instant *in, struct buf *b)
{
    char folder[LIMIT_PATH_BYTES];
    if (!getcwd(folder, sizeof folder))
        return false;
    add_part(b, folder);
    add_part(b, in->program_folder);
    add_part(b, in->manifest_path);
    add_part(b, in->home);
    add_part(b, in->out_root);
    for (size_t i = 0; i < in->n_sets; i++)
        add_part(b, in->sets[i]);
    return true;
}

static int add_line(const char *home, const struct state_file *s, struct err *e)
{
    char when[25];
    struct run_line line = {s->name, clock_text(clock_unix_ms(), when), "ok", s->manifest,
                            s->n_stages};
    return run_line_add(&line, home, false, e);
}

static void say(const struct state_file *s, const struct term *term, double started_ms)
{
    char seconds[24];
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    str_format_seconds((clock_ms() - started_ms) / 1e3, seconds);
    buf_printf(&b, "%s (%s)\n", s->text, seconds);
    term_out(term, buf_text(&b));
    buf_release(&b);
}

bool instant_run(const struct instant *in, const struct term *term, double started_ms)
{
    struct buf question;
    struct file_map map = {0};
    struct err ignored = {0};
    buf_init(&question, BUF_MAX_DEFAULT);
    bool same = instant_question(in, &question);
    struct state_file s = {.question = question.bytes, .question_bytes = question.n_bytes};
    same = same && state_file_read(in->home, &map, &s);
    /* gc must not remove what is looked at now; this is the lock that a whole run would hold. Who
     * has words waits longer. */
    bool busy = false;
    int gate = same && file_is_ours(in->home) ? hold_gate(in->home, HOLD_WORDLESS_MS, &busy) : -1;
    same = gate >= 0 && seen_same(s.seen, s.seen_bytes) && add_line(in->home, &s, &ignored) == 0;
    if (same)
        say(&s, term, started_ms);
    if (gate >= 0)
        close(gate);
    file_map_close(&map);
    buf_release(&question);
    return same;
}
