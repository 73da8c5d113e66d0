#include "stages/model/lora_import.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/lora_names.h"
#include "stages/model/problems.h"

/* ---- files ---- */

static int open_values(struct lora_import *l, const char *folder, struct err *e)
{
    char *path = file_join(folder, l->format == LORA_MLX ? LORA_MLX_FILE : LORA_PEFT_FILE);
    char *older = file_join(folder, "adapter_model.bin");
    int rc = 0;
    if (l->format == LORA_PEFT && !file_exists(path) && file_exists(older))
        rc = tensor_source_open_pt(&l->source, older, e);
    else
        rc = tensor_source_open_safetensors(&l->source, path, "", e);
    xfree(older);
    xfree(path);
    return rc;
}

static int open_folder(struct lora_import *l, const char *folder, struct err *e)
{
    if (!file_is_folder(folder))
        return err_set(e, ERR_MISSING,
                       "%s: expected the folder with " LORA_CONFIG_FILE
                       " and %s: the scale is in the one, the values are in the other",
                       folder, l->format == LORA_MLX ? LORA_MLX_FILE : LORA_PEFT_FILE);
    char *path = file_join(folder, LORA_CONFIG_FILE);
    int rc = lora_config_read(l->format, path, &l->config, e);
    if (rc == 0 && l->alpha != 0 && l->alpha != l->config.alpha)
        rc = err_set(e, ERR_CONFIG, "%s: alpha is %.17g there, but alpha %.17g is asked for", path,
                     l->config.alpha, l->alpha);
    xfree(path);
    return rc != 0 ? rc : open_values(l, folder, e);
}

static int check_prefixes(const struct lora_import *l, const char *path, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < shape_n_modules(l->shape) && rc == 0; i++) {
        struct shape_module m;
        char name[LORA_NAME_BYTES];
        shape_module(l->shape, i, 1, &m);
        lora_name_of(l->format, l->shape, &m, false, name);
        rc = tensor_source_check_prefix(&l->source, name, e);
    }
    return rc == 0 ? 0 : err_wrap(e, "%s", path);
}

/* The toolkit's file says no alpha, and its rank by its dimensions alone. */
static int open_toolkit(struct lora_import *l, const char *path, struct err *e)
{
    int rc = tensor_source_open_pt(&l->source, path, e);
    for (size_t i = 0; i < l->source.n_tensors && rc == 0 && l->config.rank == 0; i++) {
        const struct source_tensor *t = &l->source.tensors[i];
        struct lora_name name;
        if (lora_name_parse(l->format, l->shape, t->name, &name) && !name.b &&
            t->view.n_dims == 2 && t->view.dims[1] >= 1 && t->view.dims[1] <= LORA_RANK_MAX)
            l->config.rank = (int)t->view.dims[1];
    }
    if (rc == 0 && l->config.rank == 0)
        rc = check_prefixes(l, path, e);
    if (rc == 0 && l->config.rank == 0)
        rc = err_set(e, ERR_FORMAT,
                     "%s: no adapter of this shape: no tensor ...adapters.base_adapter.a_transpose",
                     path);
    l->config.alpha = l->alpha > 0 ? l->alpha : 0.5 * l->config.rank;
    return rc;
}

/* ---- checks ---- */

/* Dimensions of a tensor for a module, or for all of a fused QKV. */
static void dims_of(const struct lora_import *l, const struct lora_name *name, uint64_t dims[2])
{
    struct shape_module m;
    uint64_t rank = (uint64_t)l->config.rank, width = 0;
    for (int i = 0; i < name->n_modules; i++) {
        shape_module(l->shape, name->module + i, l->config.rank, &m);
        width = name->b ? width + (uint64_t)m.out : (uint64_t)m.in;
    }
    bool rank_first = name->b == (l->format != LORA_PEFT);
    dims[0] = rank_first ? rank : width;
    dims[1] = rank_first ? width : rank;
}

static void check_tensor(struct lora_import *l, size_t i, struct problems *p)
{
    const struct source_tensor *t = &l->source.tensors[i];
    struct lora_name name;
    uint64_t dims[2];
    char expected[96];
    if (!lora_name_parse(l->format, l->shape, t->name, &name)) {
        problems_add(p, t->name, "is no LoRA tensor of this shape");
        return;
    }
    for (int j = 0; j < name.n_modules; j++) {
        uint32_t *place = &l->places[2 * (name.module + j) + name.b];
        if (*place) {
            problems_add(p, t->name, "gives what another tensor has given");
            return;
        }
        *place = (uint32_t)i + 1;
    }
    l->n_fused += name.n_modules > 1 ? name.n_modules * !name.b : 0;
    dims_of(l, &name, dims);
    snprintf(expected, sizeof expected, "[%" PRIu64 ", %" PRIu64 "]", dims[0], dims[1]);
    if (!t->is_float)
        problems_add(p, t->name, "is not of fp32, fp16 or bf16");
    else if (t->view.n_dims != 2 || t->view.dims[0] != dims[0] || t->view.dims[1] != dims[1])
        problems_add_misfit(p, t->name, &t->view, expected);
    else if (!tensor_all_finite(&t->view))
        problems_add(p, t->name, "has a value that is not finite");
}

