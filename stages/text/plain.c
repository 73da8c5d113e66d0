#include "stages/text/plain.h"

#include <stdbool.h>
#include <string.h>

#include "pipeline/base/str.h"

/* What a file that is no text begins with. */
struct magic {
    const char *bytes;
    size_t n_bytes;
    const char *what; /* and what to do */
    bool is_letters;  /* a text may begin so: only where it is no UTF-8 */
};

#define UNPACK ": unpack it, or leave it out"
#define LEAVE_OUT ": leave it out"
#define SAVE_AS_TEXT ": save it as plain text, or leave it out"

static const struct magic MAGICS[] = {
    {"\x1F\x8B", 2, "gzip data" UNPACK, false},
    {"PK\x03\x04", 4, "a zip archive" UNPACK, false},
    {"\xFD"
     "7zXZ",
     5, "xz data" UNPACK, false},
    {"BZh", 3, "bzip2 data" UNPACK, true},
    {"\x28\xB5\x2F\xFD", 4, "zstd data: name it .txt.zst", false},
    {"\x89PNG", 4, "a PNG image" LEAVE_OUT, false},
    {"\xFF\xD8\xFF", 3, "a JPEG image" LEAVE_OUT, false},
    {"\x7F"
     "ELF",
     4, "a program" LEAVE_OUT, false},
    {"%PDF-1.", 7, "a PDF document" SAVE_AS_TEXT, false},
    {"%PDF-2.", 7, "a PDF document" SAVE_AS_TEXT, false},
    {"%PDF-", 5, "a PDF document" SAVE_AS_TEXT, true},
    {"%!PS-Adobe-", 11, "a PostScript document" SAVE_AS_TEXT, false},
    {"{\\rtf1", 6, "an RTF document" SAVE_AS_TEXT, false},
    {"\xFF\xFE", 2, "UTF-16 text: save it as UTF-8", false},
    {"\xFE\xFF", 2, "UTF-16 text: save it as UTF-8", false},
};

static int refuse_magic(const char *path, const struct buf *text, bool is_utf8, struct err *e)
{
    for (size_t i = 0; i < sizeof MAGICS / sizeof MAGICS[0]; i++)
        if (text->n_bytes >= MAGICS[i].n_bytes && !(is_utf8 && MAGICS[i].is_letters) &&
            memcmp(text->bytes, MAGICS[i].bytes, MAGICS[i].n_bytes) == 0)
            return err_set(e, ERR_FORMAT, "%s: expected UTF-8 text, found %s", path,
                           MAGICS[i].what);
    return 0;
}

/* The first byte that is no text. */
static int refuse_byte(const char *path, const struct buf *text, size_t at, bool is_nul,
                       struct err *e)
{
    size_t line = 1;
    for (size_t i = 0; i < at; i++)
        line += text->bytes[i] == '\n';
    return err_set(e, ERR_FORMAT,
                   "%s:%zu: expected UTF-8 text, found %s at byte %zu of the file: %s", path, line,
                   is_nul ? "a NUL byte" : "invalid UTF-8", at + 1,
                   is_nul ? "it is binary or UTF-16; leave it out or save it as UTF-8"
                          : "convert it (iconv), or take the line out");
}

/* The first of the characters of one kind in a file or a line, and how many there are. */
struct odd_seen {
    uint64_t n;
    size_t line, at;
    uint32_t first;
};

/* Characters of one kind that text hardly has. */
struct odd {
    struct finding *found; /* in all files */
    const char *what, *remedy;
    uint64_t share; /* of a file */
    struct odd_seen file, line;
};

static void see(struct odd_seen *seen, size_t line, size_t at, uint32_t character)
{
    if (seen->n++ > 0)
        return;
    seen->line = line;
    seen->at = at;
    seen->first = character;
}

