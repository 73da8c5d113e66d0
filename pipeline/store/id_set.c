#include "pipeline/store/id_set.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define ID_BYTES 32
#define SLOTS_FIRST 1024

static unsigned char nibble(char c)
{
    return (unsigned char)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void to_bytes(const char *id_hex, unsigned char out[ID_BYTES])
{
    CHECK(str_is_hex(id_hex, SHA256_HEX));
    for (size_t i = 0; i < ID_BYTES; i++)
        out[i] = (unsigned char)(nibble(id_hex[2 * i]) << 4 | nibble(id_hex[2 * i + 1]));
}

/* The slot that holds the id, or the free one where it belongs. Ids are hashes: their own first
 * bytes spread them. */
static size_t slot_of(const struct id_set *s, const unsigned char id[ID_BYTES])
{
    size_t i = 0;
    memcpy(&i, id, sizeof i);
    for (i &= s->n_slots - 1; s->slots[i][ID_BYTES]; i = (i + 1) & (s->n_slots - 1))
        if (memcmp(s->slots[i], id, ID_BYTES) == 0)
            break;
    return i;
}

static void put(struct id_set *s, const unsigned char id[ID_BYTES])
{
    size_t i = slot_of(s, id);
    memcpy(s->slots[i], id, ID_BYTES);
    s->slots[i][ID_BYTES] = 1;
}

static void grow(struct id_set *s)
{
    struct id_set old = *s;
    s->n_slots = old.n_slots ? old.n_slots * 2 : SLOTS_FIRST;
    s->slots = xalloc_array(s->n_slots, sizeof *s->slots);
    for (size_t i = 0; i < old.n_slots; i++)
        if (old.slots[i][ID_BYTES])
            put(s, old.slots[i]);
    xfree(old.slots);
}

bool id_set_add(struct id_set *s, const char *id_hex)
{
    unsigned char id[ID_BYTES];
    to_bytes(id_hex, id);
    if (s->n_ids >= s->n_slots / 2)
        grow(s);
    if (s->slots[slot_of(s, id)][ID_BYTES])
        return false;
    put(s, id);
    s->n_ids++;
    return true;
}

bool id_set_has(const struct id_set *s, const char *id_hex)
{
    unsigned char id[ID_BYTES];
    to_bytes(id_hex, id);
    return s->n_slots > 0 && s->slots[slot_of(s, id)][ID_BYTES];
}

bool id_set_at(const struct id_set *s, size_t i, char id_hex[SHA256_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    if (!s->slots[i][ID_BYTES])
        return false;
    for (size_t k = 0; k < ID_BYTES; k++) {
        id_hex[2 * k] = digits[s->slots[i][k] >> 4];
        id_hex[2 * k + 1] = digits[s->slots[i][k] & 15];
    }
    id_hex[SHA256_HEX] = '\0';
    return true;
}

void id_set_release(struct id_set *s)
{
    xfree(s->slots);
    *s = (struct id_set){0};
}
