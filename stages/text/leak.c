#include "stages/text/leak.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/bytes.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/finding.h"
#include "stages/text/letters.h"
#include "stages/text/textindex.h"

/*
 * Turns are hashed once each, and a run of n turns is a polynomial in their hashes, so that the
 * hash of any run is one subtraction of two prefixes:
 *
 *   runs[0] = 0, runs[i + 1] = runs[i] F + turn[i];   turns [i, i + n) = runs[i + n] - runs[i] F^n
 *
 * So a row costs its bytes, and one look-up per turn and per number of turns that a held-out row
 * has.
 */
#define RUN_FACTOR UINT64_C(0x9E3779B97F4A7C15)

enum leak_key { KEY_PROMPT, KEY_TURNS };

/* What is looked for: a held-out row by the hash of its prompt or of its turns. */
struct wanted {
    uint64_t hash;
    enum leak_key what;
    size_t row;
};

/* Where it was found: an answer of a row. */
struct place {
    size_t row;
    size_t turn; /* from 1; 0: nowhere */
    enum leak_key what;
};

/* The hashes of one row. */
struct turns {
    size_t n, capacity;
    uint64_t *prompts; /* by turn: of everything before its answer */
    uint64_t *runs;    /* n + 1 */
};

struct search {
    struct wanted *wanted; /* sorted; two a held-out row */
    size_t n_wanted;
    struct place *found; /* by wanted; of equal ones the first has it */
    size_t *lengths;     /* different numbers of turns of held-out rows */
    uint64_t *factors;   /* by length: F^n */
    size_t n_lengths;
    struct turns turns; /* of the row at hand */
    struct buf text;
};

static uint64_t hash_bytes(const void *bytes, size_t n_bytes)
{
    uint32_t key[4] = {0};
    sha256_key128(bytes, n_bytes, key);
    return (uint64_t)key[0] << 32 | key[1];
}

static uint64_t hash_two(uint64_t a, uint64_t b)
{
    unsigned char both[16];
    bytes_put_u64(both, a);
    bytes_put_u64(both + 8, b);
    return hash_bytes(both, sizeof both);
}

static uint64_t hash_message(const struct chat_message *m, struct buf *text)
{
    buf_clear(text);
    letters_write(m->content, text);
    if (m->tools)
        buf_add_text(text, m->tools);
    return hash_bytes(buf_text(text), text->n_bytes);
}

static void hash_turns(const struct chat *c, struct turns *t, struct buf *text)
{
    uint64_t before = 0, last = 0;
    if (c->n_messages / 2 > t->capacity) {
        t->capacity = c->n_messages / 2;
        t->prompts = xrealloc_array(t->prompts, t->capacity, sizeof *t->prompts);
        t->runs = xrealloc_array(t->runs, t->capacity + 1, sizeof *t->runs);
    }
    t->n = 0;
    t->runs[0] = 0;
    for (size_t m = 0; m < c->n_messages; m++) {
        uint64_t hash = hash_message(&c->messages[m], text);
        if (c->messages[m].role == CHAT_ASSISTANT) {
            t->prompts[t->n] = before;
            t->runs[t->n + 1] = t->runs[t->n] * RUN_FACTOR + hash_two(last, hash);
            t->n++;
        }
        before = hash_two(before, hash);
        last = hash;
    }
}

