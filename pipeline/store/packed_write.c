#include "pipeline/store/packed.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/thread.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/base/zfile.h"
#include "pipeline/store/packed_form.h"
#include "pipeline/store/planes.h"

/*
 * A file goes through in batches of chunks. In round t, at the same time: batch t is read, batch
 * t - 1 is hashed, copied and packed, and what was packed of batch t - 2 is written:
 *
 *   round   read   hash, copy, pack   write
 *     0      0
 *     1      1            0
 *     2      2            1             0
 *
 * so that of raw and of packed bytes two batches are kept. SHA-256 has one chain over the raw bytes
 * and one over the packed ones: these two and the files have an order, packing has none.
 */
#define BATCH_BYTES ((size_t)8 << 20)
#define THREADS_MAX 4
#define THREADED_BYTES                                                        \
    ((uint64_t)1 << 20) /* a smaller file is done before a thread has started \
                         */
#define TEXT_SAMPLE_BYTES 4096

struct piece {
    size_t raw_bytes, n_frames, packed_bytes;
    size_t sizes[PLANES_MAX]; /* of its frames */
};

struct raw_batch {
    unsigned char *bytes;
    size_t n_bytes;
};

struct packed_batch {
    unsigned char *bytes; /* a piece's frames at i * room */
    struct piece *pieces;
    size_t n_pieces;
};

struct writer {
    const char *path;
    int fd;
    struct stat before;
    uint64_t n_bytes, n_read;
    int read_problem; /* errno */
    struct planes_plan plan;
    size_t chunk_bytes, batch_chunks, room;
    bool is_single; /* one frame, no table */
    struct file_out to, copy;
    struct sha256 *id, *seal;
    struct buf table;
    struct thread_pool *pool;
    struct zcoder *coders[THREADS_MAX];
    unsigned char *splits[THREADS_MAX];
    struct raw_batch raws[2];
    struct packed_batch packs[2];
    size_t round, n_batches;
    const struct packed_order *order;
    bool given_up;
};

