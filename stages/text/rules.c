#include "stages/text/rules.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/finding.h"
#include "stages/text/letters.h"

/* The character that SentencePiece writes for a space. */
#define SPACE_MARK "\xE2\x96\x81"

static void add_line(struct finding *f, uint64_t line)
{
    finding_add(f, "%llu", (unsigned long long)line);
}

static void add_pair(struct finding *f, uint64_t line, const char *between, uint64_t other)
{
    finding_add(f, "%llu %s%llu", (unsigned long long)line, between, (unsigned long long)other);
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
        add_line(&lines, c->line);
    }
    if (lines.n > 0)
        status = err_set(e, ERR_FORMAT,
                         "%s: %llu row%s a special piece of the template as text, first %s "
                         "(lines %s): the model would read it as the end or start of a turn",
                         name, (unsigned long long)lines.n, lines.n == 1 ? " holds" : "s hold",
                         first, finding_where(&lines));
    finding_release(&lines);
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

/* Everything but the answer, as it is compared. */
static void write_prompt(const struct chat *c, struct buf *out)
{
    for (size_t m = 0; m + 1 < c->n_messages; m++) {
        buf_add_char(out, '\n');
        letters_write(c->messages[m].content, out);
        if (c->messages[m].tools)
            buf_add_text(out, c->messages[m].tools);
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
            add_pair(&same_row, a->line, "= ", b->line);
        a = &rows->rows[prompts[i - 1].row];
        b = &rows->rows[prompts[i].row];
        if (prompts[i - 1].hash == prompts[i].hash && strcmp(chat_answer(a), chat_answer(b)) != 0)
            add_pair(&other_answer, a->line, "and ", b->line);
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
            add_line(&no_system, c->line);
        bool is_odd = false;
        for (size_t m = 0; m < c->n_messages; m++) {
            const char *text = c->messages[m].content;
            bool is_answer = c->messages[m].role == CHAT_ASSISTANT;
            if (text[0] == '\0' && !c->messages[m].tools)
                add_line(is_answer ? &empty_answer : &empty_other, c->line);
            else if (is_answer && text[0] != '\0')
                is_odd |= text[0] == ' ' || text[strlen(text) - 1] == ' ';
        }
        if (is_odd)
            add_line(&spaces, c->line);
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
    if (rows->has_mark)
        finding_put(findings, name, "byte order mark, left out", 0, "in front of the file");
    find_repeats(rows, name, findings);
    find_oddities(rows, name, findings);
    return 0;
}

static size_t n_with_system(const struct chat_list *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < rows->n_rows; i++)
        n += chat_system(&rows->rows[i]) != NULL;
    return n;
}

void rules_check_systems(const struct chat_list *train, const struct chat_list *rows,
                         const char *name, struct json *findings)
{
    size_t n_train = n_with_system(train), n = n_with_system(rows);
    if (n == 0 && n_train == train->n_rows)
        finding_put(findings, name, "no system message, while every training row has one",
                    rows->n_rows, "all of them: they ask otherwise than was taught");
    else if (n == rows->n_rows && n_train == 0)
        finding_put(findings, name, "system message, while no training row has one", rows->n_rows,
                    "all of them: they ask otherwise than was taught");
}
