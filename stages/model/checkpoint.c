#include "stages/model/checkpoint.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"

/*
 *   8   magic "FMCKPT01"
 *   4   byte-order mark, in the machine's own order
 *   4   number of blocks
 *   64  digest of config and inputs, hex
 *       per block: 32 name (zero padded), 8 length
 *       the blocks' bytes, one after another
 *   64  SHA-256 of all before, hex
 */
#define MAGIC "FMCKPT01"
#define ORDER_MARK 0x01020304u
#define HEAD_BYTES (16 + SHA256_HEX)
#define ENTRY_BYTES (CHECKPOINT_NAME_BYTES + 8)

static void put_head(unsigned char head[HEAD_BYTES], const struct content_id *digest,
                     size_t n_blocks)
{
    uint32_t mark = ORDER_MARK;
    memcpy(head, MAGIC, 8);
    memcpy(head + 8, &mark, 4);
    bytes_put_u32(head + 12, (uint32_t)n_blocks);
    memcpy(head + 16, digest->hex, SHA256_HEX);
}

static void put_entry(unsigned char entry[ENTRY_BYTES], const struct checkpoint_block *b)
{
    size_t n = strlen(b->name);
    CHECK(n < CHECKPOINT_NAME_BYTES);
    memset(entry, 0, ENTRY_BYTES);
    memcpy(entry, b->name, n);
    bytes_put_u64(entry + CHECKPOINT_NAME_BYTES, b->n_bytes);
}

static void add(struct file_out *f, struct sha256 *sum, const void *bytes, size_t n_bytes)
{
    if (n_bytes == 0)
        return;
    file_out_add(f, bytes, n_bytes);
    sha256_add(sum, bytes, n_bytes);
}

static int write_all(const char *path, const struct content_id *digest,
                     const struct checkpoint_block *blocks, size_t n_blocks, struct err *e)
{
    struct file_out f = {0};
    int rc = file_out_open(&f, path, e);
    if (rc)
        return rc;
    struct sha256 *sum = sha256_open();
    unsigned char head[HEAD_BYTES], entry[ENTRY_BYTES];
    put_head(head, digest, n_blocks);
    add(&f, sum, head, sizeof head);
    for (size_t i = 0; i < n_blocks; i++) {
        put_entry(entry, &blocks[i]);
        add(&f, sum, entry, sizeof entry);
    }
    for (size_t i = 0; i < n_blocks; i++)
        add(&f, sum, blocks[i].bytes, blocks[i].n_bytes);
    struct content_id id = sha256_close(sum);
    file_out_add(&f, id.hex, SHA256_HEX);
    return file_out_close_synced(&f, e);
}

int checkpoint_save(const char *path, const struct content_id *digest,
                    const struct checkpoint_block *blocks, size_t n_blocks, struct err *e)
{
    char *temporary = xasprintf("%s.new", path);
    char *folder = xstrndup(path, (size_t)(file_base_name(path) - path));
    int rc = file_remove_tree(temporary, e);
    if (!rc)
        rc = write_all(temporary, digest, blocks, n_blocks, e);
    if (!rc && rename(temporary, path) != 0)
        rc = err_set_errno(e, errno, "%s: cannot rename into place", path);
    if (!rc)
        rc = file_sync_folder(folder[0] ? folder : ".", e);
    xfree(folder);
    xfree(temporary);
    return rc ? err_wrap(e, "checkpoint") : 0;
}

static int check_head(const unsigned char *bytes, size_t n_bytes, const struct content_id *digest,
                      size_t n_blocks, struct err *e)
{
    unsigned char want[HEAD_BYTES];
    put_head(want, digest, n_blocks);
    if (n_bytes < HEAD_BYTES + SHA256_HEX || memcmp(bytes, want, 12) != 0)
        return err_set(e, ERR_FORMAT, "not a checkpoint of this program");
    if (memcmp(bytes + 16, digest->hex, SHA256_HEX) != 0)
        return err_set(e, ERR_FORMAT, "from another run (other parameters or inputs)");
    if (memcmp(bytes, want, HEAD_BYTES) != 0)
        return err_set(e, ERR_FORMAT, "holds other parts than this program keeps");
    return 0;
}

/* Everything but the sum; *data is where the first block's bytes lie. */
static int check_entries(const unsigned char *bytes, size_t n_bytes,
                         const struct checkpoint_block *blocks, size_t n_blocks, size_t *data,
                         struct err *e)
{
    size_t at = HEAD_BYTES, end = n_bytes - SHA256_HEX;
    unsigned char want[ENTRY_BYTES];
    uint64_t total = 0;
    for (size_t i = 0; i < n_blocks; i++, at += ENTRY_BYTES) {
        put_entry(want, &blocks[i]);
        if (end - at < ENTRY_BYTES || memcmp(bytes + at, want, ENTRY_BYTES) != 0)
            return err_set(e, ERR_FORMAT, "part '%s' is missing or has another size",
                           blocks[i].name);
        total += blocks[i].n_bytes;
    }
    if (end - at != total)
        return err_set(e, ERR_FORMAT, "truncated: %zu bytes of state instead of %llu", end - at,
                       (unsigned long long)total);
    *data = at;
    return 0;
}

static int check_and_copy(const struct file_map *map, const struct content_id *digest,
                          const struct checkpoint_block *blocks, size_t n_blocks, struct err *e)
{
    size_t at = 0;
    int rc = check_head(map->bytes, map->n_bytes, digest, n_blocks, e);
    if (!rc)
        rc = check_entries(map->bytes, map->n_bytes, blocks, n_blocks, &at, e);
    if (rc)
        return rc;
    struct content_id id = sha256_of(map->bytes, map->n_bytes - SHA256_HEX);
    if (memcmp(id.hex, map->bytes + map->n_bytes - SHA256_HEX, SHA256_HEX) != 0)
        return err_set(e, ERR_FORMAT, "damaged: the checksum does not match");
    for (size_t i = 0; i < n_blocks; i++) {
        if (blocks[i].n_bytes)
            memcpy(blocks[i].bytes, map->bytes + at, blocks[i].n_bytes);
        at += blocks[i].n_bytes;
    }
    return 0;
}

bool checkpoint_load(const char *path, const struct content_id *digest,
                     const struct checkpoint_block *blocks, size_t n_blocks, struct err *why)
{
    if (!file_exists(path))
        return false;
    struct file_map map = {0};
    int rc = file_map_open(&map, path, why);
    if (!rc)
        rc = check_and_copy(&map, digest, blocks, n_blocks, why);
    file_map_close(&map);
    if (rc)
        err_wrap(why, "%s", file_base_name(path));
    return rc == 0;
}
