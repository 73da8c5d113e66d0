#include "stages/text/rules.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/finding.h"
#include "stages/text/textindex.h"

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
                         "%s: %llu rows hold a special piece of the template as text, first %s "
                         "(lines %s): the model would read it as the end or start of a turn",
                         name, (unsigned long long)lines.n, first, finding_where(&lines));
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

/* Bytes of a punctuation mark above ASCII, 0 where none begins: U+0080 to U+00BF (quotes, signs)
 * and U+2000 to U+207F (spaces, dashes, curly quotes, dots). */
static size_t mark_bytes(const char *text)
{
    const unsigned char *t = (const unsigned char *)text;
    if (t[0] == 0xC2)
        return 2;
    return t[0] == 0xE2 && (t[1] == 0x80 || t[1] == 0x81) ? 3 : 0;
}

static bool is_kept(unsigned char x)
{
    return (x >= 'a' && x <= 'z') || (x >= '0' && x <= '9') || x >= 0x80;
}

static bool is_digit(char x)
{
    return x >= '0' && x <= '9';
}

/* An operator of sums and code, and no mark of prose: "12 - 3" and "C++", but "e-mail", "*so*". */
static bool is_operator(const char *text, const char *at, char last)
{
    const char *next = at + 1;
    while (*next == ' ')
        next++;
    switch (*at) {
    case '=':
    case '<':
    case '>':
    case '^':
    case '%':
        return true;
    case '+':
    case '#':
        return is_digit(*next) || (at > text && is_kept((unsigned char)(at[-1] | 0x20)));
    case '-':
    case '*':
    case '/':
        return is_digit(last) || is_digit(*next) || *next == '=';
    default:
        return false;
    }
}

/* Letters (those of ASCII in lower case), digits, operators, and a space between two numbers; all
 * of a message that has none. */
static void write_letters(const char *text, struct buf *out)
{
    size_t before = out->n_bytes;
    char last = 0;      /* kept */
    bool apart = false; /* something but a comma was left out since */
    for (const char *at = text; *at;) {
        size_t n = mark_bytes(at);
        char x = *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at;
        if (n == 0 && (is_kept((unsigned char)x) || is_operator(text, at, last))) {
            if (apart && is_digit(last) && is_digit(x))
                buf_add_char(out, ' ');
            buf_add_char(out, x);
            last = x;
            apart = false;
        } else {
            apart |= x != ',';
        }
        at += n > 0 ? n : 1;
    }
    if (out->n_bytes == before)
        buf_add_text(out, text);
}

/* Everything but the answer, as it is compared. */
static void write_prompt(const struct chat *c, struct buf *out)
{
    for (size_t m = 0; m + 1 < c->n_messages; m++) {
        buf_add_char(out, '\n');
        write_letters(c->messages[m].content, out);
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
    find_repeats(rows, name, findings);
    find_oddities(rows, name, findings);
    return 0;
}

/* By row of held_out: the row of `rows` with the same prompt, or rows->n_rows. Caller xfrees. */
static size_t *same_prompts(const struct chat_list *rows, const struct chat_list *held_out)
{
    struct buf text;
    struct row_key *keys = keys_of(rows, write_prompt);
    size_t *same = xalloc_array(held_out->n_rows, sizeof *same);
    buf_init(&text, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < held_out->n_rows; i++) {
        buf_clear(&text);
        write_prompt(&held_out->rows[i], &text);
        same[i] = find_key(keys, rows->n_rows, hash_of(&text));
    }
    buf_release(&text);
    xfree(keys);
    return same;
}

/* Of the rows that are no exact repeat. */
static void find_near(const struct rules_leak *leak, const size_t *same, struct finding *near)
{
    struct textindex index = {0};
    const struct chat_list *rows = leak->rows;
    for (size_t i = 0; i < rows->n_rows; i++) {
        const char *text = chat_last_user(&rows->rows[i]);
        textindex_add(&index, text, strlen(text));
    }
    textindex_finish(&index);
    for (size_t i = 0; i < leak->held_out->n_rows; i++) {
        const struct chat *c = &leak->held_out->rows[i];
        const char *text = chat_last_user(c);
        if (same[i] < rows->n_rows)
            continue;
        struct textindex_match match = textindex_alike(&index, text, strlen(text));
        if (match.value >= RULES_NEAR_SHARE)
            finding_add(near, "%llu near %s %llu", (unsigned long long)c->line, leak->rows_name,
                        (unsigned long long)rows->rows[match.text].line);
    }
    textindex_release(&index);
}

int rules_check_leak(const struct rules_leak *leak, struct json *findings, struct err *e)
{
    struct finding exact = {0};
    struct finding near = {0};
    int status = 0;
    const struct chat_list *rows = leak->rows, *held_out = leak->held_out;
    size_t *same = same_prompts(rows, held_out);
    for (size_t i = 0; i < held_out->n_rows; i++)
        if (same[i] < rows->n_rows)
            finding_add(&exact, "%llu = %s %llu", (unsigned long long)held_out->rows[i].line,
                        leak->rows_name, (unsigned long long)rows->rows[same[i]].line);
    if (exact.n > 0 && leak->refused) {
        status = err_set(e, ERR_FORMAT,
                         "%s: %llu prompts are also %s prompts (lines %s): what is measured may "
                         "not be trained on; take those rows out, or set leaks: drop",
                         leak->name, (unsigned long long)exact.n, leak->rows_name,
                         finding_where(&exact));
    } else {
        struct buf what;
        buf_init(&what, BUF_MAX_DEFAULT);
        find_near(leak, same, &near);
        buf_printf(&what, "prompt is also a %s prompt, kept", leak->rows_name);
        finding_close(&exact, leak->name, buf_text(&what), findings);
        buf_clear(&what);
        buf_printf(&what, "near repeat of a %s row, kept", leak->rows_name);
        finding_close(&near, leak->name, buf_text(&what), findings);
        buf_release(&what);
    }
    finding_release(&exact);
    xfree(same);
    return status;
}

size_t rules_drop_leaks(struct chat_list *train, const struct chat_list *held_out, const char *name,
                        struct json *findings)
{
    struct finding dropped = {0};
    size_t *same = same_prompts(held_out, train);
    size_t n_kept = 0;
    for (size_t i = 0; i < train->n_rows; i++) {
        struct chat *c = &train->rows[i];
        if (same[i] < held_out->n_rows) {
            finding_add(&dropped, "training %llu = %llu", (unsigned long long)c->line,
                        (unsigned long long)held_out->rows[same[i]].line);
            chat_release(c);
        } else {
            train->rows[n_kept++] = *c;
        }
    }
    size_t n_dropped = train->n_rows - n_kept;
    train->n_rows = n_kept;
    xfree(same);
    finding_close(&dropped, name, "training row left out, its prompt is measured", findings);
    return n_dropped;
}
