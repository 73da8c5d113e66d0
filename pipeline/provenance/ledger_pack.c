#include "pipeline/provenance/ledger_pack.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define SHA1_BYTES 20
#define BLOCK_BYTES 64

/* SHA-1 (FIPS 180-4) against accidents only; what the record rests on is SHA-256. */
struct sha1 {
    uint32_t h[5];
};

static uint32_t rotate(uint32_t x, int n)
{
    return x << n | x >> (32 - n);
}

static void sha1_block(struct sha1 *s, const unsigned char *p)
{
    uint32_t w[80];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = s->h[0], b = s->h[1], c = s->h[2], d = s->h[3], e = s->h[4];
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999u
                     : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1u
                     : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcu
                              : (b ^ c ^ d) + 0xca62c1d6u;
        uint32_t t = rotate(a, 5) + f + e + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = t;
    }
    s->h[0] += a;
    s->h[1] += b;
    s->h[2] += c;
    s->h[3] += d;
    s->h[4] += e;
}

static void sha1_of(const unsigned char *bytes, size_t n, unsigned char out[SHA1_BYTES])
{
    struct sha1 s = {{0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u, 0xc3d2e1f0u}};
    unsigned char tail[2 * BLOCK_BYTES] = {0};
    size_t whole = n / BLOCK_BYTES * BLOCK_BYTES;
    for (size_t i = 0; i < whole; i += BLOCK_BYTES)
        sha1_block(&s, bytes + i);
    memcpy(tail, bytes + whole, n - whole);
    tail[n - whole] = 0x80;
    size_t n_tail = n - whole + 9 <= BLOCK_BYTES ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    uint64_t bits = (uint64_t)n * 8;
    for (size_t i = 0; i < 8; i++)
        tail[n_tail - 1 - i] = (unsigned char)(bits >> (8 * i));
    for (size_t i = 0; i < n_tail; i += BLOCK_BYTES)
        sha1_block(&s, tail + i);
    for (size_t i = 0; i < SHA1_BYTES; i++)
        out[i] = (unsigned char)(s.h[i / 4] >> (24 - 8 * (i % 4)));
}

static bool has_trailer(const char *name)
{
    static const char *const ends[] = {
        ".pack", ".idx", ".rev", ".bitmap", "commit-graph", ".graph", "multi-pack-index"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (str_ends(name, ends[i]))
            return true;
    return false;
}

static void check_file(const char *path, struct buf *damage)
{
    struct file_map m;
    struct err e = {0};
    unsigned char sum[SHA1_BYTES];
    if (file_map_open(&m, path, &e) != 0) {
        buf_printf(damage, "%s\n", e.text);
        return;
    }
    if (m.n_bytes < SHA1_BYTES) {
        buf_printf(damage, "%s is damaged: it is too short\n", path);
    } else {
        sha1_of(m.bytes, m.n_bytes - SHA1_BYTES, sum);
        if (memcmp(sum, m.bytes + m.n_bytes - SHA1_BYTES, SHA1_BYTES) != 0)
            buf_printf(damage, "%s is damaged: its bytes do not have the SHA-1 at its end\n", path);
    }
    file_map_close(&m);
}

int pack_check(const char *repo, struct buf *damage, struct err *e)
{
    static const char *const folders[] = {"objects/pack", "objects/info"};
    int rc = 0;
    for (size_t k = 0; k < 2 && rc == 0; k++) {
        struct file_list files = {0};
        char *folder = file_join(repo, folders[k]);
        if (file_is_folder(folder))
            rc = file_list_folder(folder, &files, e);
        for (size_t i = 0; i < files.n_paths && rc == 0; i++) {
            char *path = file_join(folder, files.paths[i]);
            if (has_trailer(path))
                check_file(path, damage);
            xfree(path);
        }
        file_list_release(&files);
        xfree(folder);
    }
    return rc;
}

int pack_need_whole(const char *repo, struct err *e)
{
    struct buf damage;
    buf_init(&damage, BUF_MAX_DEFAULT);
    int rc = pack_check(repo, &damage, e);
    if (rc == 0 && damage.n_bytes > 0)
        rc = err_set(e, ERR_FORMAT, "%.*s", (int)strcspn(buf_text(&damage), "\n"),
                     buf_text(&damage));
    buf_release(&damage);
    return rc;
}
