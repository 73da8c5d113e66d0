#include "stages/model/ptdraft.h"
#include "stages/model/problems.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define WRAPPED ".wrapped"

/* The reading of one file. */
struct reading {
    struct ptfile file;
    struct ptdraft *draft;
    unsigned char *used;   /* by tensor of the file */
    unsigned char *summed; /* by entry of its zip: the checksum was compared */
    struct problems problems;
};

/* By its name, or by that without `.wrapped`; NULL when there is none, or both. */
static const struct pt_tensor *find(struct reading *r, const char *name)
{
    char plain[SHAPE_NAME_BYTES];
    const char *at = strstr(name, WRAPPED);
    const struct pt_tensor *t = ptfile_find(&r->file, name), *other = NULL;
    if (at) {
        snprintf(plain, sizeof plain, "%.*s%s", (int)(at - name), name, at + strlen(WRAPPED));
        other = ptfile_find(&r->file, plain);
    }
    if (t && other) {
        r->used[t - r->file.tensors] = r->used[other - r->file.tensors] = 1;
        problems_add(&r->problems, name, "is there twice, with and without " WRAPPED);
        return NULL;
    }
    if (!t && !other)
        problems_add(&r->problems, name, "is missing");
    return t ? t : other;
}

static void check_tensor(struct reading *r, const struct shape_tensor *want)
{
    struct tensor view;
    struct err why = {0};
    const struct pt_tensor *t = find(r, want->name);
    bool is_norm = shape_is_norm(want);
    if (!t)
        return;
    r->used[t - r->file.tensors] = 1;
    if (pt_tensor_view(t, &view, &why) < 0 || view.dtype == DTYPE_U8) {
        problems_add(&r->problems, t->name, "is not of fp32, fp16 or bf16");
    } else if (t->n_dims != (is_norm ? 1 : 2) || t->dims[0] != (uint64_t)want->n ||
               (!is_norm && t->dims[1] != (uint64_t)want->k)) {
        char what[192], dims[96], expected[64];
        snprintf(expected, sizeof expected, is_norm ? "[%d]" : "[%d, %d]", want->n, want->k);
        snprintf(what, sizeof what, "is %s, expected %s", tensor_format_dims(&view, dims),
                 expected);
        problems_add(&r->problems, t->name, what);
    }
}

/* The tied output matrix may be stored beside. */
static bool is_tied_output(struct reading *r, const struct pt_tensor *t)
{
    const struct pt_tensor *embedding = ptfile_find(&r->file, "embedding.weight");
    if (!str_eq(t->name, "output_transform.weight") || !embedding)
        return false;
    if (!pt_tensor_tied(t, embedding) &&
        (t->n_bytes != embedding->n_bytes || memcmp(t->data, embedding->data, t->n_bytes) != 0))
        problems_add(&r->problems, t->name,
                     "differs from embedding.weight, with which it should be tied");
    return true;
}

static int check_names(struct reading *r, const struct shape *shape, struct err *e)
{
    r->used = xalloc(r->file.n_tensors + 1);
    r->summed = xalloc(r->file.zip.n_entries + 1);
    for (int i = 0; i < shape_n_tensors(shape); i++) {
        struct shape_tensor want;
        shape_tensor(shape, i, &want);
        check_tensor(r, &want);
    }
    for (size_t i = 0; i < r->file.n_tensors; i++)
        if (!r->used[i] && !is_tied_output(r, &r->file.tensors[i]))
            problems_add(&r->problems, r->file.tensors[i].name, "is no tensor of this shape");
    return problems_end(&r->problems, "the draft's shape", e);
}

/* The values, to their place in the flat array; each storage is compared with its checksum once. */
static int take(struct reading *r, const struct shape_tensor *want, struct err *e)
{
    struct tensor view;
    const struct pt_tensor *t = find(r, want->name);
    size_t entry = (size_t)(t->storage - r->file.zip.entries), n = (size_t)pt_tensor_elements(t);
    int rc = r->summed[entry] ? 0 : zipdir_check_crc(&r->file.zip, t->storage, NULL, e);
    r->summed[entry] = 1;
    if (rc == 0)
        rc = pt_tensor_view(t, &view, e);
    if (rc != 0)
        return rc;
    float *values = r->draft->model.flat + want->offset;
    tensor_to_f32(&view, values);
    bool exact = true;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(values[i]))
            return err_set(e, ERR_NUMERIC, "%s: value %zu of %zu is not finite", t->name, i + 1, n);
        float rounded = tensor_bf16_to_f32(tensor_bf16_from_f32(values[i]));
        exact = exact && memcmp(&rounded, &values[i], sizeof rounded) == 0;
    }
    if (!shape_is_norm(want)) /* norms are always stored as fp32 */
        r->draft->is_bf16 = r->draft->is_bf16 && exact;
    r->draft->n_parameters += (int64_t)n;
    return 0;
}

static int check_shape(const struct shape *shape, struct err *e)
{
    if (shape->layers_1 == 0 && !shape->kv_quant)
        return 0;
    return err_set(e, ERR_CONFIG,
                   "shape: that of no draft: found layers_1 %d and kv_quant %s, expected 0 and "
                   "false",
                   shape->layers_1, shape->kv_quant ? "true" : "false");
}

int ptdraft_open(struct ptdraft *d, const char *path, const struct shape *shape, struct err *e)
{
    struct reading r = {.draft = d};
    memset(d, 0, sizeof *d);
    d->is_bf16 = true;
    problems_init(&r.problems);
    int rc = check_shape(shape, e);
    if (rc == 0)
        rc = ptfile_open(&r.file, path, e);
    if (rc == 0)
        rc = check_names(&r, shape, e);
    if (rc == 0)
        rc = model_init(&d->model, shape, e);
    for (int i = 0; i < shape_n_tensors(shape) && rc == 0; i++) {
        struct shape_tensor want;
        shape_tensor(shape, i, &want);
        rc = take(&r, &want, e);
    }
    ptfile_close(&r.file);
    xfree(r.used);
    xfree(r.summed);
    buf_release(&r.problems.text);
    return rc;
}

int ptdraft_save(const struct ptdraft *d, const char *path, struct err *e)
{
    return model_save(&d->model, path, "draft", d->is_bf16 ? DTYPE_BF16 : DTYPE_F32, NULL, 0, e);
}

void ptdraft_release(struct ptdraft *d)
{
    model_release(&d->model);
    memset(d, 0, sizeof *d);
}
