#include "stages/model/adapted.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/sha256.h"
#include "stages/model/fmadapter.h"

static int open_adapter(struct adapted *a, const char *base_path, const char *path, bool package,
                        struct err *e)
{
    struct content_id base = {0};
    const struct shape *shape = &a->model.shape;
    int rc = package ? fmadapter_open(path, shape, &a->own, NULL, e)
                     : adapter_open(&a->own, path, shape, e);
    if (rc == 0)
        rc = sha256_file(base_path, &base, NULL, e);
    if (rc == 0)
        rc = adapter_check_base(&a->own, &base, e);
    a->adapter = &a->own;
    return rc;
}

int adapted_open(struct adapted *a, const char *base_path, const char *adapter_path,
                 const char *package_path, struct err *e)
{
    if (adapter_path && package_path)
        return err_set(e, ERR_CONFIG, "inputs adapter and package: only one of them may be given");
    int rc = model_open(&a->model, base_path, e);
    if (rc != 0 || (!adapter_path && !package_path))
        return rc;
    bool package = package_path || file_is_folder(adapter_path);
    return open_adapter(a, base_path, package_path ? package_path : adapter_path, package, e);
}

void adapted_halve(struct adapted *a)
{
    if (a->adapter)
        adapter_halve(&a->own);
}

int adapted_open_draft(const struct adapted *a, const char *path, struct model *draft,
                       struct err *e)
{
    int rc = model_open(draft, path, e);
    if (rc == 0 && draft->shape.vocab != a->model.shape.vocab)
        rc = err_set(e, ERR_CONFIG, "the draft has a vocabulary of %d, the base one of %d",
                     draft->shape.vocab, a->model.shape.vocab);
    return rc == 0 ? model_to_panels(draft, e) : rc;
}

void adapted_memory(const struct adapted *a, struct plan_mem *out)
{
    model_memory(&a->model, out);
    plan_mem_add(out, "adapter", a->own.arena.capacity_bytes);
}

int adapted_say_export(const struct adapted *a, const struct stage_run *run, const char *unpacked,
                       struct err *e)
{
    struct plan_mem parts = {.n_parts = 0};
    adapted_memory(a, &parts);
    plan_mem_taken(&parts);
    int rc = unpacked ? model_trainable_memory(unpacked, &parts, e) : 0;
    if (unpacked)
        parts.taken_bytes += a->model.file.map.n_bytes; /* the same pages once more */
    if (rc == 0)
        plan_mem_say(&parts, run, "it needs a machine with more");
    return rc;
}

void adapted_release(struct adapted *a)
{
    adapter_release(&a->own);
    model_release(&a->model);
    memset(a, 0, sizeof *a);
}