static int by_hash(const void *a, const void *b)
{
    const struct wanted *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    if (x->what != y->what)
        return x->what < y->what ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static void add_length(struct search *s, size_t n)
{
    for (size_t i = 0; i < s->n_lengths; i++)
        if (s->lengths[i] == n)
            return;
    s->lengths = xrealloc_array(s->lengths, s->n_lengths + 1, sizeof *s->lengths);
    s->factors = xrealloc_array(s->factors, s->n_lengths + 1, sizeof *s->factors);
    uint64_t factor = 1;
    for (size_t i = 0; i < n; i++)
        factor *= RUN_FACTOR;
    s->lengths[s->n_lengths] = n;
    s->factors[s->n_lengths++] = factor;
}

static void search_open(struct search *s, const struct chat_list *held_out)
{
    *s = (struct search){.wanted = xalloc_array(held_out->n_rows, 2 * sizeof *s->wanted),
                         .found = xalloc_array(held_out->n_rows, 2 * sizeof *s->found)};
    buf_init(&s->text, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < held_out->n_rows; i++) {
        struct turns *t = &s->turns;
        hash_turns(&held_out->rows[i], t, &s->text);
        s->wanted[s->n_wanted++] = (struct wanted){t->prompts[t->n - 1], KEY_PROMPT, i};
        s->wanted[s->n_wanted++] = (struct wanted){t->runs[t->n], KEY_TURNS, i};
        add_length(s, t->n);
    }
    if (s->n_wanted > 0)
        qsort(s->wanted, s->n_wanted, sizeof *s->wanted, by_hash);
}

static void search_close(struct search *s)
{
    xfree(s->wanted);
    xfree(s->found);
    xfree(s->lengths);
    xfree(s->factors);
    xfree(s->turns.prompts);
    xfree(s->turns.runs);
    buf_release(&s->text);
}

/* Is it looked for? The first held-out row of those that it is goes to *held_out, unless an earlier
 * answer of this row was one. */
static void look_up(struct search *s, uint64_t hash, const struct place *at, size_t *held_out)
{
    const struct wanted key = {hash, at->what, 0};
    size_t low = 0, high = s->n_wanted;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_hash(&s->wanted[middle], &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == s->n_wanted || s->wanted[low].hash != hash || s->wanted[low].what != at->what)
        return;
    if (s->found[low].turn == 0)
        s->found[low] = *at;
    if (*held_out == SIZE_MAX)
        *held_out = s->wanted[low].row;
}

/* The held-out row that row i of the others is learned from as, SIZE_MAX without one. */
static size_t search_row(struct search *s, const struct chat *c, size_t i)
{
    const struct turns *t = &s->turns;
    size_t held_out = SIZE_MAX;
    hash_turns(c, &s->turns, &s->text);
    for (size_t j = 0; j < t->n; j++) {
        struct place at = {i, j + 1, KEY_PROMPT};
        look_up(s, t->prompts[j], &at, &held_out);
        at.what = KEY_TURNS;
        for (size_t k = 0; k < s->n_lengths; k++) {
            size_t n = s->lengths[k];
            if (n <= j + 1)
                look_up(s, t->runs[j + 1] - t->runs[j + 1 - n] * s->factors[k], &at, &held_out);
        }
    }
    return held_out;
}

/* By held-out row: where it is learned from first. Caller xfrees. */
static struct place *find_places(const struct leak *l)
{
    struct search s;
    search_open(&s, l->held_out);
    for (size_t i = 0; i < l->rows->n_rows; i++)
        (void)search_row(&s, &l->rows->rows[i], i);
    struct place *places = xalloc_array(l->held_out->n_rows, sizeof *places);
    struct place group = {0};
    for (size_t i = 0; i < s.n_wanted; i++) {
        const struct wanted *w = &s.wanted[i];
        if (i == 0 || w->hash != w[-1].hash || w->what != w[-1].what)
            group = s.found[i];
        struct place *p = &places[w->row];
        bool is_earlier = group.row != p->row ? group.row < p->row : group.what < p->what;
        if (group.turn > 0 && (p->turn == 0 || is_earlier))
            *p = group;
    }
    search_close(&s);
    return places;
}

/* What a reader would not see by comparing the two lines. */
static const char *explain(const struct chat *c, const struct place *p, char *text, size_t n_text)
{
    size_t n_turns = c->n_messages / 2;
    text[0] = '\0';
    if (n_turns > 1 && (p->turn < n_turns || p->what == KEY_TURNS))
        (void)snprintf(text, n_text, " (turn %zu of %zu)", p->turn, n_turns);
    else if (p->what == KEY_TURNS)
        (void)snprintf(text, n_text, " (another system message)");
    return text;
}

static void add_exact(const struct leak *l, const struct place *places, struct finding *exact)
{
    for (size_t i = 0; i < l->held_out->n_rows; i++) {
        char text[80];
        if (places[i].turn == 0)
            continue;
        const struct chat *c = &l->rows->rows[places[i].row];
        finding_add(exact, "%s:%llu = %s:%llu%s", l->refused ? l->held_out->path : l->input,
                    (unsigned long long)l->held_out->rows[i].line,
                    l->refused ? l->rows->path : l->rows_input, (unsigned long long)c->line,
                    explain(c, &places[i], text, sizeof text));
    }
}

/* Every user text of the rows; *of: by text the row. Caller xfrees. */
static size_t *index_users(struct textindex *index, const struct chat_list *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < rows->n_rows; i++)
        n += rows->rows[i].n_messages / 2;
    size_t *of = xalloc_array(n, sizeof *of);
    n = 0;
    for (size_t i = 0; i < rows->n_rows; i++) {
        for (size_t m = 0; m < rows->rows[i].n_messages; m++) {
            const struct chat_message *message = &rows->rows[i].messages[m];
            if (message->role != CHAT_USER)
                continue;
            textindex_add(index, message->content, strlen(message->content));
            of[n++] = i;
        }
    }
    textindex_finish(index);
    return of;
}

