#include "pipeline/provenance/ledger_loose.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define HEADER_BYTES_MAX 64

/* "blob 123" + NUL: the length of the header with the NUL, 0 when it is none. */
static size_t read_header(const unsigned char *bytes, size_t n, uint64_t *size)
{
    static const char *const types[] = {"blob ", "tree ", "commit ", "tag "};
    const unsigned char *end = memchr(bytes, 0, n < HEADER_BYTES_MAX ? n : HEADER_BYTES_MAX);
    if (end == NULL)
        return 0;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (str_starts((const char *)bytes, types[i]) &&
            str_to_u64((const char *)bytes + strlen(types[i]), size))
            return (size_t)(end - bytes) + 1;
    return 0;
}

/* What is wrong with the file's bytes, or NULL. */
static const char *find_fault(const struct file_map *m)
{
    unsigned char block[1 << 16];
    z_stream z;
    uint64_t size = 0, total = 0;
    size_t header = 0;
    const char *fault = NULL;
    memset(&z, 0, sizeof z);
    if (m->n_bytes > UINT32_MAX || inflateInit(&z) != Z_OK)
        return "too large";
    z.next_in = (unsigned char *)(uintptr_t)m->bytes;
    z.avail_in = (unsigned)m->n_bytes;
    int code = Z_OK;
    while (fault == NULL && code == Z_OK) {
        z.next_out = block;
        z.avail_out = sizeof block;
        code = inflate(&z, Z_NO_FLUSH);
        size_t n = sizeof block - z.avail_out;
        if (total == 0 && n > 0 && (header = read_header(block, n, &size)) == 0)
            fault = "its header is wrong";
        total += n;
        if (header > 0 && total > header + size)
            fault = "longer than its header says";
    }
    if (fault == NULL && code != Z_STREAM_END)
        fault = z.msg != NULL ? z.msg : "its compressed data ends early";
    else if (fault == NULL && z.avail_in > 0)
        fault = "something follows its end";
    else if (fault == NULL && (header == 0 || total != header + size))
        fault = "shorter than its header says";
    inflateEnd(&z);
    return fault;
}

int loose_check(const char *repo, const char *hex, struct err *e)
{
    char *path = xasprintf("%s/objects/%.2s/%s", repo, hex, hex + 2);
    struct file_map m = {0};
    int rc = 0;
    if (file_exists(path)) {
        rc = file_map_open(&m, path, e);
        const char *fault = rc == 0 ? find_fault(&m) : NULL;
        if (fault != NULL)
            rc = err_set(e, ERR_FORMAT, "object %s is damaged: %s: %s", hex, fault, path);
        file_map_close(&m);
    }
    xfree(path);
    return rc;
}
