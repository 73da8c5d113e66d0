/* listing_next of pipeline/store/object.h: a folder's listing. Whatever is taken lies inside of the
 * folder, and its lines are the text. */

#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/store/object.h"
#include "tests/fuzz/fuzz.h"

/* No part of the path leads anywhere but down. */
static void check_path(const char *path, size_t n_path)
{
    size_t n_part = 0;
    CHECK(n_path > 0 && path[0] != '/' && memchr(path, '\n', n_path) == NULL);
    for (size_t i = 0; i <= n_path; i++) {
        if (i < n_path && path[i] != '/') {
            n_part++;
            continue;
        }
        const char *part = path + i - n_part;
        CHECK(n_part > 0);
        CHECK(n_part != 1 || part[0] != '.');
        CHECK(n_part != 2 || part[0] != '.' || part[1] != '.');
        n_part = 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct buf text, again;
    struct content_id id;
    const char *path = NULL;
    size_t n_path = 0;
    buf_init(&text, BUF_MAX_DEFAULT);
    buf_init(&again, BUF_MAX_DEFAULT);
    buf_add(&text, data, n_bytes);
    const char *cursor = buf_text(&text);
    while (listing_next(&cursor, &id, &path, &n_path)) {
        CHECK(str_is_hex(id.hex, SHA256_HEX));
        check_path(path, n_path);
        buf_printf(&again, "%s  %.*s\n", id.hex, (int)n_path, path);
        CHECK(cursor == buf_text(&text) + again.n_bytes);
    }
    CHECK(memcmp(buf_text(&again), buf_text(&text), again.n_bytes) == 0);
    fuzz_taken = again.n_bytes == n_bytes;
    buf_release(&text);
    buf_release(&again);
    return 0;
}
