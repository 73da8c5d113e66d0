#include "stages/text/render.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"

int render_init(struct render *r, struct spm *spm, const struct template *t, struct err *e)
{
    *r = (struct render){.spm = spm, .template = t};
    for (int i = 0; i < TEMPLATE_N_PIECES; i++) {
        r->ids[i] = spm_piece_id(spm, t->pieces[i]);
        if (r->ids[i] < 0 && i <= TEMPLATE_NEWLINE)
            return err_set(e, ERR_FORMAT, "the tokenizer has no piece %s, which the template names",
                           t->pieces[i]);
    }
    r->space_id = spm_piece_id(spm, "\xE2\x96\x81");
    if (r->space_id < 0)
        return err_set(e, ERR_FORMAT, "the tokenizer has no piece for a single space");
    return 0;
}

void sample_release(struct sample *s)
{
    xfree(s->ids);
    xfree(s->labels);
    *s = (struct sample){0};
}

static void reserve(struct sample *s, size_t n)
{
    if (n <= s->capacity)
        return;
    s->capacity = n < 2 * s->capacity ? 2 * s->capacity : n;
    s->ids = xrealloc_array(s->ids, s->capacity, sizeof *s->ids);
    s->labels = xrealloc_array(s->labels, s->capacity, sizeof *s->labels);
}

/* Adds text with the newline piece in place of line ends. */
static void add_lines(const struct render *r, const char *text, struct buf *out)
{
    for (const char *end = strchr(text, '\n'); end; end = strchr(text, '\n')) {
        buf_add(out, text, (size_t)(end - text));
        buf_add_text(out, r->template->pieces[TEMPLATE_NEWLINE]);
        text = end + 1;
    }
    buf_add_text(out, text);
}

/* The head of a turn: `<turn_start> ROLE<n>`. */
static void add_head(const struct render *r, enum chat_role role, struct buf *out)
{
    buf_add_text(out, r->template->pieces[TEMPLATE_TURN_START]);
    buf_add_char(out, ' ');
    buf_add_text(out, chat_role_name(role));
    buf_add_text(out, r->template->pieces[TEMPLATE_NEWLINE]);
}

/* The body of a turn: content, tools, `<turn_end>`. */
static void add_body(const struct render *r, const struct chat_message *m, struct buf *out)
{
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    chat_write_message(m, &text);
    add_lines(r, buf_text(&text), out);
    buf_release(&text);
    buf_add_text(out, r->template->pieces[TEMPLATE_TURN_END]);
}

/* Encodes text behind a special piece and adds its ids without the space and that piece. */
static int add_part(const struct render *r, enum template_piece before, const char *text,
                    bool label, struct sample *s, struct err *e)
{
    struct buf whole;
    size_t n = 0;
    buf_init(&whole, BUF_MAX_DEFAULT);
    buf_add_text(&whole, r->template->pieces[before]);
    buf_add_text(&whole, text);
    int32_t *ids = NULL;
    int status = spm_encode(r->spm, whole.bytes, whole.n_bytes, &ids, &n, e);
    buf_release(&whole);
    if (status == 0 && (n < 2 || ids[0] != r->space_id || ids[1] != r->ids[before]))
        status = err_set(e, ERR_FORMAT, "the tokenizer does not keep %s apart",
                         r->template->pieces[before]);
    if (status == 0) {
        n -= 2;
        reserve(s, s->n_ids + n);
        if (n > 0)
            memcpy(s->ids + s->n_ids, ids + 2, n * sizeof *ids);
        memset(s->labels + s->n_ids, label ? 1 : 0, n);
        s->n_ids += n;
    }
    xfree(ids);
    return status;
}

/* One turn: its special first piece, the rest of its head, its body; the text also to `whole`. */
static int add_turn(const struct render *r, const struct chat_message *m, bool with_body,
                    struct sample *s, struct buf *whole, struct err *e)
{
    struct buf text;
    const char *turn_start = r->template->pieces[TEMPLATE_TURN_START];
    if (m->tools && m->role == CHAT_ASSISTANT &&
        (r->ids[TEMPLATE_EXECUTABLE_START] < 0 || r->ids[TEMPLATE_EXECUTABLE_END] < 0))
        return err_set(e, ERR_FORMAT, "tool calls: the tokenizer has no piece %s",
                       TEMPLATE_PIECES[TEMPLATE_EXECUTABLE_START]);
    buf_init(&text, BUF_MAX_DEFAULT);
    add_head(r, m->role, &text);
    buf_add_text(whole, text.bytes);
    reserve(s, s->n_ids + 1);
    s->ids[s->n_ids] = r->ids[TEMPLATE_TURN_START];
    s->labels[s->n_ids++] = 0;
    int status = add_part(r, TEMPLATE_TURN_START, text.bytes + strlen(turn_start), false, s, e);
    if (status == 0 && with_body) {
        buf_clear(&text);
        add_body(r, m, &text);
        buf_add_text(whole, text.bytes);
        status = add_part(r, TEMPLATE_NEWLINE, text.bytes, m->role == CHAT_ASSISTANT, s, e);
    }
    buf_release(&text);
    return status;
}

/* A tokenizer that normalises makes special pieces of look-alikes, which no check of the text sees:
 * each has to be an id as often as it stands in the text. */
