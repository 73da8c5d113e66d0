#include "stages/text/windows.h"

#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define END_MARK "<|endoftext|>"
#define NEWLINE "<n>"
#define SPAN_MIN 4u
#define SPAN_MAX 24u

/* --- the mix -----------------------------------------------------------------------------------
 */

static struct window_file *find_file(struct windows *w, const char *name)
{
    for (size_t i = 0; i < w->n_files; i++)
        if (str_eq(w->files[i].name, name))
            return &w->files[i];
    return NULL;
}

static int set_weight(struct windows *w, char *item, struct err *e)
{
    char *equals = strchr(item, '=');
    double weight = 0;
    if (!equals)
        return err_set(e, ERR_CONFIG, "mix: '%s' is not NAME=WEIGHT", item);
    *equals = '\0';
    if (!str_to_f64(equals + 1, &weight) || weight < 0 || weight > 1000)
        return err_set(e, ERR_CONFIG, "mix: weight '%s' of '%s' is not a number from 0 to 1000",
                       equals + 1, item);
    struct window_file *f = find_file(w, item);
    if (!f)
        return err_set(e, ERR_CONFIG, "mix: the text has no file '%s'", item);
    f->weight = weight;
    return 0;
}

static int set_mix(struct windows *w, const char *mix, struct err *e)
{
    int rc = 0;
    while (mix && *mix && !rc) {
        size_t n = strcspn(mix, ",");
        char *item = xstrndup(mix, n);
        rc = set_weight(w, item, e);
        xfree(item);
        mix += n + (mix[n] == ',');
    }
    return rc;
}

/* --- documents to tokens -----------------------------------------------------------------------
 */

static void add_id(struct buf *ids, int32_t id)
{
    buf_add(ids, &id, sizeof id);
}

/* Bytes of a line without the CR of a CRLF. */
static size_t without_cr(const char *line, size_t n)
{
    return n > 0 && line[n - 1] == '\r' ? n - 1 : n;
}

/* One document, without the newlines at its end. */
static int add_document(struct windows *w, struct spm *spm, const char *text, size_t n,
                        struct buf *ids, struct err *e)
{
    while (n > 0 && text[n - 1] == '\n')
        n = without_cr(text, n - 1);
    if (n == 0)
        return 0;
    struct buf line;
    buf_init(&line, BUF_MAX_DEFAULT * 4);
    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t part = end ? (size_t)(end - text) - at : n - at;
        buf_add(&line, text + at, end ? without_cr(text + at, part) : part);
        if (end)
            buf_add_text(&line, NEWLINE);
        at += part + (end != NULL);
    }
    size_t n_ids = 0;
    int32_t *out = NULL;
    int rc = spm_encode(spm, line.bytes, line.n_bytes, &out, &n_ids, e);
    if (!rc) {
        add_id(ids, SPM_EOS);
        buf_add(ids, out, size_mul(n_ids, sizeof *out));
        w->n_documents++;
    }
    xfree(out);
    buf_release(&line);
    return rc;
}

/* Where the next end mark's line begins, or the end; *next is behind that line. */
static size_t document_end(const char *text, size_t from, size_t n, size_t *next)
{
    size_t mark = strlen(END_MARK);
    for (size_t at = from; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t line = end ? (size_t)(end - text) - at : n - at;
        size_t after = at + line + (end != NULL);
        if (without_cr(text + at, line) == mark && memcmp(text + at, END_MARK, mark) == 0) {
            *next = after;
            return at;
        }
        at = after;
    }
    *next = n;
    return n;
}

static int tokenise(struct windows *w, struct window_file *f, struct spm *spm,
                    const struct buf *text, struct err *e)
{
    struct buf ids;
    buf_init(&ids, BUF_MAX_DEFAULT * 8);
    uint64_t i_document = 0;
    int rc = 0;
    for (size_t at = 0, next = 0; at < text->n_bytes && !rc; at = next) {
        size_t end = document_end(text->bytes, at, text->n_bytes, &next);
        i_document++;
        rc = add_document(w, spm, text->bytes + at, end - at, &ids, e);
        if (rc)
            err_wrap(e, "document %llu", (unsigned long long)i_document);
    }
    f->n_ids = ids.n_bytes / sizeof(int32_t);
    w->n_tokens += f->n_ids;
    f->ids = (int32_t *)(void *)buf_steal(&ids);
    return rc;
}

