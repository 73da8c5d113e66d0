#include "pipeline/store/id_set.h"

#include <string.h>

#include "pipeline/base/sha256.h"
#include "pipeline/base/xalloc.h"

#define SLOTS_FIRST 1024

/* The slot that holds the id, or the free one where it belongs. Ids are hashes: their own first
 * bytes spread them. */
static size_t slot_of(const struct id_set *s, const unsigned char id[SHA256_BYTES])
{
    size_t i = 0;
    memcpy(&i, id, sizeof i);
    for (i &= s->n_slots - 1; s->slots[i][SHA256_BYTES]; i = (i + 1) & (s->n_slots - 1))
        if (memcmp(s->slots[i], id, SHA256_BYTES) == 0)
            break;
    return i;
}

static void put(struct id_set *s, const unsigned char id[SHA256_BYTES])
{
    size_t i = slot_of(s, id);
    memcpy(s->slots[i], id, SHA256_BYTES);
    s->slots[i][SHA256_BYTES] = 1;
}

static void grow(struct id_set *s)
{
    struct id_set old = *s;
    s->n_slots = old.n_slots ? old.n_slots * 2 : SLOTS_FIRST;
    s->slots = xalloc_array(s->n_slots, sizeof *s->slots);
    for (size_t i = 0; i < old.n_slots; i++)
        if (old.slots[i][SHA256_BYTES])
            put(s, old.slots[i]);
    xfree(old.slots);
}

bool id_set_add(struct id_set *s, const char *id_hex)
{
    unsigned char id[SHA256_BYTES];
    sha256_to_raw(id_hex, id);
    if (s->n_ids >= s->n_slots / 2)
        grow(s);
    if (s->slots[slot_of(s, id)][SHA256_BYTES])
        return false;
    put(s, id);
    s->n_ids++;
    return true;
}

bool id_set_has(const struct id_set *s, const char *id_hex)
{
    unsigned char id[SHA256_BYTES];
    sha256_to_raw(id_hex, id);
    return s->n_slots > 0 && s->slots[slot_of(s, id)][SHA256_BYTES];
}

bool id_set_at(const struct id_set *s, size_t i, char id_hex[SHA256_HEX + 1])
{
    if (!s->slots[i][SHA256_BYTES])
        return false;
    memcpy(id_hex, sha256_from_raw(s->slots[i]).hex, SHA256_HEX + 1);
    return true;
}

void id_set_release(struct id_set *s)
{
    xfree(s->slots);
    *s = (struct id_set){0};
}
