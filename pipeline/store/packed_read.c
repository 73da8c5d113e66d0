#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/thread.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/base/zfile.h"
#include "pipeline/store/packed.h"
#include "pipeline/store/packed_form.h"
#include "pipeline/store/planes.h"

/*
 * As a file is written, in batches of chunks; in round t, at the same time: batch t is unpacked,
 * and its packed bytes are hashed for the seal; batch t - 1 is hashed and goes to the sink. Of raw
 * bytes two batches are kept.
 */
#define BATCH_BYTES ((size_t)8 << 20)
#define SINGLE_BATCH_BYTES \
    ((size_t)256 << 10) /* one thread: what it has unpacked is in its cache */
#define THREADS_MAX 4
#define THREADED_BYTES ((uint64_t)1 << 20)

struct batch {
    unsigned char *bytes;
    size_t n_bytes;
    struct packed_chunk *chunks;
    size_t n_chunks;
};

struct reader {
    const struct packed_form *form;
    const struct zfile_sink *sink;
    struct sha256 *id, *seal; /* NULL when nothing is to be hashed */
    bool compare_checksums;
    size_t batch_chunks;
    struct thread_pool *pool;
    struct zcoder *coders[THREADS_MAX];
    unsigned char *splits[THREADS_MAX];
    bool broken[THREADS_MAX];
    struct batch batches[2];
    size_t round;
};

static void prepare(struct reader *r, uint64_t n_bytes)
{
    int n_threads = n_bytes < THREADED_BYTES ? 1 : thread_cpus();
    if (n_threads > THREADS_MAX)
        n_threads = THREADS_MAX;
    size_t chunk = r->form->chunk_bytes;
    size_t wanted = n_threads > 1 ? BATCH_BYTES : SINGLE_BATCH_BYTES;
    if (wanted > n_bytes)
        wanted = (size_t)n_bytes;
    r->batch_chunks = (wanted + chunk - 1) / chunk;
    if (r->batch_chunks == 0)
        r->batch_chunks = 1;
    for (size_t i = 0; i < 2; i++) {
        r->batches[i].bytes = xalloc_array(r->batch_chunks, chunk);
        r->batches[i].chunks = xalloc_array(r->batch_chunks, sizeof(struct packed_chunk));
    }
    for (int i = 0; i < n_threads; i++) {
        r->coders[i] = zcoder_open();
        r->splits[i] = r->form->width > 1 ? xalloc(chunk) : NULL;
    }
    r->pool = thread_pool_open(n_threads);
}