static int read_file(struct windows *w, size_t i, struct spm *spm, struct err *e)
{
    struct window_file *f = &w->files[w->n_files++];
    struct buf text;
    buf_init(&text, (size_t)WINDOWS_FILE_BYTES_MAX + 1);
    *f = (struct window_file){.name = xstrdup(w->corpus.files[i].name), .weight = 1};
    int rc = corpus_read(&w->corpus, i, WINDOWS_FILE_BYTES_MAX, "WINDOWS_FILE_BYTES_MAX", &text, e);
    if (!rc) {
        rc = tokenise(w, f, spm, &text, e);
        if (rc)
            err_wrap(e, "%s", w->corpus.files[i].path);
    }
    buf_release(&text);
    return rc;
}

static int read_files(struct windows *w, const char *path, struct spm *spm, struct err *e)
{
    int rc = corpus_open(&w->corpus, path, e);
    size_t n = w->corpus.n_files;
    if (!rc && n > WINDOWS_FILES_MAX)
        rc = err_set(e, ERR_LIMIT, "%s: more than WINDOWS_FILES_MAX = %d text files", path,
                     WINDOWS_FILES_MAX);
    w->files = xalloc_array(n, sizeof *w->files);
    for (size_t i = 0; !rc && i < n; i++)
        rc = read_file(w, i, spm, e);
    return rc;
}

/* --- rows --------------------------------------------------------------------------------------
 */

/* Every phase below the stride leaves n_windows whole windows and one token to predict. */
static int lay_out(struct windows *w, struct err *e)
{
    uint64_t stride = (uint64_t)w->plan.window - 1;
    uint64_t rows = 0;
    for (size_t i = 0; i < w->n_files; i++) {
        struct window_file *f = &w->files[i];
        uint64_t spare = w->plan.in_order ? 1 : stride;
        f->n_windows = f->n_ids > spare ? (f->n_ids - spare) / stride : 0;
        if (f->n_windows == 0 && f->n_ids > 0)
            finding_add(&w->too_short, "%s (%llu tokens)", f->name, (unsigned long long)f->n_ids);
        f->first_row = (uint32_t)rows;
        double wanted = f->weight * (double)f->n_windows + 0.5;
        if (wanted + (double)rows > UINT32_MAX / 2)
            return err_set(e, ERR_LIMIT, "more than 2^31 windows in one epoch");
        f->n_rows = (uint32_t)wanted;
        rows += f->n_rows;
    }
    if (rows == 0)
        return err_set(e, ERR_CONFIG,
                       "%llu tokens of text do not fill a window of %d: give more text, or "
                       "make the window shorter",
                       (unsigned long long)w->n_tokens, w->plan.window);
    w->n_rows = (uint32_t)rows;
    return 0;
}

int windows_check_length(const char *param, int64_t tokens, int context, struct err *e)
{
    if (tokens <= context)
        return 0;
    return err_set(e, ERR_CONFIG, "%s: %lld tokens, the context is %d", param, (long long)tokens,
                   context);
}

int windows_open(struct windows *w, const char *path, const struct windows_plan *plan,
                 struct spm *spm, struct err *e)
{
    CHECK(plan->window >= 16);
    memset(w, 0, sizeof *w);
    w->plan = *plan;
    w->plan.mix = NULL;
    w->newline = spm_piece_id(spm, NEWLINE);
    w->phase = rng_open(plan->seed, "windows/phase");
    w->choice = rng_open(plan->seed, "windows/repeat");
    w->scratch = xalloc_array((size_t)plan->window + 1, sizeof *w->scratch);
    int rc = read_files(w, path, spm, e);
    if (!rc)
        rc = set_mix(w, plan->mix, e);
    if (!rc)
        rc = lay_out(w, e);
    if (rc)
        windows_close(w);
    return rc;
}

void windows_close(struct windows *w)
{
    for (size_t i = 0; i < w->n_files; i++) {
        xfree(w->files[i].name);
        xfree(w->files[i].ids);
    }
    xfree(w->files);
    xfree(w->scratch);
    corpus_close(&w->corpus);
    finding_release(&w->too_short);
    memset(w, 0, sizeof *w);
}