static int check_special(const struct render *r, const struct sample *s, const struct buf *whole,
                         struct err *e)
{
    for (int i = 0; i < TEMPLATE_N_PIECES; i++) {
        const char *piece = r->template->pieces[i];
        size_t n_text = 0, n_ids = 0;
        if (r->ids[i] < 0)
            continue;
        for (const char *at = strstr(buf_text(whole), piece); at; at = strstr(at, piece)) {
            at += strlen(piece);
            n_text++;
        }
        for (size_t k = 0; k < s->n_ids; k++)
            n_ids += s->ids[k] == r->ids[i];
        if (n_text != n_ids)
            return err_set(
                e, ERR_FORMAT,
                "the text has %zu of the special piece %s, and the tokenizer, which "
                "normalises, reads %zu: the model would take a look-alike for the end or "
                "start of a turn",
                n_text, piece, n_ids);
    }
    return 0;
}

/* The ids of the parts must be those of the whole. */
static int check_whole(const struct render *r, const struct sample *s, const struct buf *whole,
                       struct err *e)
{
    size_t n = 0;
    int32_t *ids = NULL;
    int status = spm_encode(r->spm, whole->bytes, whole->n_bytes, &ids, &n, e);
    if (status == 0 && (n != s->n_ids || ids[0] != r->space_id ||
                        memcmp(ids + 1, s->ids + 1, (n - 1) * sizeof *ids) != 0))
        status = err_set(e, ERR_FORMAT,
                         "the tokenizer joins pieces across the parts of a turn: "
                         "labels cannot be placed");
    xfree(ids);
    return status == 0 ? check_special(r, s, whole, e) : status;
}

static int render_messages(const struct render *r, const struct chat_message *messages, size_t n,
                           bool default_system, bool with_prompt, struct sample *s, struct err *e)
{
    struct buf whole;
    int status = 0;
    buf_init(&whole, BUF_MAX_DEFAULT);
    s->n_ids = 0;
    reserve(s, 64);
    s->ids[0] = SPM_EOS;
    s->labels[0] = 0;
    s->n_ids = 1;
    if (default_system && (n == 0 || messages[0].role != CHAT_SYSTEM)) {
        struct chat_message m = {.role = CHAT_SYSTEM, .content = r->template->default_system};
        status = add_turn(r, &m, true, s, &whole, e);
    }
    for (size_t i = 0; i < n && status == 0; i++)
        status = add_turn(r, &messages[i], true, s, &whole, e);
    if (status == 0 && with_prompt) {
        struct chat_message m = {.role = CHAT_ASSISTANT};
        status = add_turn(r, &m, false, s, &whole, e);
    }
    if (status == 0)
        status = check_whole(r, s, &whole, e);
    buf_release(&whole);
    return status;
}

int render_chat(const struct render *r, const struct chat *c, bool default_system,
                struct sample *out, struct err *e)
{
    return render_messages(r, c->messages, c->n_messages, default_system, false, out, e);
}

int render_prompt(const struct render *r, const struct chat_message *messages, size_t n_messages,
                  bool default_system, struct sample *out, struct err *e)
{
    return render_messages(r, messages, n_messages, default_system, true, out, e);
}

/* Adds decoded text with "\n" for the newline piece and U+FFFD for NUL. */
static void add_plain(const struct render *r, const char *text, size_t n_bytes, struct buf *out)
{
    const char *newline = r->template->pieces[TEMPLATE_NEWLINE];
    size_t n_newline = strlen(newline);
    for (size_t i = 0; i < n_bytes;) {
        if (n_bytes - i >= n_newline && memcmp(text + i, newline, n_newline) == 0) {
            buf_add_char(out, '\n');
            i += n_newline;
        } else if (text[i] == '\0') {
            buf_add_text(out, "\xEF\xBF\xBD");
            i++;
        } else {
            buf_add_char(out, text[i++]);
        }
    }
}

int render_answer(const struct render *r, const int32_t *ids, size_t n_ids, struct buf *out,
                  struct err *e)
{
    /* Behind a newline piece, so that a space at the front is not taken for the dummy prefix. */
    struct buf text;
    int32_t *all = xalloc_array(n_ids + 1, sizeof *all);
    buf_init(&text, BUF_MAX_DEFAULT);
    all[0] = r->ids[TEMPLATE_NEWLINE];
    for (size_t i = 0; i < n_ids; i++)
        all[i + 1] = ids[i] < spm_size(r->spm) ? ids[i] : SPM_UNK;
    int status = spm_decode(r->spm, all, n_ids + 1, &text, e);
    if (status == 0) {
        size_t n_front = strlen(r->template->pieces[TEMPLATE_NEWLINE]);
        CHECK(text.n_bytes >= n_front);
        add_plain(r, text.bytes + n_front, text.n_bytes - n_front, out);
    }
    xfree(all);
    buf_release(&text);
    return status;
}

int render_show(const struct render *r, const struct sample *s, struct buf *out, struct err *e)
{
    /* Each run is decoded as an answer is; the first id (EOS) decodes to nothing and is named. */
    int status = 0;
    buf_add_text(out, "<eos>");
    for (size_t i = 1; i < s->n_ids && status == 0;) {
        size_t n = 1;
        while (i + n < s->n_ids && s->labels[i + n] == s->labels[i])
            n++;
        if (s->labels[i])
            buf_add_text(out, "[[");
        status = render_answer(r, s->ids + i, n, out, e);
        if (s->labels[i])
            buf_add_text(out, "]]");
        i += n;
    }
    return status;
}