static void release(struct reader *r)
{
    thread_pool_close(r->pool);
    for (size_t i = 0; i < THREADS_MAX; i++) {
        zcoder_close(r->coders[i]);
        xfree(r->splits[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        xfree(r->batches[i].bytes);
        xfree(r->batches[i].chunks);
    }
}

static bool unpack_chunk(struct reader *r, const struct packed_chunk *c, unsigned char *to,
                         int i_thread)
{
    bool split = c->n_frames > 1;
    unsigned char *planes = split ? r->splits[i_thread] : to;
    const unsigned char *frame = c->frames;
    size_t n = c->raw_bytes / c->n_frames;
    for (size_t k = 0; k < c->n_frames; k++) {
        size_t frame_bytes = packed_frame_bytes(r->form, c->i_frame + k);
        if (!zframe_unpack(r->coders[i_thread], frame, frame_bytes, r->compare_checksums,
                           planes + k * n, n))
            return false;
        frame += frame_bytes;
    }
    if (split)
        planes_merge(c->n_frames, planes, to, c->raw_bytes);
    return true;
}

/* The longest first: what has an order cannot be shared. */
enum { ITEM_HASH, ITEM_SEAL, ITEM_SINK, ITEM_UNPACK };

static void work_item(void *context, size_t i, int i_thread)
{
    struct reader *r = context;
    struct batch *now = &r->batches[r->round % 2];
    struct batch *before = &r->batches[(r->round + 1) % 2];
    if (i == ITEM_HASH && r->id != NULL) {
        sha256_add(r->id, before->bytes, before->n_bytes);
    } else if (i == ITEM_SEAL && r->seal != NULL) {
        for (size_t k = 0; k < now->n_chunks; k++)
            sha256_add(r->seal, now->chunks[k].frames, now->chunks[k].packed_bytes);
    } else if (i == ITEM_SINK && r->sink != NULL && before->n_bytes > 0) {
        r->sink->add(r->sink->context, before->bytes, before->n_bytes);
    } else if (i >= ITEM_UNPACK) {
        size_t k = i - ITEM_UNPACK;
        if (!unpack_chunk(r, &now->chunks[k], now->bytes + k * r->form->chunk_bytes, i_thread))
            r->broken[i_thread] = true;
    }
}

/* Everything from the chunk behind *c on; false when a frame is broken. */
static bool work(struct reader *r, struct packed_chunk *c, size_t n_chunks)
{
    bool good = true, last = false;
    for (r->round = 0; good && !last; r->round++) {
        struct batch *now = &r->batches[r->round % 2];
        now->n_chunks = 0;
        now->n_bytes = 0;
        while (n_chunks > 0 && now->n_chunks < r->batch_chunks && packed_next_chunk(r->form, c)) {
            now->chunks[now->n_chunks++] = *c;
            now->n_bytes += c->raw_bytes;
            n_chunks--;
        }
        last = now->n_chunks == 0;
        thread_pool_run(r->pool, ITEM_UNPACK + now->n_chunks, work_item, r);
        for (size_t i = 0; i < THREADS_MAX; i++)
            good &= !r->broken[i];
    }
    return good;
}

static int read_form(const char *path, const struct packed_form *f, bool check_seal,
                     const struct zfile_sink *s, struct packed *out, struct err *e)
{
    struct reader r = {.form = f, .sink = s, .id = sha256_open()};
    struct packed_chunk c = {0};
    int rc = 0;
    if (check_seal) {
        r.seal = sha256_open();
        sha256_add(r.seal, f->file, (size_t)(f->frames - f->file));
    }
    prepare(&r, f->n_bytes);
    if (!work(&r, &c, SIZE_MAX))
        rc = err_set(e, ERR_FORMAT, "%s: broken zstd data", path);
    release(&r);
    *out = (struct packed){sha256_close(r.id), f->n_bytes, f->width > 1};
    if (check_seal) {
        sha256_add(r.seal, f->table, f->file_bytes - (size_t)(f->table - f->file));
        struct content_id sum = sha256_close(r.seal);
        if (rc == 0 && !packed_seal_is(f->seal, sum.hex))
            rc = err_set(e, ERR_FORMAT, "%s: its bytes are not those that were written", path);
    }
    return rc;
}

/* ---- files without a table ---- */

struct hashed {
    struct sha256 *id;
    const struct zfile_sink *sink;
};

static void add_hashed(void *context, const void *bytes, size_t n_bytes)
{
    struct hashed *h = context;
    sha256_add(h->id, bytes, n_bytes);
    if (h->sink != NULL)
        h->sink->add(h->sink->context, bytes, n_bytes);
}

static int read_stream(const char *path, const struct file_map *m, uint64_t max_bytes,
                       bool check_seal, const struct zfile_sink *s, struct packed *out,
                       struct err *e)
{
    struct hashed h = {sha256_open(), s};
    *out = (struct packed){.is_planes = false};
    struct zfile_sink all = {add_hashed, &h};
    int rc = zfile_stream(path, m->bytes, m->n_bytes, max_bytes, &all, &out->n_bytes, e);
    out->id = sha256_close(h.id);
    return rc == 0 && check_seal ? packed_check_seal(path, m->bytes, m->n_bytes, e) : rc;
}

static int damaged_planes(const char *path, struct err *e)
{
    return err_set(e, ERR_FORMAT,
                   "%s: expected planes with their seek table, found a part of them or damage",
                   path);
}

int packed_read(const char *from, uint64_t max_bytes, bool check_seal, const struct zfile_sink *s,
                struct packed *out, struct err *e)
{
    struct file_map m;
    struct packed_form f;
    int rc = file_map_open(&m, from, e);
    if (rc != 0)
        return rc;
    if (!packed_form_read(m.bytes, m.n_bytes, &f))
        rc = packed_has_header(m.bytes, m.n_bytes)
                 ? damaged_planes(from, e)
                 : read_stream(from, &m, max_bytes, check_seal, s, out, e);
    else if (f.n_bytes > max_bytes)
        rc = err_set(e, ERR_LIMIT, "%s: unpacks to more than %llu bytes", from,
                     (unsigned long long)max_bytes);
    else
        rc = read_form(from, &f, check_seal, s, out, e);
    file_map_close(&m);
    return rc;
}

/* ---- ranges ---- */

/* Passes on what is in [from, to) of bytes that come in order. */
struct window {
    uint64_t from, to, at;
    const struct zfile_sink *sink;
};

static void add_window(void *context, const void *bytes, size_t n_bytes)
{
    struct window *w = context;
    uint64_t start = w->at, end = w->at + n_bytes;
    w->at = end;
    if (start < w->from)
        start = w->from;
    if (end > w->to)
        end = w->to;
    if (start < end)
        w->sink->add(w->sink->context, (const unsigned char *)bytes + (start - (w->at - n_bytes)),
                     (size_t)(end - start));
}

static int read_chunks(const char *path, const struct packed_form *f, struct window *w,
                       struct err *e)
{
    struct zfile_sink cut = {add_window, w};
    struct reader r = {.form = f, .sink = &cut, .compare_checksums = true};
    struct packed_chunk c = {0}, next = {0};
    while (packed_next_chunk(f, &next) && next.at + next.raw_bytes <= w->from)
        c = next;
    w->at = next.at;
    uint64_t n = w->to - w->from;
    prepare(&r, n);
    bool good = work(&r, &c, (size_t)((w->to - next.at + f->chunk_bytes - 1) / f->chunk_bytes));
    release(&r);
    return good ? 0 : err_set(e, ERR_FORMAT, "%s: broken zstd data", path);
}

int packed_read_range(const char *from, uint64_t offset, uint64_t n_bytes,
                      const struct zfile_sink *s, struct err *e)
{
    struct file_map m;
    struct packed_form f;
    struct window w = {.from = offset, .to = offset + n_bytes, .sink = s};
    struct zfile_sink cut = {add_window, &w};
    uint64_t has = 0;
    int rc = file_map_open(&m, from, e);
    if (rc != 0)
        return rc;
    bool indexed = packed_form_read(m.bytes, m.n_bytes, &f);
    if (indexed)
        has = f.n_bytes;
    else if (packed_has_header(m.bytes, m.n_bytes))
        rc = damaged_planes(from, e);
    else
        rc = zfile_stream(from, m.bytes, m.n_bytes, UINT64_MAX, &cut, &has, e);
    if (rc == 0 && (offset > has || n_bytes > has - offset))
        rc = err_set(e, ERR_LIMIT, "%s: holds %llu bytes: no %llu from byte %llu on", from,
                     (unsigned long long)has, (unsigned long long)n_bytes,
                     (unsigned long long)offset);
    else if (rc == 0 && indexed && n_bytes > 0)
        rc = read_chunks(from, &f, &w, e);
    file_map_close(&m);
    return rc;
}
