#include "pipeline/base/zfile.h"

#include <unistd.h>
#include <zstd.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"

static int compress_map(const struct file_map *m, const char *to, int level, struct err *e)
{
    ZSTD_CCtx *context = xneed(ZSTD_createCCtx());
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    ZSTD_CCtx_setPledgedSrcSize(context, m->n_bytes);
    struct file_out out;
    int rc = file_out_open(&out, to, e);
    if (rc != 0) {
        ZSTD_freeCCtx(context);
        return rc;
    }
    size_t room = ZSTD_CStreamOutSize();
    void *block = xalloc(room);
    ZSTD_inBuffer in = {m->bytes, m->n_bytes, 0};
    size_t left = 1;
    while (left != 0) {
        ZSTD_outBuffer piece = {block, room, 0};
        left = ZSTD_compressStream2(context, &piece, &in, ZSTD_e_end);
        CHECK(!ZSTD_isError(left));
        file_out_add(&out, block, piece.pos);
    }
    xfree(block);
    ZSTD_freeCCtx(context);
    rc = file_out_close(&out, e);
    if (rc != 0)
        unlink(to);
    return rc;
}

int zfile_pack(const char *from, const char *to, int level, struct content_id *id,
               uint64_t *raw_bytes, struct err *e)
{
    struct file_map m;
    int rc = file_map_open(&m, from, e);
    if (rc != 0)
        return rc;
    if (id != NULL)
        *id = sha256_of(m.bytes, m.n_bytes);
    if (raw_bytes != NULL)
        *raw_bytes = m.n_bytes;
    rc = compress_map(&m, to, level, e);
    file_map_close(&m);
    return rc;
}

int zfile_pack_bytes(const void *bytes, size_t n_bytes, const char *to, int level, struct err *e)
{
    struct file_map m = {.bytes = bytes, .n_bytes = n_bytes};
    return compress_map(&m, to, level, e);
}

/* Where unpacked bytes go: any of the three, NULL where not wanted. */
struct sink {
    struct sha256 *hash;
    struct file_out *file;
    struct buf *memory;
};

static void sink_add(struct sink *s, const void *bytes, size_t n_bytes)
{
    if (s->hash != NULL)
        sha256_add(s->hash, bytes, n_bytes);
    if (s->file != NULL)
        file_out_add(s->file, bytes, n_bytes);
    if (s->memory != NULL)
        buf_add(s->memory, bytes, n_bytes);
}

static int decompress(const char *from, uint64_t max_bytes, struct sink *s, uint64_t *raw_bytes,
                      struct err *e)
{
    struct file_map m;
    int rc = file_map_open(&m, from, e);
    if (rc != 0)
        return rc;
    ZSTD_DCtx *context = xneed(ZSTD_createDCtx());
    size_t room = ZSTD_DStreamOutSize();
    unsigned long long said = ZSTD_getFrameContentSize(m.bytes, m.n_bytes);
    if (said < room) /* a block for small objects too is most of the time that they take */
        room = (size_t)said + 1;
    void *block = xalloc(room);
    ZSTD_inBuffer in = {m.bytes, m.n_bytes, 0};
    uint64_t total = 0;
    size_t wanted = 1;
    while (rc == 0 && (in.pos < in.size || wanted != 0)) {
        ZSTD_outBuffer piece = {block, room, 0};
        size_t before = in.pos;
        wanted = ZSTD_decompressStream(context, &piece, &in);
        if (ZSTD_isError(wanted) && before == 0)
            rc = err_set(e, ERR_FORMAT, "%s: expected zstd data, found something else (%s)", from,
                         ZSTD_getErrorName(wanted));
        else if (ZSTD_isError(wanted))
            rc = err_set(e, ERR_FORMAT, "%s: broken zstd data near byte %zu: %s", from, before,
                         ZSTD_getErrorName(wanted));
        else if (piece.pos == 0 && in.pos == before && in.pos == in.size)
            rc = err_set(e, ERR_FORMAT,
                         "%s: zstd data ends in the middle of a frame: the file was cut off", from);
        else if (piece.pos > max_bytes - total)
            rc = err_set(e, ERR_LIMIT, "%s: unpacks to more than %llu bytes", from,
                         (unsigned long long)max_bytes);
        else
            sink_add(s, block, piece.pos);
        total += piece.pos;
    }
    xfree(block);
    ZSTD_freeDCtx(context);
    file_map_close(&m);
    if (rc == 0 && raw_bytes != NULL)
        *raw_bytes = total;
    return rc;
}

int zfile_unpack(const char *from, const char *to, uint64_t max_bytes, struct content_id *id,
                 uint64_t *raw_bytes, struct err *e)
{
    struct file_out out = {0};
    struct sink s = {.file = NULL};
    if (to != NULL) {
        int rc = file_out_open(&out, to, e);
        if (rc != 0)
            return rc;
        s.file = &out;
    }
    s.hash = sha256_open();
    int rc = decompress(from, max_bytes, &s, raw_bytes, e);
    struct content_id found = sha256_close(s.hash);
    if (to != NULL && rc == 0) {
        rc = file_out_close(&out, e);
        if (rc != 0)
            unlink(to);
    }
    file_out_abandon(&out);
    if (rc == 0 && id != NULL)
        *id = found;
    return rc;
}

int zfile_read(const char *from, uint64_t max_bytes, struct buf *out, struct err *e)
{
    buf_clear(out);
    struct sink s = {.memory = out};
    uint64_t room = out->max_bytes - 1;
    return decompress(from, max_bytes < room ? max_bytes : room, &s, NULL, e);
}
