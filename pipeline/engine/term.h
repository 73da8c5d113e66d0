#ifndef FMFORGE_ENGINE_TERM_H
#define FMFORGE_ENGINE_TERM_H

/*
 * Where the engine's words go. main.c implements it: nothing else in the engine prints. `out` is
 * for results (stdout), `note` for people (stderr). Text comes whole, with its newlines.
 */

#include <stdbool.h>
#include <stddef.h>

struct term {
    void (*out)(const char *text, size_t n_bytes);
    void (*note)(const char *text, size_t n_bytes);
    bool note_is_terminal; /* a progress line may be drawn and erased */
    int columns;           /* width of that terminal */
};

void term_out(const struct term *t, const char *text);
void term_note(const struct term *t, const char *text);
void term_outf(const struct term *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void term_notef(const struct term *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
