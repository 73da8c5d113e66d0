#include "pipeline/provenance/ledger_loose.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/ledger_git.h"

#define HEADER_BYTES_MAX 64
#define HEAD_TEXT "ref: refs/heads/main\n"

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

/* So that a lack of memory is never taken for damage. */
static void *take(void *context, unsigned n, unsigned bytes)
{
    (void)context;
    return xalloc_array(n, bytes);
}

static void give_back(void *context, void *p)
{
    (void)context;
    xfree(p);
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
    z.zalloc = take;
    z.zfree = give_back;
    if (m->n_bytes > UINT32_MAX || inflateInit(&z) != Z_OK)
        return "too large";
    z.next_in = (unsigned char *)(uintptr_t)m->bytes;
    z.avail_in = (unsigned)m->n_bytes;
    int code = Z_OK;
    while (fault == NULL && code == Z_OK) {
        z.next_out = block;
        z.avail_out = sizeof block;
        code = inflate(&z, Z_BLOCK);
        /* Behind the end of the last block: the unused bits of its last byte are zero. */
        if (code == Z_OK && (z.data_type & 192) == 192 && z.next_in > m->bytes &&
            z.next_in[-1] >> (8 - (z.data_type & 7)) != 0)
            fault = "its compressed data has stray bits at the end";
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

bool loose_make_way(const char *repo, const char *hex, struct buf *notes)
{
    struct err why = {0};
    if (loose_check(repo, hex, &why) == 0)
        return false;
    char *from = xasprintf("%s/objects/%.2s/%s", repo, hex, hex + 2);
    char *to = xasprintf("%s/damaged-%s", repo, hex);
    bool moved = rename(from, to) == 0;
    if (moved)
        buf_printf(notes, "%s; moved to %s and written again\n", why.text, to);
    xfree(from);
    xfree(to);
    return moved;
}

/* The library passes over a loose ref that it cannot read: each must be 40 digits and a newline. */
static int check_ref(const char *repo, const char *name, struct err *e)
{
    struct buf b;
    char *path = file_join(repo, name);
    buf_init(&b, 4096);
    int rc = file_read(path, 4000, &b, e);
    const char *text = buf_text(&b);
    if (rc == 0 && (b.n_bytes != GIT_HEX + 1 || text[GIT_HEX] != '\n' ||
                    strspn(text, "0123456789abcdef") != GIT_HEX))
        rc =
            err_set(e, ERR_FORMAT, "ref %s is damaged: %s does not hold 40 hex digits", name, path);
    buf_release(&b);
    xfree(path);
    return rc;
}

/* "packed-refs": a header, then "<40 hex> refs/..." and "^<40 hex>" lines. */
static bool packed_line_is_good(const char *line, size_t n)
{
    static const char header[] = "# pack-refs with: peeled fully-peeled sorted ";
    size_t digits = strspn(line, "0123456789abcdef");
    if (line[0] == '#')
        return n == sizeof header - 1 && memcmp(line, header, n) == 0;
    if (line[0] == '^')
        return n == GIT_HEX + 1 && strspn(line + 1, "0123456789abcdef") == GIT_HEX;
    return digits == GIT_HEX && n > GIT_HEX + 6 && memcmp(line + digits, " refs/", 6) == 0;
}

static void check_packed_refs(const char *repo, struct buf *damage)
{
    struct buf b;
    struct err e = {0};
    char *path = file_join(repo, "packed-refs");
    buf_init(&b, (size_t)1 << 26);
    if (file_exists(path) && file_read(path, (uint64_t)1 << 25, &b, &e) != 0)
        buf_printf(damage, "%s\n", e.text);
    for (const char *line = buf_text(&b); *line != '\0';) {
        size_t n = strcspn(line, "\n");
        if (line[n] != '\n' || !packed_line_is_good(line, n))
            buf_printf(damage, "%s is damaged: it is no ref: %.*s\n", path, (int)n, line);
        line += n + (line[n] == '\n');
    }
    buf_release(&b);
    xfree(path);
}

int loose_check_refs(const char *repo, struct buf *damage, struct err *e)
{
    struct file_list files = {0};
    char *root = file_join(repo, "refs");
    int rc = file_is_folder(root) ? file_list_folder(root, &files, e) : 0;
    for (size_t i = 0; i < files.n_paths && rc == 0; i++) {
        struct err why = {0};
        char *name = file_join("refs", files.paths[i]);
        if (!str_ends(name, ".lock") && check_ref(repo, name, &why) != 0)
            buf_printf(damage, "%s\n", why.text);
        xfree(name);
    }
    check_packed_refs(repo, damage);
    file_list_release(&files);
    xfree(root);
    return rc;
}

int loose_mend_head(const char *repo, struct err *e)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    loose_check_head(repo, &b);
    bool damaged = b.n_bytes > 0;
    buf_release(&b);
    char *path = file_join(repo, "HEAD");
    int rc = damaged ? file_publish(path, HEAD_TEXT, strlen(HEAD_TEXT), 0644, e) : 0;
    xfree(path);
    return rc;
}

void loose_check_head(const char *repo, struct buf *damage)
{
    struct buf b;
    struct err e = {0};
    char *path = file_join(repo, "HEAD");
    buf_init(&b, 4096);
    if (file_read(path, 4000, &b, &e) != 0)
        buf_printf(damage, "%s\n", e.text);
    else if (!str_eq(buf_text(&b), HEAD_TEXT))
        buf_printf(damage, "%s is damaged: it does not say \"ref: refs/heads/main\"\n", path);
    buf_release(&b);
    xfree(path);
}
