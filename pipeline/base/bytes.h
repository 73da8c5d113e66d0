#ifndef FMFORGE_BASE_BYTES_H
#define FMFORGE_BASE_BYTES_H

/* Little-endian numbers at any address. On disk nothing else is used. */

#include <stdint.h>
#include <string.h>

static inline uint16_t bytes_get_u16(const void *p)
{
    const unsigned char *b = p;
    return (uint16_t)(b[0] | (uint16_t)(b[1] << 8));
}

static inline uint32_t bytes_get_u32(const void *p)
{
    const unsigned char *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t bytes_get_u64(const void *p)
{
    const unsigned char *b = p;
    return (uint64_t)bytes_get_u32(b) | (uint64_t)bytes_get_u32(b + 4) << 32;
}

static inline void bytes_put_u16(void *p, uint16_t v)
{
    unsigned char *b = p;
    b[0] = (unsigned char)v;
    b[1] = (unsigned char)(v >> 8);
}

static inline void bytes_put_u32(void *p, uint32_t v)
{
    unsigned char *b = p;
    for (int i = 0; i < 4; i++)
        b[i] = (unsigned char)(v >> (8 * i));
}

static inline void bytes_put_u64(void *p, uint64_t v)
{
    unsigned char *b = p;
    for (int i = 0; i < 8; i++)
        b[i] = (unsigned char)(v >> (8 * i));
}

static inline float bytes_get_f32(const void *p)
{
    uint32_t bits = bytes_get_u32(p);
    float v = 0;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline void bytes_put_f32(void *p, float v)
{
    uint32_t bits = 0;
    memcpy(&bits, &v, sizeof bits);
    bytes_put_u32(p, bits);
}

#endif
