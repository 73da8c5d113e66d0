#include "stages/model/tensor_source.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

int tensor_source_open_pt(struct tensor_source *s, const char *path, struct err *e)
{
    memset(s, 0, sizeof *s);
    int rc = ptfile_open(&s->pt, path, e);
    if (rc != 0)
        return rc;
    s->summed = xalloc(s->pt.zip.n_entries + 1);
    s->n_tensors = s->pt.n_tensors;
    s->tensors = xalloc_array(s->n_tensors + 1, sizeof *s->tensors);
    for (size_t i = 0; i < s->n_tensors; i++) {
        struct err why = {0};
        struct source_tensor *t = &s->tensors[i];
        t->pt = &s->pt.tensors[i];
        t->name = t->pt->name;
        t->is_float = pt_tensor_view(t->pt, &t->view, &why) == 0 && t->view.dtype != DTYPE_U8;
        t->view.n_dims = t->pt->n_dims < TENSOR_DIMS_MAX ? t->pt->n_dims : TENSOR_DIMS_MAX;
        memcpy(t->view.dims, t->pt->dims, (size_t)t->view.n_dims * sizeof *t->view.dims);
    }
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct source_tensor *)a)->name, ((const struct source_tensor *)b)->name);
}

static int add_file(struct tensor_source *s, const char *path, struct err *e)
{
    s->files = xrealloc_array(s->files, s->n_files + 1, sizeof *s->files);
    struct tensorfile *f = &s->files[s->n_files];
    int rc = tensorfile_open(f, path, e);
    if (rc != 0)
        return rc;
    s->n_files++;
    s->tensors = xrealloc_array(s->tensors, s->n_tensors + f->n_tensors + 1, sizeof *s->tensors);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct tensor *t = &f->tensors[i];
        s->tensors[s->n_tensors++] =
            (struct source_tensor){.name = t->name, .is_float = t->dtype != DTYPE_U8, .view = *t};
    }
    return 0;
}

static int add_folder(struct tensor_source *s, const char *folder, const char *prefix,
                      struct err *e)
{
    struct file_list names = {0};
    int rc = file_list_names(folder, &names, e);
    for (size_t i = 0; i < names.n_paths && rc == 0; i++) {
        if (!str_starts(names.paths[i], prefix) || !str_ends(names.paths[i], ".safetensors"))
            continue;
        char *path = file_join(folder, names.paths[i]);
        rc = add_file(s, path, e);
        xfree(path);
    }
    file_list_release(&names);
    if (rc == 0 && s->n_files == 0)
        rc = err_set(e, ERR_MISSING, "%s: no file %s*.safetensors in this folder", folder, prefix);
    return rc;
}

int tensor_source_open_safetensors(struct tensor_source *s, const char *path, const char *prefix,
                                   struct err *e)
{
    memset(s, 0, sizeof *s);
    int rc = file_is_folder(path) ? add_folder(s, path, prefix, e) : add_file(s, path, e);
    if (rc == 0)
        qsort(s->tensors, s->n_tensors, sizeof *s->tensors, compare_names);
    for (size_t i = 1; i < s->n_tensors && rc == 0; i++)
        if (str_eq(s->tensors[i - 1].name, s->tensors[i].name))
            rc = err_set(e, ERR_FORMAT, "%s: %s is in two files", path, s->tensors[i].name);
    if (rc != 0)
        tensor_source_close(s);
    return rc;
}

void tensor_source_close(struct tensor_source *s)
{
    for (size_t i = 0; i < s->n_files; i++)
        tensorfile_close(&s->files[i]);
    xfree(s->files);
    xfree(s->tensors);
    xfree(s->summed);
    ptfile_close(&s->pt);
    memset(s, 0, sizeof *s);
}

struct source_tensor *tensor_source_find(const struct tensor_source *s, const char *name)
{
    const struct source_tensor key = {.name = name};
    if (s->n_tensors == 0)
        return NULL;
    return bsearch(&key, s->tensors, s->n_tensors, sizeof key, compare_names);
}

int tensor_source_check_prefix(const struct tensor_source *s, const char *name, struct err *e)
{
    size_t n_name = strlen(name);
    if (tensor_source_find(s, name) != NULL)
        return 0;
    for (size_t i = 0; i < s->n_tensors; i++) {
        const char *found = s->tensors[i].name;
        size_t n = strlen(found);
        if (n > n_name + 1 && found[n - n_name - 1] == '.' && str_ends(found, name))
            return err_set(e, ERR_FORMAT,
                           "%s is there as %s: the tensors are below a key, or a program has put "
                           "something in front of their names; save it alone, with the names as "
                           "they are in the toolkit",
                           name, found);
    }
    return 0;
}

int tensor_source_load(struct tensor_source *s, const struct source_tensor *t,
                       struct source_values *out, struct err *e)
{
    CHECK(t->is_float);
    *out = (struct source_values){.t = t};
    if (t->pt != NULL) {
        size_t entry = (size_t)(t->pt->storage - s->pt.zip.entries);
        int rc = s->summed[entry] ? 0 : zipdir_check_crc(&s->pt.zip, t->pt->storage, s->pool, e);
        if (rc != 0)
            return err_wrap(e, "%s", t->name);
        s->summed[entry] = 1;
    }
    if (t->view.dtype == DTYPE_F32 && (uintptr_t)t->view.data % sizeof(float) == 0) {
        out->values = (const float *)(const void *)t->view.data;
        return 0;
    }
    out->values = out->own = xalloc_array((size_t)tensor_elements(&t->view), sizeof *out->own);
    tensor_to_f32(&t->view, out->own);
    return 0;
}

/* Of the whole pages of a tensor; nothing depends on it. */
static void advise(const struct source_tensor *t, int advice)
{
    uintptr_t page = 4096, data = (uintptr_t)t->view.data;
    uintptr_t first = (data + page - 1) / page * page, end = (data + t->view.n_bytes) / page * page;
    if (end > first)
        (void)madvise((void *)first, end - first, advice);
}

void tensor_source_expect(const struct source_tensor *t)
{
    if (t->is_float)
        advise(t, MADV_WILLNEED);
}

void tensor_source_unload(struct source_values *v)
{
    if (v->t == NULL)
        return;
    advise(v->t, MADV_DONTNEED);
    xfree(v->own);
    memset(v, 0, sizeof *v);
}
