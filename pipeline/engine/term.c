#include "pipeline/engine/term.h"

#include <stdarg.h>
#include <string.h>

#include "pipeline/base/buf.h"

void term_out(const struct term *t, const char *text)
{
    t->out(text, strlen(text));
}

void term_note(const struct term *t, const char *text)
{
    t->note(text, strlen(text));
}

static void term_format(void (*sink)(const char *, size_t), const char *format, va_list args)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_vprintf(&b, format, args);
    sink(buf_text(&b), b.n_bytes);
    buf_release(&b);
}

void term_outf(const struct term *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    term_format(t->out, format, args);
    va_end(args);
}

void term_notef(const struct term *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    term_format(t->note, format, args);
    va_end(args);
}
