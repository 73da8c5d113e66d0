#include "pipeline/engine/plan_memory.h"

#include <string.h>
#include <unistd.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/thread.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/plan_cost.h"
#include "pipeline/engine/run_state.h"
#include "pipeline/store/hold.h"
#include "pipeline/store/seen.h"
#include "pipeline/store/state_file.h"

#define UNKNOWN_MS UINT64_MAX /* the ledger may know: then the plan is made */
#define THREAD_ROWS 200 /* hashing and looking for so many takes longer than a thread's start */

static bool put_question(const struct instant *in, struct buf *b)
{
    bool put = instant_question(in, b);
    buf_add(b, "plan", sizeof "plan");
    return put;
}

/* ---- keeping it ---- */

static void add_text(struct buf *b, const char *text, size_t n_bytes)
{
    buf_add_u32(b, (uint32_t)(n_bytes + 1));
    buf_add(b, text, n_bytes);
    buf_add_char(b, '\0');
}

/* Where `part` is in the text, once and no more; NULL otherwise. */
static const char *find_once(const char *text, const char *part)
{
    const char *at = strstr(text, part);
    return at && !strstr(at + 1, part) ? at : NULL;
}

/* Digits in a comment are no signature. */
static bool is_its_line(const char *text, const char *at)
{
    while (at > text && at[-1] != '\n')
        at--;
    return str_starts(at, "signature:");
}

static bool add_toolkit(struct buf *b, const struct toolkit_dir *t)
{
    const char *at = t->version_of ? NULL : find_once(t->doc.source, t->signature);
    if (!at || !is_its_line(t->doc.source, at) || strlen(t->doc.source) != t->doc.source_bytes)
        return false;
    add_text(b, t->doc.path, strlen(t->doc.path));
    add_text(b, t->doc.source, t->doc.source_bytes);
    buf_add_u32(b, (uint32_t)(at - t->doc.source));
    return true;
}

static bool is_signature(const struct graph *g, const struct instance *n,
                         const struct graph_input *in)
{
    if (in->source != SOURCE_VALUE || n->i_toolkit == GRAPH_NONE || !in->facet)
        return false;
    const struct toolkit_dir *t = &g->toolkits[n->i_toolkit];
    size_t length = strlen(in->value);
    return str_ends(in->facet, "/signature") && length == TOOLKIT_SIGNATURE_DIGITS + 2 &&
           strncmp(in->value + 1, t->signature, TOOLKIT_SIGNATURE_DIGITS) == 0;
}

/* False when the input's id is not to be found in the recipe. */
static bool add_input(struct buf *b, const struct plan *p, size_t i, size_t k)
{
    const struct instance *n = p->graph->instances[i];
    const struct graph_input *in = &n->inputs[k];
    const char *recipe = buf_text(&p->items[i].recipe);
    const char *from = in->facet ? in->facet : "";
    size_t index = in->producer, place = 0;
    if (in->source != SOURCE_STAGE) {
        char *member = xasprintf("\"%s\":\"%s\"", in->port->name, p->items[i].inputs[k].id.hex);
        const char *inputs = find_once(recipe, "\"inputs\":{");
        const char *at = inputs ? find_once(inputs, member) : NULL;
        xfree(member);
        if (!at)
            return false;
        place = (size_t)(at - recipe) + strlen(in->port->name) + 4;
        index = n->i_toolkit;
    }
    buf_add_char(b, in->source == SOURCE_STAGE ? 'p' : 's');
    buf_add_u32(b, (uint32_t)index);
    buf_add_u32(b, (uint32_t)place);
    add_text(b, in->port->name, strlen(in->port->name));
    add_text(b, from, strlen(from));
    return true;
}

