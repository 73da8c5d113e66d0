/* The lists that ledger_git.c answers with: made, put in order and released. */

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/ledger_git.h"

void git_commit_info_release(struct git_commit_info *info)
{
    xfree(info->message);
    xfree(info->ref);
    *info = (struct git_commit_info){0};
}

void git_commits_release(struct git_commits *c)
{
    for (size_t i = 0; i < c->n_items; i++)
        git_commit_info_release(&c->items[i]);
    xfree(c->items);
    *c = (struct git_commits){0};
}

void git_entries_release(struct git_entries *l)
{
    for (size_t i = 0; i < l->n_items; i++)
        xfree(l->items[i].path);
    xfree(l->items);
    *l = (struct git_entries){0};
}

void git_ids_release(struct git_ids *ids)
{
    xfree(ids->ids);
    *ids = (struct git_ids){0};
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void git_source_order(struct git_source *s)
{
    if (s->n_dirty > 0)
        qsort(s->dirty, s->n_dirty, sizeof *s->dirty, by_text);
    for (size_t i = 0; i < s->n_dirty; i++) {
        char *full = file_join(s->root, s->dirty[i]);
        struct stat st;
        s->deleted[i] = lstat(full, &st) != 0;
        xfree(full);
    }
}

void git_source_release(struct git_source *s)
{
    for (size_t i = 0; i < s->n_dirty; i++)
        xfree(s->dirty[i]);
    xfree(s->dirty);
    xfree(s->deleted);
    xfree(s->branch);
    xfree(s->root);
    *s = (struct git_source){0};
}

/* Newest first. Within a ref the order stays: a commit counts as no newer than the one that it is
 * the parent of, whatever the clock said, and of equal times the index decides. */
struct order {
    int64_t time;
    size_t i;
};

static int by_time(const void *a, const void *b)
{
    const struct order *x = a;
    const struct order *y = b;
    if (x->time != y->time)
        return x->time > y->time ? -1 : 1;
    return x->i < y->i ? -1 : 1;
}

void git_commits_sort(struct git_commits *c)
{
    struct order *order = xalloc_array(c->n_items + 1, sizeof *order);
    struct git_commit_info *sorted = xalloc_array(c->n_items + 1, sizeof *sorted);
    for (size_t i = 0; i < c->n_items; i++) {
        order[i] = (struct order){c->items[i].time, i};
        if (i > 0 && str_eq(c->items[i].ref, c->items[i - 1].ref) &&
            order[i - 1].time < order[i].time)
            order[i].time = order[i - 1].time;
    }
    if (c->n_items > 0)
        qsort(order, c->n_items, sizeof *order, by_time);
    for (size_t i = 0; i < c->n_items; i++)
        sorted[i] = c->items[order[i].i];
    xfree(c->items);
    xfree(order);
    c->items = sorted;
}

struct git_commit_info *git_commits_add(struct git_commits *c)
{
    if ((c->n_items & (c->n_items - 1)) == 0)
        c->items = xrealloc_array(c->items, c->n_items == 0 ? 1 : c->n_items * 2, sizeof *c->items);
    return &c->items[c->n_items++];
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct git_entry *)a)->path, ((const struct git_entry *)b)->path);
}

void git_entries_sort(struct git_entries *l)
{
    if (l->n_items > 0)
        qsort(l->items, l->n_items, sizeof *l->items, by_path);
}
