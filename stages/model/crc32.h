#ifndef FMFORGE_MODEL_CRC32_H
#define FMFORGE_MODEL_CRC32_H

/*
 * The checksum of zip files: CRC-32 with the polynomial 0x04c11db7, bits reversed, begun and ended
 * with all ones (PKWARE APPNOTE 4.4.7). "123456789" gives cbf43926.
 */

#include <stddef.h>
#include <stdint.h>

struct crc32 {
    uint32_t table[8][256]; /* [k][b]: what byte b does when k more bytes follow it */
    uint32_t sum;           /* of the bytes so far */
};

void crc32_init(struct crc32 *c); /* makes the table; sum = 0 */
void crc32_add(struct crc32 *c, const void *bytes, size_t n_bytes);

#endif