static bool add_instance(struct buf *b, const struct plan *p, size_t i)
{
    const struct instance *n = p->graph->instances[i];
    const struct plan_item *item = &p->items[i];
    const char *last = plan_last_key(p, i);
    double seconds = plan_cost_made(p, i);
    if (!last || !str_eq(last, item->key.hex))
        return false;
    add_text(b, n->name, strlen(n->name));
    add_text(b, item->key.hex, SHA256_HEX);
    add_text(b, buf_text(&item->recipe), item->recipe.n_bytes);
    buf_add_u64(b, seconds < 0 ? UNKNOWN_MS : (uint64_t)(seconds * 1e3 + 0.5));
    size_t n_kept = 0;
    for (size_t k = 0; k < n->n_inputs; k++)
        n_kept += n->inputs[k].source == SOURCE_STAGE || is_signature(p->graph, n, &n->inputs[k]);
    buf_add_u32(b, (uint32_t)n_kept);
    for (size_t k = 0; k < n->n_inputs; k++)
        if ((n->inputs[k].source == SOURCE_STAGE || is_signature(p->graph, n, &n->inputs[k])) &&
            !add_input(b, p, i, k))
            return false;
    return true;
}

static bool add_plan(struct buf *b, const struct session *s)
{
    bool sound = s->graph.n_toolkits > 0;
    buf_add_u32(b, (uint32_t)s->graph.n_toolkits);
    for (size_t t = 0; t < s->graph.n_toolkits && sound; t++)
        sound = add_toolkit(b, &s->graph.toolkits[t]);
    for (size_t i = 0; i < s->graph.n_instances && sound; i++)
        sound = add_instance(b, &s->plan, i);
    return sound;
}

void plan_memory_keep(const struct run *r)
{
    const struct instant *in = r->options->instant;
    struct seen seen;
    struct buf question, packed, body;
    struct err ignored = {0};
    seen_init(&seen, in->began_ns);
    buf_init(&question, BUF_MAX_DEFAULT);
    buf_init(&packed, BUF_MAX_DEFAULT);
    buf_init(&body, BUF_MAX_DEFAULT);
    instant_see_plan(&seen, r);
    if (str_eq(in->out_root, "out") && put_question(in, &question) && seen_pack(&seen, &packed) &&
        instant_clock_went_on(r)) {
        buf_add_u64(&body, packed.n_bytes);
        buf_add(&body, packed.bytes, packed.n_bytes);
        struct state_file s = {.question = question.bytes,
                               .question_bytes = question.n_bytes,
                               .text = "",
                               .name = r->session->manifest.name,
                               .manifest = r->env.manifest_id.hex,
                               .n_stages = r->session->graph.n_instances};
        bool sound = add_plan(&body, r->session);
        s.seen = body.bytes;
        s.seen_bytes = body.n_bytes;
        if (sound && state_file_write(in->home, &s, &ignored) < 0)
            ignored.text[0] = '\0';
    }
    buf_release(&body);
    buf_release(&packed);
    buf_release(&question);
    seen_release(&seen);
}

/* ---- telling it ---- */

/* What is read; at its end, or where something is odd, it stays unsound. */
struct reader {
    const unsigned char *at, *end;
    bool is_sound;
};

static const unsigned char *take(struct reader *r, size_t n_bytes)
{
    const unsigned char *at = r->at;
    r->is_sound = r->is_sound && (size_t)(r->end - r->at) >= n_bytes;
    if (!r->is_sound)
        return NULL;
    r->at += n_bytes;
    return at;
}

static size_t take_u32(struct reader *r)
{
    const unsigned char *p = take(r, 4);
    return p ? bytes_get_u32(p) : 0;
}

static uint64_t take_u64(struct reader *r)
{
    const unsigned char *p = take(r, 8);
    return p ? bytes_get_u64(p) : 0;
}

/* "" when there is none. */
static const char *take_text(struct reader *r, size_t *n_bytes)
{
    size_t n = take_u32(r);
    const char *text = (const char *)take(r, n);
    if (text && (n == 0 || text[n - 1] != '\0'))
        r->is_sound = false;
    *n_bytes = r->is_sound ? n - 1 : 0;
    return r->is_sound ? text : "";
}

