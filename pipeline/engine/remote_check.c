#include "pipeline/engine/remote_check.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/provenance/statement.h"

#define WALL_SECONDS_MAX 86400.0 /* a claim counts for so much */

static int check_outputs(const struct stage_desc *d, const struct action *a, struct err *e)
{
    if (!str_eq(a->stage, d->name))
        return err_set(e, ERR_FORMAT, "its stage is %s, expected %s", a->stage, d->name);
    if (a->n_outputs != d->n_outs)
        return err_set(e, ERR_FORMAT, "it has %zu outputs, stage %s has %zu", a->n_outputs, d->name,
                       d->n_outs);
    for (size_t i = 0; i < a->n_outputs; i++) {
        const struct action_output *o = &a->outputs[i];
        const struct desc_port *port = stage_desc_out(d, o->name);
        if (!port || !str_eq(port->kind, o->kind))
            return err_set(e, ERR_FORMAT,
                           "it has an output `%s` of kind %s: stage %s declares none", o->name,
                           o->kind, d->name);
        for (size_t k = 0; k < i; k++)
            if (str_eq(a->outputs[k].name, o->name))
                return err_set(e, ERR_FORMAT, "it has output `%s` twice", o->name);
    }
    return 0;
}

static int other(const char *what, const char *found, const char *expected, struct err *e)
{
    return err_set(e, ERR_FORMAT, "statement: %s %.80s, expected %s", what, found ? found : "none",
                   expected);
}

static int check_subjects(const struct statement_facts *f, const struct action *a, struct err *e)
{
    if (f->n_subjects != a->n_outputs)
        return err_set(e, ERR_FORMAT, "statement: %zu subjects, the record has %zu outputs",
                       f->n_subjects, a->n_outputs);
    for (size_t i = 0; i < a->n_outputs; i++) {
        const struct action_output *o = &a->outputs[i];
        const struct statement_subject *s = NULL;
        for (size_t k = 0; k < f->n_subjects && !s; k++)
            if (str_eq(f->subjects[k].name, o->name))
                s = &f->subjects[k];
        if (!s || !str_eq(s->id, o->id.hex) || s->is_folder != o->is_folder)
            return other(o->name, s ? s->id : NULL, o->id.hex, e);
    }
    return 0;
}

static int check_inputs(const struct statement_facts *f, const struct instance *n,
                        const struct plan_item *item, struct err *e)
{
    if (f->n_inputs != n->n_inputs)
        return err_set(e, ERR_FORMAT, "statement: %zu inputs, expected %zu", f->n_inputs,
                       n->n_inputs);
    for (size_t i = 0; i < n->n_inputs; i++) {
        const char *name = n->inputs[i].port->name, *found = NULL;
        for (size_t k = 0; k < f->n_inputs && !found; k++)
            if (str_eq(f->inputs[k].name, name))
                found = f->inputs[k].id;
        if (!found || !str_eq(found, item->inputs[i].id.hex))
            return other(name, found, item->inputs[i].id.hex, e);
    }
    return 0;
}

static int check_facts(const struct statement_facts *f, const struct instance *n,
                       const struct plan_item *item, const struct action *a, struct err *e)
{
    int rc = 0;
    if (!str_eq(f->recipe, item->key.hex))
        rc = other("recipe", f->recipe, item->key.hex, e);
    else if (!str_eq(f->stage, n->desc->name))
        rc = other("stage", f->stage, n->desc->name, e);
    else if (!f->binary || !str_eq(f->binary, n->desc->binary.hex))
        rc = other("program", f->binary, n->desc->binary.hex, e);
    if (rc == 0)
        rc = check_subjects(f, a, e);
    return rc < 0 ? rc : check_inputs(f, n, item, e);
}

/* What is printed of a statement must be text: no server writes to a terminal. Lines may break in
 * what is quoted, as a prompt of a config. */
static bool is_text(const char *s, bool one_line)
{
    for (const unsigned char *c = (const unsigned char *)s; *c != '\0'; c++)
        if ((*c < ' ' && (one_line || (*c != '\n' && *c != '\t'))) || *c == 0x7f ||
            (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0))
            return false;
    return true;
}

static bool all_text(const struct json *v)
{
    bool nested = json_type(v) == JSON_OBJECT || json_type(v) == JSON_ARRAY;
    bool ok = json_type(v) != JSON_STRING || is_text(json_string(v), false);
    for (const struct json *m = nested ? json_first(v) : NULL; m && ok; m = json_next(m))
        ok = (json_type(v) != JSON_OBJECT || is_text(json_key(m), true)) && all_text(m);
    return ok;
}

static int check_text(const struct statement *s, struct err *e)
{
    const struct statement_facts *f = &s->facts;
    if (all_text(s->root) && (!f->pipeline || is_text(f->pipeline, true)) &&
        (!f->instance || is_text(f->instance, true)))
        return 0;
    return err_set(e, ERR_FORMAT, "statement: it has control characters");
}

static int read_statement(struct store *s, const struct action *a, struct statement *out,
                          struct err *e)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = store_get_bytes(s, a->statement.hex, LIMIT_JSON_BYTES, &b, e);
    if (rc == 0)
        rc = statement_parse(buf_text(&b), b.n_bytes, out, e);
    buf_release(&b);
    return rc;
}

static struct content_id log_of(const struct statement *s)
{
    struct content_id id = {{0}};
    if (s->facts.log && str_is_hex(s->facts.log, SHA256_HEX))
        memcpy(id.hex, s->facts.log, sizeof id.hex);
    return id;
}

int remote_check(const struct plan *p, size_t i, const char *record, struct remote_claim *out,
                 struct err *e)
{
    const struct instance *n = p->graph->instances[i];
    const struct plan_item *item = &p->items[i];
    struct statement s = {0};
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    memset(out, 0, sizeof *out);
    int rc = file_read(record, LIMIT_JSON_BYTES, &b, e);
    if (rc == 0)
        rc = action_parse(buf_text(&b), b.n_bytes, item->key.hex, &out->action, e);
    buf_release(&b);
    if (rc == 0)
        rc = check_outputs(n->desc, &out->action, e);
    if (rc == 0)
        rc = read_statement(p->store, &out->action, &s, e);
    if (rc == 0) {
        double wall = s.facts.usage.wall_seconds;
        rc = check_text(&s, e);
        if (rc == 0)
            rc = check_facts(&s.facts, n, item, &out->action, e);
        out->wall_seconds = wall > 0 ? wall < WALL_SECONDS_MAX ? wall : WALL_SECONDS_MAX : 0;
        out->log = log_of(&s);
        statement_release(&s);
    }
    return rc < 0 ? err_wrap(e, "record of %s", item->key.hex) : 0;
}

struct content_id remote_log(struct store *s, const struct action *a)
{
    struct content_id id = {{0}};
    struct statement parsed = {0};
    struct err unread = {0};
    if (a->statement.hex[0] != '\0' && read_statement(s, a, &parsed, &unread) == 0) {
        id = log_of(&parsed);
        statement_release(&parsed);
    }
    return id;
}
