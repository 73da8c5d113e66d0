#include "pipeline/base/zfile.h"

/* For two parameters that are not in the stable part: Huffman codes without a search, and decoding
 * without comparing checksums. A library that knows them not does the same, slower. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"

/* A frame is not damaged because there is no memory to read it. */
static void need_memory(size_t code)
{
    if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
        xneed(NULL);
}

int zfile_stream(const char *name, const void *packed, size_t n_packed, uint64_t max_bytes,
                 const struct zfile_sink *s, uint64_t *raw_bytes, struct err *e)
{
    ZSTD_DCtx *context = xneed(ZSTD_createDCtx());
    size_t room = ZSTD_DStreamOutSize();
    unsigned long long said = ZSTD_getFrameContentSize(packed, n_packed);
    if (said < room) /* a block for small objects too is most of the time that they take */
        room = (size_t)said + 1;
    void *block = xalloc(room);
    ZSTD_inBuffer in = {packed, n_packed, 0};
    uint64_t total = 0;
    size_t wanted = 1;
    int rc = 0;
    while (rc == 0 && (in.pos < in.size || wanted != 0)) {
        ZSTD_outBuffer piece = {block, room, 0};
        size_t before = in.pos;
        wanted = ZSTD_decompressStream(context, &piece, &in);
        need_memory(wanted);
        if (ZSTD_isError(wanted) && before == 0)
            rc = err_set(e, ERR_FORMAT, "%s: expected zstd data, found something else (%s)", name,
                         ZSTD_getErrorName(wanted));
        else if (ZSTD_isError(wanted))
            rc = err_set(e, ERR_FORMAT, "%s: broken zstd data near byte %zu: %s", name, before,
                         ZSTD_getErrorName(wanted));
        else if (piece.pos == 0 && in.pos == before && in.pos == in.size)
            rc = err_set(e, ERR_FORMAT,
                         "%s: zstd data ends in the middle of a frame: the file was cut off", name);
        else if (piece.pos > max_bytes - total)
            rc = err_set(e, ERR_LIMIT, "%s: unpacks to more than %llu bytes", name,
                         (unsigned long long)max_bytes);
        else
            s->add(s->context, block, piece.pos);
        total += piece.pos;
    }
    xfree(block);
    ZSTD_freeDCtx(context);
    if (rc == 0 && raw_bytes != NULL)
        *raw_bytes = total;
    return rc;
}

static int stream_file(const char *from, uint64_t max_bytes, const struct zfile_sink *s,
                       uint64_t *raw_bytes, struct err *e)
{
    struct file_map m;
    int rc = file_map_open(&m, from, e);
    if (rc != 0)
        return rc;
    rc = zfile_stream(from, m.bytes, m.n_bytes, max_bytes, s, raw_bytes, e);
    file_map_close(&m);
    return rc;
}

static void add_to_buf(void *context, const void *bytes, size_t n_bytes)
{
    buf_add(context, bytes, n_bytes);
}

int zfile_read(const char *from, uint64_t max_bytes, struct buf *out, struct err *e)
{
    buf_clear(out);
    struct zfile_sink s = {add_to_buf, out};
    uint64_t room = out->max_bytes - 1;
    return stream_file(from, max_bytes < room ? max_bytes : room, &s, NULL, e);
}

struct zcoder {
    ZSTD_CCtx *pack;
    ZSTD_DCtx *unpack;
};

struct zcoder *zcoder_open(void)
{
    return xalloc(sizeof(struct zcoder));
}

void zcoder_close(struct zcoder *z)
{
    if (z == NULL)
        return;
    ZSTD_freeCCtx(z->pack);
    ZSTD_freeDCtx(z->unpack);
    xfree(z);
}

size_t zframe_bound(size_t n_bytes)
{
    return ZSTD_compressBound(n_bytes);
}

/* ZFRAME_ENTROPY: a level so far below zero that hardly a position is looked at, with the smallest
 * table; what such levels leave out, Huffman codes, is asked for again. */
static void set_kind(ZSTD_CCtx *c, enum zframe_kind kind)
{
    int level = kind == ZFRAME_TEXT ? 3 : kind == ZFRAME_FAST ? 1 : ZSTD_minCLevel();
    ZSTD_CCtx_reset(c, ZSTD_reset_session_and_parameters);
    ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    if (kind != ZFRAME_ENTROPY)
        return;
    ZSTD_CCtx_setParameter(c, ZSTD_c_hashLog, ZSTD_HASHLOG_MIN);
    ZSTD_CCtx_setParameter(c, ZSTD_c_minMatch, ZSTD_MINMATCH_MAX);
    ZSTD_CCtx_setParameter(c, ZSTD_c_literalCompressionMode, ZSTD_lcm_huffman);
}

size_t zframe_pack(struct zcoder *z, enum zframe_kind kind, const void *bytes, size_t n_bytes,
                   void *to, size_t room)
{
    CHECK(room >= ZSTD_compressBound(n_bytes));
    if (z->pack == NULL)
        z->pack = xneed(ZSTD_createCCtx());
    set_kind(z->pack, kind);
    size_t n = ZSTD_compress2(z->pack, to, room, bytes, n_bytes);
    need_memory(n);
    CHECK(!ZSTD_isError(n));
    return n;
}

bool zframe_unpack(struct zcoder *z, const void *frame, size_t frame_bytes, bool checksum, void *to,
                   size_t n_bytes)
{
    if (z->unpack == NULL)
        z->unpack = xneed(ZSTD_createDCtx());
    ZSTD_DCtx_setParameter(z->unpack, ZSTD_d_forceIgnoreChecksum,
                           checksum ? ZSTD_d_validateChecksum : ZSTD_d_ignoreChecksum);
    size_t n = ZSTD_decompressDCtx(z->unpack, to, n_bytes, frame, frame_bytes);
    need_memory(n);
    return n == n_bytes;
}

size_t zframe_size(const void *frames, size_t n_bytes)
{
    size_t n = ZSTD_findFrameCompressedSize(frames, n_bytes);
    return ZSTD_isError(n) ? 0 : n;
}
