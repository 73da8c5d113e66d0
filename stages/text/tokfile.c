#include "stages/text/tokfile.h"

#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/size.h"

#define MAGIC "FMTOKS01"
#define VERSION 1
#define SUM_OFFSET 64
#define HEADER_BYTES 96
#define BUFFER_MAX ((size_t)1 << 40)

_Static_assert(SUM_OFFSET + SHA256_BYTES == HEADER_BYTES, "the sum ends the header");

void tokfile_writer_init(struct tokfile_writer *w, int32_t eos)
{
    CHECK(eos >= 0);
    memset(w, 0, sizeof *w);
    w->eos = (uint32_t)eos;
    buf_init(&w->starts, BUFFER_MAX);
    buf_init(&w->tokens, BUFFER_MAX);
}

static void end_row(struct tokfile_writer *w)
{
    if (!w->in_row)
        return;
    uint64_t n = w->counts.tokens - w->row_start;
    CHECK(n > 0);
    CHECK(n <= UINT32_MAX);
    if (n > w->counts.row_tokens_max)
        w->counts.row_tokens_max = (uint32_t)n;
    w->in_row = false;
}

static void add_start(struct tokfile_writer *w)
{
    unsigned char bytes[8];
    bytes_put_u64(bytes, w->counts.tokens);
    buf_add(&w->starts, bytes, sizeof bytes);
}

void tokfile_writer_row(struct tokfile_writer *w)
{
    end_row(w);
    add_start(w);
    w->in_row = true;
    w->row_start = w->counts.tokens;
    w->counts.rows++;
}

void tokfile_writer_sample(struct tokfile_writer *w, const int32_t *ids,
                           const unsigned char *labels, size_t n_tokens, bool was_cut)
{
    CHECK(w->in_row);
    CHECK(n_tokens > 0);
    CHECK(ids[0] == (int32_t)w->eos);
    CHECK(!labels || !labels[0]);
    for (size_t i = 0; i < n_tokens; i++) {
        CHECK(ids[i] >= 0);
        CHECK(i == 0 || ids[i] != (int32_t)w->eos);
        bool label = labels ? labels[i] != 0 : i > 0;
        unsigned char bytes[4];
        bytes_put_u32(bytes, (uint32_t)ids[i] | (label ? TOKFILE_LABEL : 0));
        buf_add(&w->tokens, bytes, sizeof bytes);
        if ((uint32_t)ids[i] > w->counts.id_max)
            w->counts.id_max = (uint32_t)ids[i];
        w->counts.labels += label;
    }
    w->counts.tokens += n_tokens;
    w->counts.samples++;
    w->counts.cut_samples += was_cut;
}

static void put_header(unsigned char *h, const struct tokfile_writer *w)
{
    memset(h, 0, HEADER_BYTES);
    memcpy(h, MAGIC, 8);
    bytes_put_u32(h + 8, VERSION);
    bytes_put_u32(h + 12, w->eos);
    bytes_put_u64(h + 16, w->counts.rows);
    bytes_put_u64(h + 24, w->counts.samples);
    bytes_put_u64(h + 32, w->counts.tokens);
    bytes_put_u64(h + 40, w->counts.labels);
    bytes_put_u64(h + 48, w->counts.cut_samples);
    bytes_put_u32(h + 56, w->counts.row_tokens_max);
    bytes_put_u32(h + 60, w->counts.id_max);
}

int tokfile_writer_save(struct tokfile_writer *w, const char *path, struct err *e)
{
    end_row(w);
    add_start(w);
    unsigned char header[HEADER_BYTES];
    put_header(header, w);
    struct sha256 *sum = sha256_open();
    sha256_add(sum, header, sizeof header);
    sha256_add(sum, w->starts.bytes, w->starts.n_bytes);
    if (w->tokens.n_bytes)
        sha256_add(sum, w->tokens.bytes, w->tokens.n_bytes);
    struct content_id id = sha256_close(sum);
    sha256_to_raw(id.hex, header + SUM_OFFSET);

    struct file_out f = {0};
    int rc = file_out_open(&f, path, e);
    if (rc)
        return rc;
    file_out_add(&f, header, sizeof header);
    file_out_add(&f, w->starts.bytes, w->starts.n_bytes);
    if (w->tokens.n_bytes)
        file_out_add(&f, w->tokens.bytes, w->tokens.n_bytes);
    return file_out_close(&f, e);
}