/* Of the held-out rows that are no leak. */
static void find_near(const struct leak *l, const struct place *places, struct finding *near)
{
    struct textindex index = {0};
    size_t *of = index_users(&index, l->rows);
    for (size_t i = 0; i < l->held_out->n_rows; i++) {
        const struct chat *c = &l->held_out->rows[i];
        const char *text = chat_last_user(c);
        if (places[i].turn > 0)
            continue;
        struct textindex_match match = textindex_alike(&index, text, strlen(text));
        if (match.value >= LEAK_NEAR_SHARE)
            finding_add(near, "%s:%llu near %s:%llu", l->input, (unsigned long long)c->line,
                        l->rows_input, (unsigned long long)l->rows->rows[of[match.text]].line);
    }
    textindex_release(&index);
    xfree(of);
}

int leak_check(const struct leak *l, struct json *findings, struct err *e)
{
    struct finding exact = {0};
    struct finding near = {0};
    int status = 0;
    struct place *places = find_places(l);
    add_exact(l, places, &exact);
    if (exact.n > 0 && l->refused) {
        bool is_one = exact.n == 1;
        status =
            err_set(e, ERR_FORMAT,
                    "%s: %llu prompt%s also %s%s prompt%s (%s): what is measured may not be "
                    "trained on; take those rows out, or set leaks: drop",
                    l->name, (unsigned long long)exact.n, is_one ? " is" : "s are",
                    is_one ? "a " : "", l->rows_name, is_one ? "" : "s", finding_where(&exact));
    } else {
        struct buf what;
        buf_init(&what, BUF_MAX_DEFAULT);
        find_near(l, places, &near);
        buf_printf(&what, "prompt is also a %s prompt, kept", l->rows_name);
        finding_close(&exact, l->name, buf_text(&what), findings);
        buf_clear(&what);
        buf_printf(&what, "near repeat of a %s row, kept", l->rows_name);
        finding_close(&near, l->name, buf_text(&what), findings);
        buf_release(&what);
    }
    finding_release(&exact);
    finding_release(&near);
    xfree(places);
    return status;
}

size_t leak_drop(const struct leak *l, struct chat_list *rows, struct json *findings)
{
    struct finding dropped = {0};
    struct search s;
    size_t n_kept = 0;
    search_open(&s, l->held_out);
    for (size_t i = 0; i < rows->n_rows; i++) {
        struct chat *c = &rows->rows[i];
        size_t held_out = search_row(&s, c, i);
        if (held_out != SIZE_MAX) {
            finding_add(&dropped, "%s:%llu = %s:%llu", l->rows_input, (unsigned long long)c->line,
                        l->input, (unsigned long long)l->held_out->rows[held_out].line);
            chat_release(c);
        } else {
            rows->rows[n_kept++] = *c;
        }
    }
    size_t n_dropped = rows->n_rows - n_kept;
    rows->n_rows = n_kept;
    search_close(&s);
    finding_close(&dropped, l->name, "training row left out, its prompt is measured", findings);
    return n_dropped;
}
