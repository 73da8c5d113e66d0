#include "stages/model/printable.h"

#include <string.h>

const char *printable(const void *bytes, size_t n_bytes, char out[PRINTABLE_BYTES])
{
    const unsigned char *b = bytes;
    size_t n = n_bytes < PRINTABLE_BYTES ? n_bytes : PRINTABLE_BYTES - 4;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(b[i] >= 0x20 && b[i] < 0x7f ? b[i] : '?');
    if (n < n_bytes) {
        memcpy(out + n, "...", 3);
        n += 3;
    }
    out[n] = 0;
    return out;
}
