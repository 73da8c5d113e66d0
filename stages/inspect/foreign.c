#include "stages/inspect/foreign.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/inspect/facts.h"
#include "stages/model/base_source.h"
#include "stages/model/lora_import.h"
#include "stages/model/mlx_model.h"
#include "stages/model/ptdraft.h"

#define MLX_CONFIG_FILE "config.json"

static bool has(const char *folder, const char *name)
{
    char *path = file_join(folder, name);
    bool there = file_exists(path);
    xfree(path);
    return there;
}

const char *foreign_format(const char *path)
{
    struct file_map m = {0};
    struct err ignored = {0};
    if (file_is_folder(path) && has(path, MLX_CONFIG_FILE))
        return "mlx";
    if (file_is_folder(path))
        return !has(path, LORA_CONFIG_FILE) ? NULL : has(path, LORA_MLX_FILE) ? "mlx" : "peft";
    bool is_zip = file_map_open(&m, path, &ignored) == 0 && m.n_bytes >= 4 &&
                  memcmp(m.bytes, "PK\3\4", 4) == 0;
    file_map_close(&m);
    return is_zip ? "pt" : NULL;
}

/* ---- a base or an adapter, by its names ---- */

static bool any_name(const struct tensor_source *s, const char *part)
{
    for (size_t i = 0; i < s->n_tensors; i++)
        if (strstr(s->tensors[i].name, part) != NULL)
            return true;
    return false;
}

static const char *kind_of(const struct tensor_source *s)
{
    if (tensor_source_find(s, "layers.layer_0.attention.norm.weight") != NULL)
        return "draft";
    if (tensor_source_find(s, "embedding.weight") ||
        tensor_source_find(s, "model.embedding.weight"))
        return "base";
    return any_name(s, ".adapters.base_adapter.") ? "adapter" : "tensors";
}

/* Of an adapter whose shape is not known: its first A's. */
static int rank_of(const struct tensor_source *s)
{
    for (size_t i = 0; i < s->n_tensors; i++) {
        const struct tensor *v = &s->tensors[i].view;
        if (str_ends(s->tensors[i].name, ".a_transpose") && v->n_dims == 2 &&
            v->dims[1] <= LORA_RANK_MAX)
            return (int)v->dims[1];
    }
    return 0;
}

static int check_base(struct base_source *b, const struct shape *shape, struct foreign *out,
                      struct err *e)
{
    b->shape = *shape;
    b->mlx = str_eq(out->format, "mlx");
    int rc = base_source_check(b, e);
    out->rank = b->rank;
    out->is_checked = rc == 0;
    return rc;
}

static int check_draft(const char *path, const struct shape *shape, struct foreign *out,
                       struct err *e)
{
    struct ptdraft d = {0};
    int rc = ptdraft_open(&d, path, shape, e);
    out->is_checked = rc == 0;
    ptdraft_release(&d);
    return rc;
}

static int check_adapter(const char *path, const struct shape *shape, struct foreign *out,
                         struct err *e)
{
    struct lora_import l = {.format = LORA_TOOLKIT, .shape = shape};
    if (!str_eq(out->format, "pt"))
        l.format = str_eq(out->format, "mlx") ? LORA_MLX : LORA_PEFT;
    int rc = lora_import_open(&l, path, e);
    if (rc != 0)
        return rc;
    out->rank = l.config.rank;
    out->alpha = l.format == LORA_TOOLKIT ? 0 : l.config.alpha;
    out->is_checked = true;
    lora_import_close(&l);
    return 0;
}

/* ---- files and folders ---- */

static int look_torch(const char *path, const struct shape *base, const struct shape *draft,
                      struct foreign *out, struct err *e)
{
    struct base_source b = {.mlx = false};
    int rc = tensor_source_open_pt(&b.tensors, path, e);
    if (rc != 0)
        return rc;
    out->tensors = facts_source(&b.tensors);
    out->what = kind_of(&b.tensors);
    out->rank = rank_of(&b.tensors);
    if (str_eq(out->what, "base") && base)
        rc = check_base(&b, base, out, e) ? err_wrap(e, "%s", path) : 0;
    else if (str_eq(out->what, "draft") && draft)
        rc = check_draft(path, draft, out, e);
    else if (str_eq(out->what, "adapter") && base)
        rc = check_adapter(path, base, out, e);
    tensor_source_close(&b.tensors);
    return rc;
}

static int look_mlx_base(const char *path, const struct shape *base, struct foreign *out,
                         struct err *e)
{
    struct base_source b = {.mlx = true};
    struct json *config = NULL;
    char *config_path = file_join(path, MLX_CONFIG_FILE);
    int rc = base ? json_read(config_path, &config, e) : 0;
    if (rc == 0 && base && mlx_config_check(config, base, e) != 0)
        rc = err_wrap(e, "%s", config_path);
    json_free(config);
    xfree(config_path);
    if (rc == 0)
        rc = tensor_source_open_safetensors(&b.tensors, path, "model", e);
    if (rc != 0)
        return rc;
    out->tensors = facts_source(&b.tensors);
    out->what = kind_of(&b.tensors);
    if (base && check_base(&b, base, out, e) != 0)
        rc = err_wrap(e, "%s", path);
    tensor_source_close(&b.tensors);
    return rc;
}

static int look_adapter(const char *path, const struct shape *base, struct foreign *out,
                        struct err *e)
{
    enum lora_format format = str_eq(out->format, "mlx") ? LORA_MLX : LORA_PEFT;
    struct lora_config config = {0};
    char *file = file_join(path, LORA_CONFIG_FILE);
    int rc = lora_config_read(format, file, &config, e);
    xfree(file);
    if (rc != 0)
        return rc;
    out->what = "adapter";
    out->rank = config.rank;
    out->alpha = config.alpha;
    return base ? check_adapter(path, base, out, e) : 0;
}

int foreign_look(const char *path, const struct shape *base, const struct shape *draft,
                 struct foreign *out, struct err *e)
{
    *out = (struct foreign){.format = foreign_format(path)};
    if (str_eq(out->format, "pt"))
        return look_torch(path, base, draft, out, e);
    if (str_eq(out->format, "mlx") && has(path, MLX_CONFIG_FILE))
        return look_mlx_base(path, base, out, e);
    return look_adapter(path, base, out, e);
}
