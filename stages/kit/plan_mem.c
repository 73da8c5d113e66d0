#include "stages/kit/plan_mem.h"

#include "pipeline/base/buf.h"
#include "pipeline/base/check.h"
#include "pipeline/base/str.h"

void plan_mem_add(struct plan_mem *p, const char *name, uint64_t bytes)
{
    size_t i = 0;
    if (bytes == 0)
        return;
    while (i < p->n_parts && !str_eq(p->parts[i].name, name))
        i++;
    CHECK(i < PLAN_MEM_PARTS_MAX);
    if (i == p->n_parts)
        p->parts[p->n_parts++] = (struct plan_mem_part){name, 0};
    p->parts[i].bytes += bytes;
}

uint64_t plan_mem_total(const struct plan_mem *p)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < p->n_parts; i++)
        sum += p->parts[i].bytes;
    return sum;
}

char *plan_mem_text(const struct plan_mem *p)
{
    char size[16];
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < p->n_parts; i++)
        buf_printf(&text, "%s%s %s", i > 0 ? ", " : "", str_format_bytes(p->parts[i].bytes, size),
                   p->parts[i].name);
    return buf_steal(&text);
}
