#include "stages/kit/plan_mem.h"

#include "pipeline/base/buf.h"
#include "pipeline/base/check.h"
#include "pipeline/base/machine.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/stage.h"

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

void plan_mem_taken(struct plan_mem *p)
{
    p->taken_bytes = plan_mem_total(p);
}

char *plan_mem_text(const struct plan_mem *p)
{
    char size[16];
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    buf_printf(&text, "%s: ", str_format_bytes(plan_mem_total(p), size));
    for (size_t i = 0; i < p->n_parts; i++)
        buf_printf(&text, "%s%s %s", i > 0 ? ", " : "", str_format_bytes(p->parts[i].bytes, size),
                   p->parts[i].name);
    return buf_steal(&text);
}

char *plan_mem_shortage(const struct plan_mem *p, const char *smaller)
{
    char needs[16], has[16];
    struct machine_memory machine;
    uint64_t more = plan_mem_total(p) - p->taken_bytes;
    if (!machine_memory(&machine) || more <= machine.available_bytes)
        return NULL;
    return xasprintf("%s more are needed, %s are left here: %s", str_format_bytes(more, needs),
                     str_format_bytes(machine.available_bytes, has), smaller);
}

void plan_mem_say(const struct plan_mem *p, const struct stage_run *run, const char *smaller)
{
    char *text = plan_mem_text(p), *shortage = plan_mem_shortage(p, smaller);
    stage_say(run, "memory: %s", text);
    if (shortage)
        stage_say(run, "warning: memory: %s", shortage);
    xfree(text);
    xfree(shortage);
}
