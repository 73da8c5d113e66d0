/* The audit's report for people: what it is, the stages back to the sources, the verdict. */

#include <string.h>

#include "pipeline/base/clock.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/audit.h"
#include "pipeline/provenance/signatures.h"
#include "pipeline/provenance/statement.h"

static void add_json(struct buf *out, const struct json *v)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    json_write_canonical(v, &b);
    buf_add_text(out, buf_text(&b));
    buf_release(&b);
}

static void head_to_text(const struct json *report, struct buf *out)
{
    const struct json *target = json_get(report, "target");
    const struct json *run = json_get(report, "run");
    buf_printf(out, "%s\n  sha256 %s\n", json_text_or(target, "path", "digest"),
               json_text_or(target, "id", "?"));
    if (json_find_text(report, "as") != NULL)
        buf_printf(out, "  is     %s\n", json_find_text(report, "as"));
    if (run != NULL) {
        char when[25];
        clock_text((int64_t)json_number_or(run, "time", 0) * 1000, when);
        buf_printf(out, "  run    %.12s of %s, %.10s %.8s UTC\n", json_text_or(run, "commit", "?"),
                   json_text_or(run, "name", "?"), when, when + 11);
    }
}

static void code_to_text(const struct json *stage, struct buf *out)
{
    const struct json *source = json_get(stage, "source");
    if (json_find_text(source, "commit") == NULL) {
        buf_printf(out, "    code     unavailable: %s\n",
                   json_text_or(source, "unavailable", "not recorded"));
        return;
    }
    buf_printf(out, "    code     commit %s", json_find_text(source, "commit"));
    int dirty = (int)json_number_or(source, "dirty_total", 0);
    if (dirty > 0) {
        const struct json *first = json_items(source, "dirty");
        buf_printf(out, " + %d changed file%s (%s%s)", dirty, dirty == 1 ? "" : "s",
                   json_text_or(first, "path", "?"), dirty == 1 ? "" : ", ...");
    }
    buf_add_char(out, '\n');
}

static void stage_to_text(const struct json *s, struct buf *out)
{
    const char *started = json_text(s, "started");
    buf_printf(out, "\n%s  (%s%s%s)", json_text_or(s, "stage", "?"), json_text_or(s, "run", "?"),
               json_find_text(s, "toolkit") ? ", " : "", json_text(s, "toolkit"));
    if (strlen(started) > 11)
        buf_printf(out, "  made %.10s %.8s UTC", started, started + 11);
    buf_add_char(out, '\n');
    for (const struct json *o = json_items(s, "outputs"); o != NULL; o = json_next(o))
        buf_printf(out, "    -> %-10s %.16s  stored: %s\n", json_text_or(o, "name", "?"),
                   json_text_or(o, "id", "-"), json_text_or(o, "stored", "?"));
    for (const struct json *i = json_items(s, "inputs"); i != NULL; i = json_next(i))
        buf_printf(out, "    <- %-10s %.16s  %s\n", json_text_or(i, "name", "?"),
                   json_text_or(i, "id", "-"),
                   json_text_or(i, "path", json_text_or(i, "from", "?")));
    if (json_get(s, "config") != NULL) {
        buf_add_text(out, "    config   ");
        add_json(out, json_get(s, "config"));
        buf_add_char(out, '\n');
    }
    buf_printf(out, "    program  %.16s\n", json_text_or(s, "program", "?"));
    const struct json *libraries = json_get(s, "libraries");
    for (const struct json *l = libraries ? json_first(libraries) : NULL; l; l = json_next(l))
        buf_printf(out, "    library  %.16s %s\n", json_string(l), json_key(l));
    code_to_text(s, out);
    buf_printf(out, "    recipe   %.16s\n", json_text_or(s, "key", "?"));
    if (json_find_text(s, "origin") != NULL)
        buf_printf(out, "    origin   made elsewhere, fetched from %s\n", json_text(s, "origin"));
}

static void sources_to_text(const struct json *report, struct buf *out)
{
    if (json_items(report, "sources") != NULL)
        buf_add_text(out, "\nsources\n");
    for (const struct json *s = json_items(report, "sources"); s != NULL; s = json_next(s)) {
        const char *path = json_text_or(s, "path", "?");
        const char *from = json_text_or(s, "from", "?");
        const char *state = json_text_or(s, "on_disk", "?");
        buf_printf(out, "    %s  %s", json_text_or(s, "id", "?"), path);
        if (!str_eq(from, path))
            buf_printf(out, " (%s)", from);
        buf_printf(out, "  %s, %s\n", json_text_or(s, "kind", "?"),
                   str_eq(state, "same")      ? "the file still has these bytes"
                   : str_eq(state, "changed") ? "the file has other bytes now"
                   : str_eq(state, "absent")  ? "not there any more"
                   : str_eq(state, "value")   ? "a value in toolkit.yaml"
                                              : state);
    }
}

static void findings_to_text(const struct json *report, const char *key, const char *mark,
                             struct buf *out)
{
    for (const struct json *v = json_items(report, key); v != NULL; v = json_next(v))
        buf_printf(out, "%s: %s\n", mark, json_string(v));
}

void audit_to_text(const struct json *report, struct buf *out)
{
    const char *status = json_text_or(report, "status", "?");
    const struct json *checked = json_get(report, "checked");
    head_to_text(report, out);
    for (const struct json *u = json_items(report, "used_by"); u != NULL; u = json_next(u))
        buf_printf(out, "  read by %s as %s\n", json_text_or(u, "stage", "?"),
                   json_text_or(u, "input", "?"));
    for (const struct json *s = json_items(report, "chain"); s != NULL; s = json_next(s))
        stage_to_text(s, out);
    sources_to_text(report, out);
    buf_add_char(out, '\n');
    if (json_get(report, "signatures") != NULL)
        signatures_to_text(json_get(report, "signatures"), out);
    findings_to_text(report, "mismatches", "MISMATCH", out);
    findings_to_text(report, "unknowns", "unknown", out);
    buf_printf(
        out, "checked: %d recipes, %d statements, %d stored objects, %d files of runs\n",
        (int)json_number_or(checked, "recipes", 0), (int)json_number_or(checked, "statements", 0),
        (int)json_number_or(checked, "objects", 0), (int)json_number_or(checked, "files", 0));
    buf_printf(out, "%s\n",
               str_eq(status, "proven")     ? "proven: everything on the way holds"
               : str_eq(status, "mismatch") ? "mismatch: see above"
                                            : "cannot tell: see above");
}