static void check_module(struct lora_import *l, int i, struct problems *p)
{
    struct shape_module m;
    char name[LORA_NAME_BYTES];
    const uint32_t *places = &l->places[2 * i];
    shape_module(l->shape, i, l->config.rank, &m);
    if (places[0] && places[1]) {
        l->n_modules++;
        return;
    }
    if (!places[0] && !places[1] && l->fresh_rest)
        return;
    for (int b = 0; b < 2; b++) {
        lora_name_of(l->format, l->shape, &m, b, name);
        if (!places[b])
            problems_add(p, name, "is missing");
    }
}

static int check(struct lora_import *l, struct err *e)
{
    char what[64];
    struct problems p;
    problems_init(&p);
    l->places = xalloc_array(2 * (size_t)shape_n_modules(l->shape), sizeof *l->places);
    for (size_t i = 0; i < l->source.n_tensors; i++)
        check_tensor(l, i, &p);
    for (int i = 0; i < shape_n_modules(l->shape); i++)
        check_module(l, i, &p);
    snprintf(what, sizeof what, "an adapter of rank %d of this shape", l->config.rank);
    int rc = problems_end(&p, what, e);
    if (rc == 0 && l->n_modules == 0)
        rc = err_set(e, ERR_FORMAT, "there is no adapter in it");
    return rc;
}

int lora_import_open(struct lora_import *l, const char *path, struct err *e)
{
    CHECK(l->shape != NULL && l->places == NULL);
    int rc = l->format == LORA_TOOLKIT ? open_toolkit(l, path, e) : open_folder(l, path, e);
    if (rc == 0 && check(l, e) != 0)
        rc = err_wrap(e, "%s", path);
    if (rc != 0)
        lora_import_close(l);
    return rc;
}

/* ---- values ---- */

/* A tensor's part for one module, in our orientation: A [in][rank], B [rank][out]. */
static void copy_part(const struct lora_import *l, const struct lora_name *name,
                      const struct shape_module *m, const float *values, struct adapter *out)
{
    size_t rank = (size_t)l->config.rank, first = name->n_modules > 1 ? (size_t)m->out_first : 0;
    size_t rows = name->b ? rank : (size_t)m->in, columns = name->b ? (size_t)m->out : rank;
    float *to = name->b ? adapter_b(out, m) : adapter_a(out, m);
    uint64_t dims[2];
    dims_of(l, name, dims);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            size_t wide = name->b ? first + c : c;
            to[r * columns + c] = l->format == LORA_PEFT ? values[wide * (size_t)dims[1] + r]
                                                         : values[r * (size_t)dims[1] + wide];
        }
}

static int read_base(const struct lora_import *l, struct adapter *out, struct err *e)
{
    const char *base =
        l->source.n_files ? tensorfile_meta(&l->source.files[0], "fmforge.base") : NULL;
    if (!base)
        return 0;
    if (!str_is_hex(base, SHA256_HEX))
        return err_set(e, ERR_FORMAT, "fmforge.base is \"%.80s\", expected %d hex digits", base,
                       SHA256_HEX);
    memcpy(out->base.hex, base, SHA256_HEX + 1);
    return 0;
}

int lora_import_read(struct lora_import *l, struct adapter *out, struct err *e)
{
    int rc = adapter_init(out, l->shape, l->config.rank, l->config.alpha, l->seed, e);
    if (rc == 0)
        rc = read_base(l, out, e);
    for (size_t i = 0; i < l->source.n_tensors && rc == 0; i++) {
        const struct source_tensor *t = &l->source.tensors[i];
        struct source_values v;
        struct lora_name name;
        CHECK(lora_name_parse(l->format, l->shape, t->name, &name));
        rc = tensor_source_load(&l->source, t, &v, e);
        for (int j = 0; j < name.n_modules && rc == 0; j++) {
            struct shape_module m;
            shape_module(l->shape, name.module + j, l->config.rank, &m);
            copy_part(l, &name, &m, v.values, out);
        }
        tensor_source_unload(&v);
    }
    if (rc != 0)
        adapter_release(out);
    return rc;
}

void lora_import_close(struct lora_import *l)
{
    xfree(l->places);
    l->places = NULL;
    tensor_source_close(&l->source);
}
