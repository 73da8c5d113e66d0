#include "stages/model/crc32.h"

#include "pipeline/base/bytes.h"

#define POLYNOMIAL 0xedb88320u

void crc32_init(struct crc32 *c)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t v = b;
        for (int i = 0; i < 8; i++)
            v = v >> 1 ^ (POLYNOMIAL & (0u - (v & 1)));
        c->table[0][b] = v;
    }
    for (int k = 1; k < 8; k++)
        for (uint32_t b = 0; b < 256; b++)
            c->table[k][b] = c->table[k - 1][b] >> 8 ^ c->table[0][c->table[k - 1][b] & 255];
    c->sum = 0;
}

/* Eight bytes a step: the sum is linear, so the eight are looked up independently and added. */
void crc32_add(struct crc32 *c, const void *bytes, size_t n_bytes)
{
    const unsigned char *b = bytes;
    const uint32_t(*t)[256] = (const uint32_t(*)[256])c->table;
    uint32_t sum = ~c->sum;
    size_t i = 0;
    for (; n_bytes - i >= 8; i += 8) {
        uint32_t low = bytes_get_u32(b + i) ^ sum, high = bytes_get_u32(b + i + 4);
        sum = t[7][low & 255] ^ t[6][low >> 8 & 255] ^ t[5][low >> 16 & 255] ^ t[4][low >> 24] ^
              t[3][high & 255] ^ t[2][high >> 8 & 255] ^ t[1][high >> 16 & 255] ^ t[0][high >> 24];
    }
    for (; i < n_bytes; i++)
        sum = sum >> 8 ^ t[0][(sum ^ b[i]) & 255];
    c->sum = ~sum;
}
