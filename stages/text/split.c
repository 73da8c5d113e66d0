#include "stages/text/split.h"

#include "pipeline/base/buf.h"
#include "pipeline/base/sha256.h"

bool split_is_held_out(const struct chat *c, double fraction, int64_t seed)
{
    struct buf text;
    uint32_t key[4] = {0};
    buf_init(&text, BUF_MAX_DEFAULT);
    buf_printf(&text, "%lld/split\n", (long long)seed);
    chat_write(c, &text);
    sha256_key128(text.bytes, text.n_bytes, key);
    buf_release(&text);
    return key[0] < fraction * 4294967296.0;
}
