#include "stages/text/rules.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/blocks.h"
#include "stages/text/textindex.h"

const char *const RULES_COLUMNS[] = {"finding", "rows", "where", NULL};

/* The character that SentencePiece writes for a space. */
#define SPACE_MARK "\xE2\x96\x81"

/* A finding that is being collected. */
struct finding {
    uint64_t n;
    struct buf where;
};

static void finding_add(struct finding *f, const char *format, uint64_t a, uint64_t b)
{
    if (f->n == 0)
        buf_init(&f->where, BUF_MAX_DEFAULT);
    if (++f->n > RULES_LINES_SHOWN)
        return;
    if (f->n > 1)
        buf_add_text(&f->where, ", ");
    /* Formats are ours: %a and %b stand for the two lines. */
    for (const char *at = format; *at; at++) {
        if (at[0] == '%' && (at[1] == 'a' || at[1] == 'b')) {
            buf_printf(&f->where, "%llu", (unsigned long long)(at[1] == 'a' ? a : b));
            at++;
        } else {
            buf_add_char(&f->where, *at);
        }
    }
}

/* Ends the text "line 3, line 7, ..." */
static const char *finding_where(struct finding *f)
{
    if (f->n > RULES_LINES_SHOWN)
        buf_add_text(&f->where, ", ...");
    return buf_text(&f->where);
}

/* Moves the finding to the table; nothing when it was never seen. */
static void finding_close(struct finding *f, const char *name, const char *what,
                          struct json *findings)
{
    if (f->n > 0) {
        struct buf text;
        struct json *row = blocks_row(findings);
        buf_init(&text, BUF_MAX_DEFAULT);
        buf_printf(&text, "%s: %s", name, what);
        json_append(row, json_new_string(buf_text(&text)));
        json_append(row, json_new_i64((int64_t)f->n));
        json_append(row, json_new_string(finding_where(f)));
        buf_release(&text);
    }
    buf_release(&f->where);
    *f = (struct finding){0};
}

const char *rules_find_special(const struct template *t, const char *text)
{
    const char *piece = template_find(t, text);
    if (!piece && strstr(text, SPACE_MARK))
        piece = SPACE_MARK " (U+2581)";
    return piece;
}

int rules_check_special(const struct chat_list *rows, const char *name, const struct template *t,
                        struct err *e)
{
    struct finding lines = {0};
    const char *first = NULL;
    int status = 0;
    for (size_t i = 0; i < rows->n_rows; i++) {
        const struct chat *c = &rows->rows[i];
        const char *piece = NULL;
        for (size_t m = 0; m < c->n_messages && !piece; m++) {
            piece = rules_find_special(t, c->messages[m].content);
            if (!piece && c->messages[m].tools)
                piece = rules_find_special(t, c->messages[m].tools);
        }
        if (!piece)
            continue;
        first = first ? first : piece;
        finding_add(&lines, "%a", c->line, 0);
    }
    if (lines.n > 0)
        status = err_set(e, ERR_FORMAT,
                         "%s: %llu rows hold a special piece of the template as text, first %s "
                         "(lines %s): the model would read it as the end or start of a turn",
                         name, (unsigned long long)lines.n, first, finding_where(&lines));
    buf_release(&lines.where);
    return status;
}

/* A row by a hash of some text of it. */
struct row_key {
    uint64_t hash;
    size_t row;
};

