#include "stages/import/import_source.h"

#include <string.h>

#include "pipeline/base/xalloc.h"
#include "stages/model/mlx_model.h"

/* Of a folder, where it is there. */
static int check_config(const struct import_run *p, const char *folder, struct err *e)
{
    char *path = file_join(folder, "config.json");
    struct json *config = NULL;
    int rc = file_exists(path) ? json_read(path, &config, e) : 0;
    if (!rc && config && mlx_config_check(config, &p->shape, e) != 0)
        rc = err_wrap(e, "%s", path);
    json_free(config);
    xfree(path);
    return rc;
}

int import_source_open(struct import_run *p, struct err *e)
{
    const char *pt = stage_in(p->run, "pt"), *mlx = stage_in(p->run, "mlx");
    if (!pt == !mlx)
        return err_set(e, ERR_CONFIG, "inputs pt and mlx: one of them has to be given, %s",
                       pt ? "not both" : "and none is");
    p->mlx = mlx != NULL;
    p->port = p->mlx ? "mlx" : "pt";
    if (pt)
        return tensor_source_open_pt(&p->source, pt, e);
    int rc = file_is_folder(mlx) ? check_config(p, mlx, e) : 0;
    return rc ? rc : tensor_source_open_safetensors(&p->source, mlx, "model", e);
}

int import_beside_open(struct import_run *p, struct err *e)
{
    const char *folder = p->mlx ? stage_in(p->run, "mlx") : NULL;
    if (!folder || !file_is_folder(folder))
        return 0;
    char *path = file_join(folder, LORA_MLX_FILE);
    int rc = 0;
    if (file_exists(path) && p->rank > 0)
        rc = err_set(e, ERR_FORMAT, "mlx: there is an adapter in the base and another one in %s",
                     path);
    if (file_exists(path) && !rc) {
        p->beside = (struct lora_import){.format = LORA_MLX,
                                         .shape = &p->shape,
                                         .alpha = p->config->alpha,
                                         .seed = p->config->seed};
        rc = lora_import_open(&p->beside, folder, e);
    }
    xfree(path);
    return rc;
}

/* ---- names ---- */

void import_tensor_name(const struct import_run *p, const struct shape_tensor *t,
                        char out[SHAPE_NAME_BYTES])
{
    if (!p->mlx)
        memcpy(out, t->name, SHAPE_NAME_BYTES);
    else if (!mlx_wrapped_name(&p->shape, t, out) || !tensor_source_find(&p->source, out))
        mlx_tensor_name(&p->shape, t, out);
}

void import_range_name(const struct import_run *p, int layer, bool value,
                       char out[SHAPE_NAME_BYTES])
{
    if (p->mlx)
        mlx_scale_name(layer, value, out);
    else
        shape_range_name(&p->shape, layer, value, out);
}

void import_lora_name(const struct import_run *p, const struct shape_module *m, bool b,
                      char out[LORA_NAME_BYTES])
{
    lora_name_of(p->mlx ? LORA_MLX : LORA_TOOLKIT, &p->shape, m, b, out);
}