/* A toolkit's signature: what the recipes have, and what they would have now. */
struct bump {
    bool is_other;
    struct content_id old_id, new_id;
};

static struct content_id id_of_digits(const char *digits)
{
    char *value = xasprintf("\"%.*s\"", TOOLKIT_SIGNATURE_DIGITS, digits);
    struct content_id id = sha256_of(value, strlen(value));
    xfree(value);
    return id;
}

/* False when more than the digits is another. */
static bool take_bump(struct reader *r, struct bump *out)
{
    size_t n_path = 0, n_old = 0;
    const char *path = take_text(r, &n_path), *old = take_text(r, &n_old);
    size_t at = take_u32(r), behind = at + TOOLKIT_SIGNATURE_DIGITS;
    struct buf b;
    struct err ignored = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    bool same = r->is_sound && behind <= n_old && file_read(path, n_old, &b, &ignored) == 0 &&
                b.n_bytes == n_old && memcmp(b.bytes, old, at) == 0 &&
                memcmp(b.bytes + behind, old + behind, n_old - behind) == 0 &&
                strspn(b.bytes + at, "0123456789abcdef") >= TOOLKIT_SIGNATURE_DIGITS;
    if (same) {
        out->is_other = memcmp(b.bytes + at, old + at, TOOLKIT_SIGNATURE_DIGITS) != 0;
        out->old_id = id_of_digits(old + at);
        out->new_id = id_of_digits(b.bytes + at);
    }
    buf_release(&b);
    return same;
}

/* Of one instance: what of it is another, and the first of that by name, as in a difference of
 * recipes. */
struct change {
    size_t n;
    const char *port, *from;
    const struct bump *bump;
    const char *waits_port, *waits_for; /* NULL: every input is known */
    char *recipe;                       /* as it would be now */
    size_t n_recipe;
    bool is_found; /* its result is there: then the plan has to be made */
};

struct telling {
    const char *home;
    struct bump *bumps;
    size_t n_bumps;
    struct plan_row *rows;
    struct change *changes;
};

static void take_input(struct reader *r, const struct telling *t, size_t i)
{
    struct change *c = &t->changes[i];
    size_t unused = 0;
    const unsigned char *kind = take(r, 1);
    size_t index = take_u32(r), place = take_u32(r);
    const char *port = take_text(r, &unused), *from = take_text(r, &unused);
    if (!r->is_sound)
        return;
    if (*kind == 'p') {
        r->is_sound = index < i;
        if (r->is_sound && !t->rows[index].cached && !c->waits_port) {
            c->waits_port = port;
            c->waits_for = t->rows[index].name;
        }
        return;
    }
    r->is_sound = index < t->n_bumps && place + SHA256_HEX <= c->n_recipe &&
                  memcmp(c->recipe + place, t->bumps[index].old_id.hex, SHA256_HEX) == 0;
    if (!r->is_sound || !t->bumps[index].is_other)
        return;
    memcpy(c->recipe + place, t->bumps[index].new_id.hex, SHA256_HEX);
    if (c->n == 0 || strcmp(port, c->port) < 0) {
        c->port = port;
        c->from = from;
        c->bump = &t->bumps[index];
    }
    c->n++;
}

/* Row i, but for its reason. False when the plan has to be made. */
static bool take_row(struct reader *r, const struct telling *t, size_t i)
{
    struct change *c = &t->changes[i];
    size_t unused = 0;
    const char *name = take_text(r, &unused);
    (void)take_text(r, &unused); /* its key now: found, since the set is the same */
    const char *recipe = take_text(r, &c->n_recipe);
    uint64_t ms = take_u64(r);
    size_t n_inputs = take_u32(r);
    c->recipe = xstrndup(recipe, c->n_recipe);
    for (size_t k = 0; k < n_inputs && r->is_sound; k++)
        take_input(r, t, i);
    t->rows[i] = (struct plan_row){name, NULL, c->n == 0 && !c->waits_port, (double)ms / 1e3, NULL};
    return r->is_sound && (t->rows[i].cached || ms != UNKNOWN_MS);
}