void windows_memory(const struct windows *w, struct plan_mem *out)
{
    plan_mem_add(out, "tokens of the text", w->n_tokens * sizeof(int32_t));
}

static void take_findings(struct windows *w, const char *name, struct json *rows)
{
    corpus_take_findings(&w->corpus, name, rows);
    finding_close(&w->too_short, name, "file shorter than a window, not used", rows);
}

void windows_report(struct windows *text, struct windows *valid, struct json *report)
{
    struct json *rows = json_new_array();
    take_findings(text, "text", rows);
    take_findings(valid, "valid", rows);
    finding_add_table(report, rows);
}

/* Where the row's tokens begin in its stream. */
static const int32_t *row_stream(const struct windows *w, int64_t epoch, uint32_t row)
{
    CHECK(row < w->n_rows);
    size_t i = 0;
    while (row - w->files[i].first_row >= w->files[i].n_rows)
        i++;
    const struct window_file *f = &w->files[i];
    uint64_t stride = (uint64_t)w->plan.window - 1;
    uint64_t k = ((uint64_t)epoch * f->n_rows + (row - f->first_row)) % f->n_windows;
    uint64_t phase = w->plan.in_order ? 0 : rng_u32_at(&w->phase, (uint64_t)epoch) % stride;
    return f->ids + phase + k * stride;
}

/* Each row has 65,536 draws of its own; the first says whether it repeats. */
static uint64_t draws_of(const struct windows *w, int64_t epoch, uint32_t row)
{
    return ((uint64_t)epoch * w->n_rows + row) << 16;
}

static bool row_repeats(const struct windows *w, int64_t epoch, uint32_t row)
{
    if (w->plan.in_order || w->plan.repeat_fraction <= 0)
        return false;
    uint32_t draw = rng_u32_at(&w->choice, draws_of(w, epoch, row));
    return (double)draw < w->plan.repeat_fraction * 4294967296.0;
}

uint32_t windows_row_tokens(const struct windows *w, int64_t epoch, uint32_t row)
{
    bool is_short = row_stream(w, epoch, row)[0] == SPM_EOS && !row_repeats(w, epoch, row);
    return (uint32_t)w->plan.window - is_short;
}

/*
 * The first half as it is (as one segment: EOS becomes a newline), then its spans of 4 to 24 tokens
 * in shuffled order: what follows a span's first token can be copied, where its next span begins
 * cannot be known.
 */
static void make_repeat(struct windows *w, int64_t epoch, uint32_t row, const int32_t *from)
{
    struct rng r = w->choice;
    r.next = draws_of(w, epoch, row) + 1;
    uint32_t n = (uint32_t)w->plan.window + 1, half = n / 2, at = half;
    int32_t *ids = w->scratch;
    ids[0] = SPM_EOS;
    for (uint32_t i = 1; i < half; i++) {
        int32_t id = from[i - 1];
        ids[i] = id == SPM_EOS && w->newline >= 0 ? w->newline : id == SPM_EOS ? SPM_UNK : id;
    }
    while (at < n) {
        uint32_t span = SPAN_MIN + rng_below(&r, SPAN_MAX - SPAN_MIN + 1);
        uint32_t start = 1 + rng_below(&r, half - 1);
        for (uint32_t i = start; i < half && span > 0 && at < n; i++, span--)
            ids[at++] = ids[i];
    }
}

void windows_add_row(struct windows *w, int64_t epoch, uint32_t row, struct token_batch *b)
{
    const int32_t *from = row_stream(w, epoch, row);
    int window = w->plan.window;
    if (row_repeats(w, epoch, row)) {
        make_repeat(w, epoch, row, from);
        token_batch_add_text(b, w->scratch, w->scratch + 1, window, SPM_EOS);
    } else if (from[0] == SPM_EOS) {
        token_batch_add_text(b, from, from + 1, window - 1, SPM_EOS);
    } else {
        w->scratch[0] = SPM_EOS;
        memcpy(w->scratch + 1, from, (size_t)window * sizeof *from);
        token_batch_add_text(b, w->scratch, w->scratch + 1, window, SPM_EOS);
    }
}
