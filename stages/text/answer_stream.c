#include "stages/text/answer_stream.h"

#include <string.h>

#include "pipeline/base/str.h"

/* "<0xE2>": one byte of a character without a piece. */
static int is_byte(const struct render *r, int32_t id, bool *yes, struct err *e)
{
    struct buf piece;
    *yes = false;
    if (id >= spm_size(r->spm)) /* render_answer takes it for the unknown piece */
        return 0;
    buf_init(&piece, BUF_MAX_DEFAULT);
    int rc = spm_piece(r->spm, id, &piece, e);
    *yes = rc == 0 && piece.n_bytes == 6 && memcmp(piece.bytes, "<0x", 3) == 0;
    buf_release(&piece);
    return rc;
}

/* How many bytes at the end could be the beginning of a newline piece. */
static size_t open_newline(const struct render *r, const struct buf *text)
{
    const char *newline = r->template->pieces[TEMPLATE_NEWLINE];
    size_t n = strlen(newline) - 1;
    for (n = n < text->n_bytes ? n : text->n_bytes; n > 0; n--)
        if (memcmp(text->bytes + text->n_bytes - n, newline, n) == 0)
            return n;
    return 0;
}

int answer_stream_add(struct answer_stream *s, const int32_t *ids, size_t n_ids, bool last,
                      struct buf *out, struct err *e)
{
    struct buf text;
    bool waits = !last;
    int rc = 0;
    while (n_ids > 0 && waits && rc == 0) {
        rc = is_byte(s->render, ids[n_ids - 1], &waits, e);
        n_ids -= waits;
    }
    if (rc != 0)
        return rc;
    buf_init(&text, BUF_MAX_DEFAULT);
    rc = render_answer(s->render, ids, n_ids, &text, e);
    size_t n = rc == 0 ? text.n_bytes : 0;
    if (!last && n > 0)
        n -= open_newline(s->render, &text);
    if (n > s->n_given) {
        buf_add(out, text.bytes + s->n_given, n - s->n_given);
        s->n_given = n;
    }
    buf_release(&text);
    return rc;
}