static bool has_action(const struct telling *t, const char *key_hex)
{
    char *path = xasprintf("%s/actions/%.2s/%s", t->home, key_hex, key_hex);
    bool has = file_exists(path);
    xfree(path);
    return has;
}

/* Of one row, in a thread of several. */
static void look_at_row(void *context, size_t i, int i_thread)
{
    const struct telling *t = context;
    struct plan_row *row = &t->rows[i];
    struct change *c = &t->changes[i];
    (void)i_thread;
    row->why =
        c->n > 0 ? plan_why_input(c->port, c->bump->old_id.hex, c->bump->new_id.hex, c->from, c->n)
                 : NULL;
    if (c->waits_port) {
        char *own = row->why;
        row->why = plan_why_waits(own, c->waits_port, c->waits_for);
        xfree(own);
    } else if (c->n > 0) {
        struct content_id key = sha256_of(c->recipe, c->n_recipe);
        c->is_found = has_action(t, key.hex);
    } else {
        row->why = xstrdup(PLAN_WHY_CACHED);
    }
}

static void look_at_rows(struct telling *t, size_t n)
{
    size_t n_threads = n / THREAD_ROWS + 1, n_cpus = (size_t)thread_cpus();
    struct thread_pool *pool = thread_pool_open((int)(n_threads < n_cpus ? n_threads : n_cpus));
    thread_pool_run(pool, n, look_at_row, t);
    thread_pool_close(pool);
}

static bool tell(const struct state_file *s, const char *home, struct buf *out)
{
    struct reader r = {s->seen, (const unsigned char *)s->seen + s->seen_bytes, true};
    size_t n_seen = (size_t)take_u64(&r);
    const unsigned char *seen = take(&r, n_seen);
    if (!seen || !seen_same(seen, n_seen) || s->n_stages > LIMIT_STAGES)
        return false;
    size_t n = s->n_stages;
    struct telling t = {.home = home, .n_bumps = take_u32(&r)};
    if (!r.is_sound || t.n_bumps > GRAPH_TOOLKITS_MAX)
        return false;
    t.bumps = xalloc_array(t.n_bumps, sizeof *t.bumps);
    t.rows = xalloc_array(n, sizeof *t.rows);
    t.changes = xalloc_array(n, sizeof *t.changes);
    bool known = true;
    for (size_t i = 0; i < t.n_bumps && known; i++)
        known = take_bump(&r, &t.bumps[i]);
    for (size_t i = 0; i < n && known; i++)
        known = take_row(&r, &t, i);
    if (known)
        look_at_rows(&t, n);
    for (size_t i = 0; i < n && known; i++)
        known = !t.changes[i].is_found;
    if (known)
        plan_rows_to_text(s->name, t.rows, n, true, out);
    for (size_t i = 0; i < n; i++) {
        xfree(t.rows[i].why);
        xfree(t.changes[i].recipe);
    }
    xfree(t.changes);
    xfree(t.rows);
    xfree(t.bumps);
    return known;
}

bool plan_memory_tell(const struct instant *in, const struct term *term)
{
    struct buf question, out;
    struct file_map map = {0};
    buf_init(&question, BUF_MAX_DEFAULT);
    buf_init(&out, BUF_MAX_DEFAULT);
    bool known = put_question(in, &question);
    struct state_file s = {.question = question.bytes, .question_bytes = question.n_bytes};
    known = known && state_file_read(in->home, &map, &s);
    bool busy = false; /* the lock of every reader; the whole plan waits for it */
    int gate = known && file_is_ours(in->home) ? hold_gate(in->home, 0, &busy) : -1;
    known = gate >= 0 && tell(&s, in->home, &out);
    if (known)
        term_out(term, buf_text(&out));
    if (gate >= 0)
        close(gate);
    file_map_close(&map);
    buf_release(&out);
    buf_release(&question);
    return known;
}
