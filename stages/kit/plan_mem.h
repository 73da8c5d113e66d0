#ifndef FMFORGE_KIT_PLAN_MEM_H
#define FMFORGE_KIT_PLAN_MEM_H

/*
 * A memory plan: what is taken, part by part, before anything starts. The modules that reserve
 * memory fill it with the very functions that they reserve by, so that a plan that is printed is
 * the one that is kept.
 */

#include <stddef.h>
#include <stdint.h>

struct plan_mem_part {
    const char *name; /* borrowed: a literal */
    uint64_t bytes;
};

#define PLAN_MEM_PARTS_MAX 16

struct plan_mem {
    struct plan_mem_part parts[PLAN_MEM_PARTS_MAX];
    size_t n_parts;
    uint64_t taken_bytes; /* of it, in memory already */
};

struct stage_run;

/* A part without bytes is left out; one more of a name that is there is added to it. */
void plan_mem_add(struct plan_mem *p, const char *name, uint64_t bytes);
uint64_t plan_mem_total(const struct plan_mem *p);
/* What is in the plan so far is in memory already. */
void plan_mem_taken(struct plan_mem *p);
/* "337 MiB: 304 MiB activations, 14.0 MiB gradients, ..."; caller xfrees. */
char *plan_mem_text(const struct plan_mem *p);
/* NULL when the machine has what the plan will take, or does not say; else what is missing, then
 * `smaller`, a sentence on what would make it fit. Caller xfrees. */
char *plan_mem_shortage(const struct plan_mem *p, const char *smaller);
/* Says both to people, the shortage as a warning. */
void plan_mem_say(const struct plan_mem *p, const struct stage_run *run, const char *smaller);

#endif