void tokfile_writer_release(struct tokfile_writer *w)
{
    buf_release(&w->starts);
    buf_release(&w->tokens);
    memset(w, 0, sizeof *w);
}

static const unsigned char *starts_of(const struct tokfile *t)
{
    return t->map.bytes + HEADER_BYTES;
}

static const unsigned char *tokens_of(const struct tokfile *t)
{
    return starts_of(t) + (t->counts.rows + 1) * 8;
}

static uint64_t start_at(const struct tokfile *t, uint64_t row)
{
    return bytes_get_u64(starts_of(t) + row * 8);
}

/* Lengths first: nothing behind the header is touched before they agree with the file. */
static int read_header(struct tokfile *t, struct err *e)
{
    const unsigned char *h = t->map.bytes;
    size_t n = t->map.n_bytes;
    if (n < HEADER_BYTES)
        return err_set(e, ERR_FORMAT, "truncated: %zu bytes, a tokens file has at least %d", n,
                       HEADER_BYTES);
    if (memcmp(h, MAGIC, 8) != 0)
        return err_set(e, ERR_FORMAT, "not a tokens file (no %s at its start)", MAGIC);
    if (bytes_get_u32(h + 8) != VERSION)
        return err_set(e, ERR_FORMAT, "version %u of the tokens format, this program reads %d",
                       bytes_get_u32(h + 8), VERSION);
    t->eos = bytes_get_u32(h + 12);
    struct tokfile_counts *c = &t->counts;
    c->rows = bytes_get_u64(h + 16);
    c->samples = bytes_get_u64(h + 24);
    c->tokens = bytes_get_u64(h + 32);
    c->labels = bytes_get_u64(h + 40);
    c->cut_samples = bytes_get_u64(h + 48);
    c->row_tokens_max = bytes_get_u32(h + 56);
    c->id_max = bytes_get_u32(h + 60);
    uint64_t rest = n - HEADER_BYTES;
    if (c->rows > rest / 8 || c->tokens > rest / 4 || rest != (c->rows + 1) * 8 + c->tokens * 4)
        return err_set(e, ERR_FORMAT,
                       "truncated or damaged: %zu bytes do not hold %llu rows and %llu tokens", n,
                       (unsigned long long)c->rows, (unsigned long long)c->tokens);
    return 0;
}

static int check_sum(const struct tokfile *t, struct err *e)
{
    static const unsigned char zero[SHA256_BYTES];
    struct sha256 *sum = sha256_open();
    sha256_add(sum, t->map.bytes, SUM_OFFSET);
    sha256_add(sum, zero, SHA256_BYTES);
    sha256_add(sum, t->map.bytes + HEADER_BYTES, t->map.n_bytes - HEADER_BYTES);
    struct content_id id = sha256_close(sum);
    unsigned char want[SHA256_BYTES];
    sha256_to_raw(id.hex, want);
    if (memcmp(want, t->map.bytes + SUM_OFFSET, SHA256_BYTES) != 0)
        return err_set(e, ERR_FORMAT, "damaged: the checksum does not match the content");
    return 0;
}

/* Adds one row's real counts to `seen`. */
static int check_row(const struct tokfile *t, uint64_t row, struct tokfile_counts *seen,
                     struct err *e)
{
    uint64_t from = start_at(t, row), to = start_at(t, row + 1);
    if (from != seen->tokens || to <= from || to > t->counts.tokens || to - from > UINT32_MAX)
        return err_set(e, ERR_FORMAT, "row %llu: starts at token %llu and ends at %llu of %llu",
                       (unsigned long long)row + 1, (unsigned long long)from,
                       (unsigned long long)to, (unsigned long long)t->counts.tokens);
    for (uint64_t i = from; i < to; i++) {
        uint32_t v = bytes_get_u32(tokens_of(t) + i * 4), id = v & ~TOKFILE_LABEL;
        bool is_first = id == t->eos;
        if ((i == from) > is_first || (is_first && (v & TOKFILE_LABEL)))
            return err_set(e, ERR_FORMAT, "row %llu: %s", (unsigned long long)row + 1,
                           is_first ? "a label on a sample's first token"
                                    : "does not start with the end-of-text token");
        seen->samples += is_first;
        seen->labels += (v & TOKFILE_LABEL) != 0;
        if (id > seen->id_max)
            seen->id_max = id;
    }
    seen->tokens = to;
    if (to - from > seen->row_tokens_max)
        seen->row_tokens_max = (uint32_t)(to - from);
    return 0;
}

