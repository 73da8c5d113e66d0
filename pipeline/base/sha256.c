#include "pipeline/base/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

/* Larger reads are fewer, up to what a core has room for; a small file gets no more than it needs.
 */
#define READ_BYTES_MIN ((size_t)1 << 12)
#define READ_BYTES_MAX ((size_t)1 << 18)

struct sha256 {
    EVP_MD_CTX *context;
};

static void *take(size_t bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    return xneed(malloc(bytes == 0 ? 1 : bytes));
}

static void *change(void *p, size_t bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    return xrealloc_array(p, bytes, 1);
}

static void give_back(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    xfree(p);
}

/* The library itself uses the NULL of a failed allocation. */
__attribute__((constructor)) static void set_allocator(void)
{
    (void)CRYPTO_set_mem_functions(take, change, give_back);
}

const char *sha256_id_of_name(const char *name, char id[SHA256_HEX + 1])
{
    size_t n = strnlen(name, SHA256_HEX);
    memcpy(id, name, n);
    id[n] = '\0';
    return str_is_hex(id, SHA256_HEX) ? name + SHA256_HEX : NULL;
}

void sha256_to_raw(const char *id_hex, unsigned char raw[SHA256_BYTES])
{
    CHECK(str_is_hex(id_hex, SHA256_HEX));
    for (size_t i = 0; i < SHA256_BYTES; i++)
        raw[i] =
            (unsigned char)(str_hex_digit(id_hex[2 * i]) << 4 | str_hex_digit(id_hex[2 * i + 1]));
}

struct content_id sha256_from_raw(const unsigned char raw[SHA256_BYTES])
{
    struct content_id id = {{0}};
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        id.hex[2 * i] = "0123456789abcdef"[raw[i] >> 4];
        id.hex[2 * i + 1] = "0123456789abcdef"[raw[i] & 15];
    }
    return id;
}

struct sha256 *sha256_open(void)
{
    /* No settings of the system: they are no input of a stage, and its sandbox refuses them. */
    int ok = OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    struct sha256 *s = xalloc(sizeof *s);
    s->context = xneed(EVP_MD_CTX_new());
    if (ok == 1)
        ok = EVP_DigestInit_ex(s->context, EVP_sha256(), NULL);
    return xneed(ok == 1 ? s : NULL); /* it fails for nothing else */
}

void sha256_add(struct sha256 *s, const void *bytes, size_t n_bytes)
{
    int ok = EVP_DigestUpdate(s->context, bytes, n_bytes);
    CHECK(ok == 1);
}

static void close_raw(struct sha256 *s, unsigned char raw[SHA256_BYTES])
{
    unsigned n = 0;
    int ok = EVP_DigestFinal_ex(s->context, raw, &n);
    CHECK(ok == 1 && n == SHA256_BYTES);
    EVP_MD_CTX_free(s->context);
    xfree(s);
}

struct content_id sha256_close(struct sha256 *s)
{
    unsigned char raw[SHA256_BYTES];
    close_raw(s, raw);
    return sha256_from_raw(raw);
}

struct content_id sha256_of(const void *bytes, size_t n_bytes)
{
    struct sha256 *s = sha256_open();
    sha256_add(s, bytes, n_bytes);
    return sha256_close(s);
}

void sha256_key128(const void *bytes, size_t n_bytes, uint32_t key[4])
{
    struct sha256 *s = sha256_open();
    sha256_add(s, bytes, n_bytes);
    unsigned char raw[SHA256_BYTES];
    close_raw(s, raw);
    for (int i = 0; i < 4; i++)
        key[i] = bytes_get_u32(raw + 4 * i);
}

int sha256_file(const char *path, struct content_id *out, uint64_t *n_bytes, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return err_set(e, ERR_MISSING, "%s: no such file", path);
        return err_set_errno(e, errno, "%s: cannot open", path);
    }
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return err_set(e, ERR_FORMAT, "%s: not a regular file", path);
    }
    struct sha256 *s = sha256_open();
    size_t room = READ_BYTES_MIN;
    while (room <= (uint64_t)st.st_size && room < READ_BYTES_MAX)
        room *= 2;
    char *block = xalloc(room);
    uint64_t total = 0;
    ssize_t n = 0;
    int rc = 0;
    while ((n = read(fd, block, room)) != 0) {
        if (n < 0) {
            rc = err_set_errno(e, errno, "%s: cannot read", path);
            break;
        }
        sha256_add(s, block, (size_t)n);
        total += (uint64_t)n;
    }
    xfree(block);
    close(fd);
    struct content_id id = sha256_close(s);
    if (rc != 0)
        return rc;
    *out = id;
    if (n_bytes != NULL)
        *n_bytes = total;
    return 0;
}

int sha256_folder(const char *path, struct buf *listing, struct content_id *out, struct err *e)
{
    struct file_list files = {0};
    int rc = file_list_folder(path, &files, e);
    if (rc != 0)
        return rc;
    size_t start = listing->n_bytes;
    for (size_t i = 0; i < files.n_paths && rc == 0; i++) {
        char *full = file_join(path, files.paths[i]);
        struct content_id id = {{0}};
        rc = sha256_file(full, &id, NULL, e);
        if (rc == 0)
            buf_printf(listing, "%s  %s\n", id.hex, files.paths[i]);
        xfree(full);
    }
    file_list_release(&files);
    if (rc == 0)
        *out = sha256_of(buf_text(listing) + start, listing->n_bytes - start);
    return rc;
}

int sha256_path(const char *path, struct content_id *out, int *is_folder, struct err *e)
{
    bool folder = file_is_folder(path);
    if (is_folder != NULL)
        *is_folder = folder;
    if (!folder)
        return sha256_file(path, out, NULL, e);
    struct buf listing;
    buf_init(&listing, BUF_MAX_DEFAULT);
    int rc = sha256_folder(path, &listing, out, e);
    buf_release(&listing);
    return rc;
}
