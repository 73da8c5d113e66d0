#ifndef FMFORGE_STORE_ID_SET_H
#define FMFORGE_STORE_ID_SET_H

/* A set of content ids or action keys: open addressing, SHA256_BYTES an entry, never shrinks. */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/sha256.h"

struct id_set {
    unsigned char (*slots)[SHA256_BYTES + 1]; /* of the id, and 1 when the slot is taken */
    size_t n_slots;                           /* a power of two, or 0 */
    size_t n_ids;
};

/* False when it was there already. id_hex: 64 lower-case hex digits (CHECK). */
bool id_set_add(struct id_set *s, const char *id_hex);
bool id_set_has(const struct id_set *s, const char *id_hex);
/* Walking: the id in slot i < n_slots; false when that slot is free. */
bool id_set_at(const struct id_set *s, size_t i, char id_hex[SHA256_HEX + 1]);
void id_set_release(struct id_set *s); /* safe on zeroed and twice */

#endif