static int open_source(struct writer *w, uint64_t max_bytes, struct err *e)
{
    w->fd = open(w->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (w->fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return err_set(e, ERR_MISSING, "%s: no such file", w->path);
    if (w->fd < 0)
        return err_set_errno(e, errno, "%s: cannot open", w->path);
    if (fstat(w->fd, &w->before) != 0 || !S_ISREG(w->before.st_mode))
        return err_set(e, ERR_FORMAT, "%s: not a regular file", w->path);
    w->n_bytes = (uint64_t)w->before.st_size;
    if (w->n_bytes > max_bytes)
        return err_set(e, ERR_LIMIT, "%s: larger than the limit of %llu bytes", w->path,
                       (unsigned long long)max_bytes);
    return 0;
}

/* Returns what was read, less than n at the file's end; an error is kept in read_problem. */
static size_t read_at(struct writer *w, uint64_t at, unsigned char *to, size_t n)
{
    size_t got = 0;
    while (got < n) {
        ssize_t k = pread(w->fd, to + got, n - got, (off_t)(at + got));
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            w->read_problem = errno;
        if (k <= 0)
            break;
        got += (size_t)k;
    }
    return got;
}

/* Text is looked at again and again and gains from a search for repetitions. What else there is
 * gains little: it is split or not, coded or not, as its samples say. */
static struct planes_plan choose_plan(struct writer *w)
{
    unsigned char head[TEXT_SAMPLE_BYTES];
    size_t n = read_at(w, 0, head, sizeof head);
    if (n == 0 || (memchr(head, 0, n) == NULL && str_utf8_prefix((char *)head, n) + 3 >= n))
        return (struct planes_plan){1, {ZFRAME_TEXT}};
    if (w->n_bytes < PLANES_CHUNK_BYTES)
        return (struct planes_plan){1, {ZFRAME_FAST}};
    unsigned char *samples = xalloc(PLANES_SAMPLES * PLANES_SAMPLE_BYTES);
    uint64_t step = (w->n_bytes - PLANES_SAMPLE_BYTES) / (PLANES_SAMPLES - 1);
    for (size_t i = 0; i < PLANES_SAMPLES; i++)
        read_at(w, i * step / PLANES_MAX * PLANES_MAX, samples + i * PLANES_SAMPLE_BYTES,
                PLANES_SAMPLE_BYTES);
    struct planes_plan plan = planes_choose(samples, PLANES_SAMPLES);
    xfree(samples);
    return plan;
}

static void prepare(struct writer *w)
{
    w->plan = choose_plan(w);
    w->chunk_bytes = w->plan.width > 1 ? PLANES_CHUNK_BYTES : PACKED_CHUNK_BYTES;
    w->is_single = w->plan.width == 1 && w->n_bytes <= PACKED_CHUNK_BYTES;
    if (w->is_single && w->n_bytes > 0)
        w->chunk_bytes = (size_t)w->n_bytes;
    int n_threads = w->n_bytes < THREADED_BYTES ? 1 : thread_cpus();
    if (n_threads > THREADS_MAX)
        n_threads = THREADS_MAX;
    w->batch_chunks = n_threads > 1 && !w->is_single ? BATCH_BYTES / w->chunk_bytes : 1;
    while ((w->batch_chunks - 1) * w->chunk_bytes >= w->n_bytes && w->batch_chunks > 1)
        w->batch_chunks--;
    size_t batch_bytes = w->batch_chunks * w->chunk_bytes;
    w->n_batches = (size_t)((w->n_bytes + batch_bytes - 1) / batch_bytes);
    if (w->n_batches == 0)
        w->n_batches = 1; /* an empty file is one empty frame */
    w->room = w->plan.width * zframe_bound(w->chunk_bytes / w->plan.width);
    for (size_t i = 0; i < 2 && i < w->n_batches; i++) {
        w->raws[i].bytes = xalloc(batch_bytes);
        w->packs[i].bytes = xalloc_array(w->batch_chunks, w->room);
        w->packs[i].pieces = xalloc_array(w->batch_chunks, sizeof(struct piece));
    }
    for (int i = 0; i < n_threads; i++) {
        w->coders[i] = zcoder_open();
        w->splits[i] = w->plan.width > 1 ? xalloc(w->chunk_bytes) : NULL;
    }
    w->pool = thread_pool_open(n_threads);
    w->id = sha256_open();
    w->seal = sha256_open();
}

/* ---- what is done in a round ---- */

static void read_batch(struct writer *w, struct raw_batch *b)
{
    size_t room = w->batch_chunks * w->chunk_bytes;
    uint64_t left = w->n_bytes - w->n_read;
    b->n_bytes = read_at(w, w->n_read, b->bytes, left < room ? (size_t)left : room);
    w->n_read += b->n_bytes;
}

static void copy_batch(struct writer *w, const struct raw_batch *b)
{
    if (w->copy.stream == NULL)
        return;
    file_out_add(&w->copy, b->bytes, b->n_bytes);
    file_out_start(&w->copy);
}

/* An empty file has one piece, and one frame. */
static void cut_batch(const struct writer *w, const struct raw_batch *from, struct packed_batch *to)
{
    to->n_pieces = 0;
    size_t at = 0;
    do {
        size_t left = from->n_bytes - at;
        size_t n = left < w->chunk_bytes ? left : w->chunk_bytes;
        to->pieces[to->n_pieces++] = (struct piece){.raw_bytes = n};
        at += n;
    } while (at < from->n_bytes);
}

static void pack_piece(struct writer *w, size_t i, const struct raw_batch *from,
                       struct packed_batch *b, int i_thread)
{
    struct piece *p = &b->pieces[i];
    const unsigned char *raw = from->bytes + i * w->chunk_bytes;
    unsigned char *to = b->bytes + i * w->room;
    bool split = w->plan.width > 1 && p->raw_bytes == w->chunk_bytes;
    p->n_frames = split ? w->plan.width : 1;
    if (split) {
        planes_split(w->plan.width, raw, w->splits[i_thread], p->raw_bytes);
        raw = w->splits[i_thread];
    }
    size_t n = p->raw_bytes / p->n_frames;
    for (size_t k = 0; k < p->n_frames; k++) {
        enum zframe_kind kind = w->plan.width > 1 && !split ? ZFRAME_FAST : w->plan.kinds[k];
        p->sizes[k] = zframe_pack(w->coders[i_thread], kind, raw + k * n, n, to + p->packed_bytes,
                                  w->room - p->packed_bytes);
        p->packed_bytes += p->sizes[k];
    }
}

static void put(struct writer *w, const void *bytes, size_t n_bytes)
{
    file_out_add(&w->to, bytes, n_bytes);
    sha256_add(w->seal, bytes, n_bytes);
}

static void write_batch(struct writer *w, const struct packed_batch *b)
{
    for (size_t i = 0; i < b->n_pieces; i++) {
        const struct piece *p = &b->pieces[i];
        put(w, b->bytes + i * w->room, p->packed_bytes);
        for (size_t k = 0; k < p->n_frames; k++)
            packed_table_add(&w->table, p->sizes[k], p->raw_bytes / p->n_frames);
    }
    file_out_start(&w->to);
}

/* The longest first: what has an order cannot be shared. */
enum { ITEM_HASH, ITEM_WRITE, ITEM_READ, ITEM_COPY, ITEM_PACK };

static void work_item(void *context, size_t i, int i_thread)
{
    struct writer *w = context;
    size_t now = w->round % 2, before = (w->round + 1) % 2;
    bool packs = w->round > 0 && w->round <= w->n_batches;
    if (i == ITEM_READ && w->round < w->n_batches)
        read_batch(w, &w->raws[now]);
    else if (i == ITEM_HASH && packs)
        sha256_add(w->id, w->raws[before].bytes, w->raws[before].n_bytes);
    else if (i == ITEM_COPY && packs)
        copy_batch(w, &w->raws[before]);
    else if (i >= ITEM_PACK && packs)
        pack_piece(w, i - ITEM_PACK, &w->raws[before], &w->packs[before], i_thread);
    else if (i == ITEM_WRITE && w->round > 1)
        write_batch(w, &w->packs[now]);
}

static bool has_failed(const struct writer *w)
{
    return w->read_problem != 0 || w->to.problem != 0 || w->copy.problem != 0 || w->given_up;
}

static void work(struct writer *w)
{
    unsigned char header[PACKED_HEADER_BYTES_MAX];
    packed_table_start(&w->table);
    if (w->plan.width > 1) {
        size_t n = packed_put_header(w->plan.width, w->chunk_bytes, w->n_bytes, header);
        put(w, header, n);
        packed_table_add(&w->table, n, 0);
    }
    for (w->round = 0; w->round < w->n_batches + 2 && !has_failed(w); w->round++) {
        size_t before = (w->round + 1) % 2, n_pieces = 0;
        if (w->round > 0 && w->round <= w->n_batches) {
            cut_batch(w, &w->raws[before], &w->packs[before]);
            n_pieces = w->packs[before].n_pieces;
        }
        thread_pool_run(w->pool, ITEM_PACK + n_pieces, work_item, w);
        w->given_up = w->order->on_work && !w->order->on_work(w->order->context);
    }
}

/* Seal and table; the seal covers the table, which lies behind it. */
static void finish(struct writer *w)
{
    unsigned char seal[PACKED_SEAL_BYTES];
    packed_table_add(&w->table, PACKED_SEAL_BYTES, 0);
    packed_table_end(&w->table);
    if (!w->is_single)
        sha256_add(w->seal, w->table.bytes, w->table.n_bytes);
    struct content_id id = sha256_close(w->seal);
    w->seal = NULL;
    packed_put_seal(id.hex, seal);
    file_out_add(&w->to, seal, sizeof seal);
    if (!w->is_single)
        file_out_add(&w->to, w->table.bytes, w->table.n_bytes);
}

static int check_source(const struct writer *w, struct err *e)
{
    struct stat after;
    if (w->read_problem != 0)
        return err_set_errno(e, w->read_problem, "%s: cannot read", w->path);
    if (w->given_up)
        return err_set(e, ERR_IO, "%s: given up before it was stored", w->path);
    if (fstat(w->fd, &after) != 0)
        return err_set_errno(e, errno, "%s: cannot read its state", w->path);
    const struct stat *b = &w->before;
    if (w->n_read == w->n_bytes && after.st_size == b->st_size &&
        after.st_mtim.tv_sec == b->st_mtim.tv_sec && after.st_mtim.tv_nsec == b->st_mtim.tv_nsec)
        return 0;
    return err_set(e, ERR_IO, "%s: changed while it was stored", w->path);
}

static void release(struct writer *w)
{
    thread_pool_close(w->pool);
    for (size_t i = 0; i < THREADS_MAX; i++) {
        zcoder_close(w->coders[i]);
        xfree(w->splits[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        xfree(w->raws[i].bytes);
        xfree(w->packs[i].bytes);
        xfree(w->packs[i].pieces);
    }
    if (w->id != NULL)
        sha256_close(w->id);
    if (w->seal != NULL)
        sha256_close(w->seal);
    if (w->fd >= 0)
        close(w->fd);
    buf_release(&w->table);
}

int packed_write(const struct packed_order *o, struct packed *out, struct err *e)
{
    const char *to = o->to, *raw_to = o->raw_to;
    struct writer w = {.path = o->from, .fd = -1, .order = o};
    buf_init(&w.table, BUF_MAX_DEFAULT);
    int rc = open_source(&w, o->max_bytes, e);
    if (rc == 0)
        rc = file_out_open(&w.to, to, e);
    if (rc == 0 && raw_to != NULL)
        rc = file_out_open(&w.copy, raw_to, e);
    if (rc == 0) {
        prepare(&w);
        work(&w);
        rc = check_source(&w, e);
    }
    if (rc == 0) {
        finish(&w);
        if (fchmod(fileno(w.to.stream), 0444) != 0)
            rc = err_set_errno(e, errno, "%s: cannot make read-only", to);
    }
    if (rc == 0) {
        rc = file_out_close(&w.to, e);
        if (rc != 0)
            unlink(to);
    }
    if (rc == 0 && raw_to != NULL) {
        rc = file_out_close(&w.copy, e);
        if (rc != 0)
            unlink(raw_to);
        if (rc != 0)
            unlink(to);
    }
    file_out_abandon(&w.to);
    file_out_abandon(&w.copy);
    if (rc == 0) {
        *out = (struct packed){
            .id = sha256_close(w.id), .n_bytes = w.n_bytes, .is_planes = w.plan.width > 1};
        w.id = NULL;
    }
    release(&w);
    return rc;
}

int packed_write_bytes(struct zcoder *coder, const void *bytes, size_t n_bytes, const char *to,
                       struct err *e)
{
    size_t room = zframe_bound(n_bytes) + PACKED_SEAL_BYTES;
    unsigned char *packed = xalloc(room);
    size_t n = zframe_pack(coder, ZFRAME_TEXT, bytes, n_bytes, packed, room);
    packed_put_seal(sha256_of(packed, n).hex, packed + n);
    int rc = file_write_read_only(to, packed, n + PACKED_SEAL_BYTES, e);
    if (rc != 0)
        unlink(to);
    xfree(packed);
    return rc;
}