static void add_odd(struct odd *o, const char *place, size_t line, size_t at, uint32_t character)
{
    see(&o->file, line, at, character);
    see(&o->line, line, at, character);
    finding_add(o->found, "%s%zu (U+%04X)", place, line, (unsigned)character);
}

static int refuse_odd(const char *path, const struct odd *o, const struct odd_seen *seen,
                      struct err *e)
{
    return err_set(e, ERR_FORMAT,
                   "%s:%zu: expected UTF-8 text, found %s U+%04X at byte %zu of the file, one of "
                   "%llu in this %s: %s",
                   path, seen->line, o->what, (unsigned)seen->first, seen->at + 1,
                   (unsigned long long)seen->n, seen == &o->line ? "line" : "file", o->remedy);
}

static int judge(const char *path, const struct odd *o, const struct odd_seen *seen, size_t n_bytes,
                 struct err *e)
{
    uint64_t share = seen == &o->line ? PLAIN_LINE_SHARE : o->share;
    if (seen->n < PLAIN_ODD_MIN || seen->n * share <= n_bytes)
        return 0;
    return refuse_odd(path, o, seen, e);
}

/* The control character at this place, 0 when there is none. Of valid UTF-8, a NUL behind it. */
static uint32_t control_at(const unsigned char *t)
{
    if (t[0] < 0x20)
        return t[0] == '\t' || t[0] == '\n' || t[0] == '\r' || t[0] == '\f' ? 0 : t[0];
    if (t[0] == 0xC2 && t[1] < 0xA0)
        return t[1];
    return t[0] == 0x7F ? t[0] : 0;
}

static bool is_broken_at(const unsigned char *t)
{
    return t[0] == 0xEF && t[1] == 0xBF && t[2] == 0xBD;
}

static int check_odd(const char *path, const char *place, const struct buf *text, struct odd *odds,
                     struct err *e)
{
    const unsigned char *bytes = (const unsigned char *)text->bytes;
    size_t line = 1, line_start = 0;
    int status = 0;
    for (size_t i = 0; i <= text->n_bytes && status == 0; i++) {
        if (i < text->n_bytes && bytes[i] != '\n') {
            uint32_t control = control_at(bytes + i);
            if (control)
                add_odd(&odds[0], place, line, i, control);
            else if (is_broken_at(bytes + i))
                add_odd(&odds[1], place, line, i, 0xFFFD);
            continue;
        }
        for (int k = 0; k < 2 && status == 0; k++) {
            status = judge(path, &odds[k], &odds[k].line, i - line_start, e);
            odds[k].line.n = 0;
        }
        line++;
        line_start = i + 1;
    }
    for (int k = 0; k < 2 && status == 0; k++)
        status = judge(path, &odds[k], &odds[k].file, text->n_bytes, e);
    return status;
}

int plain_check(const char *path, const char *place, const struct buf *text, struct plain *found,
                struct err *e)
{
    struct odd odds[2] = {
        {.found = &found->controls,
         .share = PLAIN_CONTROL_SHARE,
         .what = "the control character",
         .remedy = "it is binary or has terminal codes; leave it out, or take these out"},
        {.found = &found->broken,
         .share = PLAIN_BROKEN_SHARE,
         .what = "the replacement character",
         .remedy = "a wrong conversion has lost what stood there; convert the original again"}};
    const char *nul = memchr(text->bytes, '\0', text->n_bytes);
    size_t at = str_utf8_prefix(text->bytes, text->n_bytes);
    bool is_nul = nul && (size_t)(nul - text->bytes) < at;
    if (is_nul)
        at = (size_t)(nul - text->bytes);
    int status = refuse_magic(path, text, at == text->n_bytes, e);
    if (status == 0 && at < text->n_bytes)
        status = refuse_byte(path, text, at, is_nul, e);
    return status == 0 ? check_odd(path, place, text, odds, e) : status;
}

void plain_release(struct plain *p)
{
    finding_release(&p->controls);
    finding_release(&p->broken);
}
