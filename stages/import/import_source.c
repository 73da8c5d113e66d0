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
    if (!rc && config && mlx_config_check(config, &p->from.shape, e) != 0)
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
    p->from.mlx = mlx != NULL;
    p->port = p->from.mlx ? "mlx" : "pt";
    if (pt)
        return tensor_source_open_pt(&p->from.tensors, pt, e);
    int rc = file_is_folder(mlx) ? check_config(p, mlx, e) : 0;
    return rc ? rc : tensor_source_open_safetensors(&p->from.tensors, mlx, "model", e);
}

int import_beside_open(struct import_run *p, struct err *e)
{
    const char *folder = p->from.mlx ? stage_in(p->run, "mlx") : NULL;
    if (!folder || !file_is_folder(folder))
        return 0;
    char *path = file_join(folder, LORA_MLX_FILE);
    int rc = 0;
    if (file_exists(path) && p->from.rank > 0)
        rc = err_set(e, ERR_FORMAT, "mlx: there is an adapter in the base and another one in %s",
                     path);
    if (file_exists(path) && !rc) {
        p->beside = (struct lora_import){.format = LORA_MLX,
                                         .shape = &p->from.shape,
                                         .alpha = p->config->alpha,
                                         .seed = p->config->seed};
        rc = lora_import_open(&p->beside, folder, e);
    }
    xfree(path);
    return rc;
}