static int by_hash_and_row(const void *a, const void *b)
{
    const struct row_key *x = a;
    const struct row_key *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static uint64_t hash_of(const struct buf *text)
{
    uint32_t key[4] = {0};
    sha256_key128(buf_text(text), text->n_bytes, key);
    return (uint64_t)key[0] << 32 | key[1];
}

static void write_row(const struct chat *c, struct buf *out)
{
    chat_write(c, out);
}

/* Everything but the answer, letters (in lower case) and digits only. */
static void write_prompt(const struct chat *c, struct buf *out)
{
    for (size_t m = 0; m + 1 < c->n_messages; m++) {
        buf_add_char(out, '\n');
        for (const char *at = c->messages[m].content; *at; at++) {
            char x = *at;
            if (x >= 'A' && x <= 'Z')
                x = (char)(x - 'A' + 'a');
            if ((x >= 'a' && x <= 'z') || (x >= '0' && x <= '9') || (unsigned char)x >= 0x80)
                buf_add_char(out, x);
        }
    }
}

/* Sorted keys of all rows; caller xfrees. */
static struct row_key *keys_of(const struct chat_list *rows,
                               void (*write)(const struct chat *c, struct buf *out))
{
    struct buf text;
    struct row_key *keys = xalloc_array(rows->n_rows, sizeof *keys);
    buf_init(&text, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < rows->n_rows; i++) {
        buf_clear(&text);
        write(&rows->rows[i], &text);
        keys[i] = (struct row_key){hash_of(&text), i};
    }
    buf_release(&text);
    qsort(keys, rows->n_rows, sizeof *keys, by_hash_and_row);
    return keys;
}

/* First row with this hash, or n_rows. */
static size_t find_key(const struct row_key *keys, size_t n, uint64_t hash)
{
    size_t low = 0;
    size_t high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (keys[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && keys[low].hash == hash ? keys[low].row : n;
}

static void find_repeats(const struct chat_list *rows, const char *name, struct json *findings)
{
    struct finding same_row = {0};
    struct finding other_answer = {0};
    struct row_key *whole = keys_of(rows, write_row);
    struct row_key *prompts = keys_of(rows, write_prompt);
    for (size_t i = 1; i < rows->n_rows; i++) {
        const struct chat *a = &rows->rows[whole[i - 1].row];
        const struct chat *b = &rows->rows[whole[i].row];
        if (whole[i - 1].hash == whole[i].hash)
            finding_add(&same_row, "%a = %b", a->line, b->line);
        a = &rows->rows[prompts[i - 1].row];
        b = &rows->rows[prompts[i].row];
        if (prompts[i - 1].hash == prompts[i].hash && strcmp(chat_answer(a), chat_answer(b)) != 0)
            finding_add(&other_answer, "%a and %b", a->line, b->line);
    }
    finding_close(&same_row, name, "rows that occur twice", findings);
    finding_close(&other_answer, name, "one prompt, different answers", findings);
    xfree(whole);
    xfree(prompts);
}

static void find_oddities(const struct chat_list *rows, const char *name, struct json *findings)
{
    struct finding no_system = {0};
    struct finding empty_answer = {0};
    struct finding empty_other = {0};
    struct finding spaces = {0};
    uint64_t n_with_system = 0;
    for (size_t i = 0; i < rows->n_rows; i++) {
        const struct chat *c = &rows->rows[i];
        if (chat_system(c))
            n_with_system++;
        else
            finding_add(&no_system, "%a", c->line, 0);
        bool is_odd = false;
        for (size_t m = 0; m < c->n_messages; m++) {
            const char *text = c->messages[m].content;
            bool is_answer = c->messages[m].role == CHAT_ASSISTANT;
            if (text[0] == '\0' && !c->messages[m].tools)
                finding_add(is_answer ? &empty_answer : &empty_other, "%a", c->line, 0);
            else if (is_answer && text[0] != '\0')
                is_odd |= text[0] == ' ' || text[strlen(text) - 1] == ' ';
        }
        if (is_odd)
            finding_add(&spaces, "%a", c->line, 0);
    }
    if (n_with_system == 0)
        no_system.n = 0; /* no row has one: not a mixture */
    finding_close(&no_system, name, "no system message, while other rows have one", findings);
    finding_close(&empty_answer, name, "empty answer", findings);
    finding_close(&empty_other, name, "empty system or user message", findings);
    finding_close(&spaces, name, "answer with a space at an end", findings);
}

int rules_check(const struct chat_list *rows, const char *name, const struct template *t,
                struct json *findings, struct err *e)
{
    int status = rules_check_special(rows, name, t, e);
    if (status < 0)
        return status;
    find_repeats(rows, name, findings);
    find_oddities(rows, name, findings);
    return 0;
}

static void find_near(const struct chat_list *train, const struct chat_list *held_out,
                      struct finding *near)
{
    struct textindex index = {0};
    for (size_t i = 0; i < train->n_rows; i++) {
        const char *text = chat_last_user(&train->rows[i]);
        textindex_add(&index, text, strlen(text));
    }
    textindex_finish(&index);
    for (size_t i = 0; i < held_out->n_rows; i++) {
        const struct chat *c = &held_out->rows[i];
        const char *text = chat_last_user(c);
        struct textindex_match match = textindex_alike(&index, text, strlen(text));
        if (match.value >= RULES_NEAR_SHARE)
            finding_add(near, "%a near training %b", c->line, train->rows[match.text].line);
    }
    textindex_release(&index);
}

int rules_check_leak(const struct chat_list *train, const struct chat_list *held_out,
                     const char *name, bool exact_refused, struct json *findings, struct err *e)
{
    struct finding exact = {0};
    struct finding near = {0};
    struct buf text;
    int status = 0;
    struct row_key *keys = keys_of(train, write_prompt);
    buf_init(&text, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < held_out->n_rows; i++) {
        buf_clear(&text);
        write_prompt(&held_out->rows[i], &text);
        size_t row = find_key(keys, train->n_rows, hash_of(&text));
        if (row < train->n_rows)
            finding_add(&exact, "%a = training %b", held_out->rows[i].line, train->rows[row].line);
    }
    buf_release(&text);
    xfree(keys);
    if (exact.n > 0 && exact_refused) {
        status = err_set(e, ERR_FORMAT,
                         "%s: %llu prompts are also training prompts (lines %s): what is measured "
                         "may not be trained on",
                         name, (unsigned long long)exact.n, finding_where(&exact));
        buf_release(&exact.where);
        return status;
    }
    find_near(train, held_out, &near);
    finding_close(&exact, name, "prompt is also a training prompt", findings);
    finding_close(&near, name, "near repeat of a training row", findings);
    return 0;
}

size_t rules_drop_leaks(struct chat_list *train, const struct chat_list *held_out, const char *name,
                        struct json *findings)
{
    struct finding dropped = {0};
    struct buf text;
    struct row_key *keys = keys_of(held_out, write_prompt);
    size_t n_kept = 0;
    buf_init(&text, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < train->n_rows; i++) {
        struct chat *c = &train->rows[i];
        buf_clear(&text);
        write_prompt(c, &text);
        size_t row = find_key(keys, held_out->n_rows, hash_of(&text));
        bool has_letters = strspn(buf_text(&text), "\n") < text.n_bytes;
        if (has_letters && row < held_out->n_rows) {
            finding_add(&dropped, "training %a = %b", c->line, held_out->rows[row].line);
            chat_release(c);
        } else {
            train->rows[n_kept++] = *c;
        }
    }
    size_t n_dropped = train->n_rows - n_kept;
    train->n_rows = n_kept;
    buf_release(&text);
    xfree(keys);
    finding_close(&dropped, name, "training row left out, its prompt is measured", findings);
    return n_dropped;
}