static int check_rows(const struct tokfile *t, struct err *e)
{
    struct tokfile_counts seen = {.rows = t->counts.rows, .cut_samples = t->counts.cut_samples};
    for (uint64_t row = 0; row < t->counts.rows; row++) {
        int rc = check_row(t, row, &seen, e);
        if (rc)
            return rc;
    }
    const struct tokfile_counts *c = &t->counts;
    if (start_at(t, c->rows) != c->tokens || seen.tokens != c->tokens ||
        seen.samples != c->samples || seen.labels != c->labels || seen.id_max != c->id_max ||
        seen.row_tokens_max != c->row_tokens_max || c->cut_samples > c->samples)
        return err_set(e, ERR_FORMAT, "the counts in the header are not those of the rows");
    return 0;
}

int tokfile_open(struct tokfile *t, const char *path, struct err *e)
{
    memset(t, 0, sizeof *t);
    int rc = file_map_open(&t->map, path, e);
    if (rc)
        return rc;
    rc = read_header(t, e);
    if (!rc)
        rc = check_sum(t, e);
    if (!rc)
        rc = check_rows(t, e);
    if (rc) {
        err_wrap(e, "%s", path);
        tokfile_close(t);
    }
    return rc;
}

void tokfile_close(struct tokfile *t)
{
    file_map_close(&t->map);
    memset(t, 0, sizeof *t);
}

uint32_t tokfile_row_tokens(const struct tokfile *t, uint64_t row)
{
    CHECK(row < t->counts.rows);
    return (uint32_t)(start_at(t, row + 1) - start_at(t, row));
}

uint32_t tokfile_row_labels(const struct tokfile *t, uint64_t row)
{
    uint32_t n = tokfile_row_tokens(t, row), labels = 0;
    for (uint32_t i = 0; i < n; i++)
        labels += tokfile_label(t, row, i);
    return labels;
}

static uint32_t value_at(const struct tokfile *t, uint64_t row, uint32_t i)
{
    DCHECK(i < tokfile_row_tokens(t, row));
    return bytes_get_u32(tokens_of(t) + (start_at(t, row) + i) * 4);
}

int32_t tokfile_id(const struct tokfile *t, uint64_t row, uint32_t i)
{
    return (int32_t)(value_at(t, row, i) & ~TOKFILE_LABEL);
}

bool tokfile_label(const struct tokfile *t, uint64_t row, uint32_t i)
{
    return (value_at(t, row, i) & TOKFILE_LABEL) != 0;
}

/* Tokens of the longest sample, 0 without rows; *row is where it is. */
static uint32_t longest_sample(const struct tokfile *t, uint64_t *row)
{
    uint32_t longest = 0;
    for (uint64_t r = 0; r < t->counts.rows; r++) {
        uint32_t n = tokfile_row_tokens(t, r), start = 0;
        for (uint32_t i = 0; i <= n; i++) {
            if (i < n && (i == 0 || tokfile_id(t, r, i) != (int32_t)t->eos))
                continue;
            if (i - start > longest) {
                longest = i - start;
                *row = r;
            }
            start = i;
        }
    }
    return longest;
}

int tokfile_check_model(const struct tokfile *t, const char *name, int vocab, int context,
                        struct err *e)
{
    uint64_t row = 0;
    uint32_t longest = longest_sample(t, &row);
    if (t->counts.labels == 0)
        return err_set(e, ERR_CONFIG, "%s: no labelled token in %llu rows", name,
                       (unsigned long long)t->counts.rows);
    if (t->counts.id_max >= (uint32_t)vocab)
        return err_set(e, ERR_CONFIG, "%s: token id %u, the model has a vocabulary of %d", name,
                       t->counts.id_max, vocab);
    if (longest > (uint32_t)context)
        return err_set(e, ERR_CONFIG, "%s: row %llu has a sample of %u tokens, the context is %d",
                       name, (unsigned long long)row + 1, longest, context);
    return 0;
}
