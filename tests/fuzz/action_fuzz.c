/* pipeline/store/action.h: the bytes are line 1 and, behind a newline, whatever; tried as they come
 * and with line 2 put right. */

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/store/action.h"
#include "tests/fuzz/fuzz.h"

/* A record that was taken is the same record when it is written and read again. */
static void check_again(const struct action *a)
{
    struct action again;
    struct err e = {0};
    struct buf first, second;
    buf_init(&first, BUF_MAX_DEFAULT);
    buf_init(&second, BUF_MAX_DEFAULT);
    action_write(a, &first);
    CHECK(action_parse(first.bytes, first.n_bytes, a->key.hex, &again, &e) == 0);
    action_write(&again, &second);
    CHECK(str_eq(buf_text(&first), buf_text(&second)));
    buf_release(&first);
    buf_release(&second);
}

static bool try_record(const char *text, size_t n_bytes, const char *key_hex)
{
    struct action a;
    struct err e = {0};
    if (action_parse(text, n_bytes, key_hex, &a, &e) != 0) {
        CHECK(e.code == ERR_FORMAT || e.code == ERR_LIMIT);
        return false;
    }
    CHECK(a.n_outputs <= ACTION_OUTPUTS_MAX);
    check_again(&a);
    return true;
}

/* The key that line 1 speaks of, or any. */
static struct content_id key_of(const char *line, size_t n_bytes)
{
    static const char mark[] = "\"key\":\"";
    struct content_id id = sha256_of("", 0);
    const char *at = memmem(line, n_bytes, mark, strlen(mark));
    if (at != NULL && n_bytes - (size_t)(at - line) >= strlen(mark) + SHA256_HEX)
        memcpy(id.hex, at + strlen(mark), SHA256_HEX);
    return id;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const char *text = (const char *)data;
    const char *end = n_bytes == 0 ? NULL : memchr(text, '\n', n_bytes);
    size_t n_line = end == NULL ? n_bytes : (size_t)(end - text);
    struct content_id key = key_of(text, n_line);
    fuzz_taken = try_record(text, n_bytes, key.hex);
    struct buf sealed;
    buf_init(&sealed, BUF_MAX_DEFAULT);
    buf_add(&sealed, text, n_line);
    buf_printf(&sealed, "\n%s\n", sha256_of(text, n_line).hex);
    bool taken = try_record(sealed.bytes, sealed.n_bytes, key.hex);
    CHECK(taken || !fuzz_taken);
    fuzz_taken = taken;
    buf_release(&sealed);
    return 0;
}
