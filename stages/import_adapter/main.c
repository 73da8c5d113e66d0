/*
 * import_adapter: an adapter that another program has trained becomes an adapter here, with the
 * very values and the very scale, or is refused (stages/model/lora_import.h). The way back is
 * export_torch, export_peft, export_mlx.
 */

#include <stddef.h>
#include <stdio.h>

#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"
#include "stages/kit/plan_mem.h"
#include "stages/model/lora_import.h"
#include "stages/model/model.h"

enum missing { MISSING_REFUSE, MISSING_FRESH };

struct import_config {
    int64_t rank, seed;
    double alpha;
    int missing; /* enum missing */
};

static const char *const MISSING[] = {"refuse", "fresh", NULL};

#define AT(member) offsetof(struct import_config, member)

static const struct param PARAMS[] = {
    {"rank", PARAM_INT, AT(rank), "0", 0, LORA_RANK_MAX, NULL, "",
     "The rank that it must have, as the toolkit's package rules want it; 0 = any."},
    {"alpha", PARAM_FLOAT, AT(alpha), "0", 0, 100000, NULL, "",
     "LoRA alpha of pt, which the file does not say; 0 = rank / 2. Of peft and mlx it must be what "
     "they say, or 0."},
    {"missing", PARAM_CHOICE, AT(missing), "refuse", 0, 0, MISSING, "",
     "Linears of which the file has nothing. refuse: it stops with the list. fresh: they get a new "
     "A and a B of zeros, which computes the same as none; training then goes on with all."},
    {"seed", PARAM_INT, AT(seed), "1", 0, 4294967295.0, NULL, "", "Values of a fresh A."},
};

static const struct stage_port INS[] = {
    {"base", "base", true, "The base that it was trained on: gives the shape, is named by its id."},
    {"pt", "torch", false, "adapter-final.pt, or another file of torch.save with its names."},
    {"peft", "peft", false,
     "Instead of pt: a folder with adapter_config.json and adapter_model.safetensors."},
    {"mlx", "mlx", false,
     "Instead of pt: a folder with adapter_config.json and adapters.safetensors."},
};

static const struct stage_port OUTS[] = {
    {"adapter", "adapter", true, "The adapter, to train on, judge or export."},
    {"metrics", "metrics", true, "Rank, alpha, modules by where they come from."},
    {"report", "report", true, "The same."},
};

static const char *const COPIES[] = {"pt", "peft", "mlx", NULL};

static const struct stage_spec SPEC = {
    .name = "import_adapter",
    .summary = "Takes an adapter of the toolkit, PEFT or MLX without loss.",
    .portable = true,
    .copies = COPIES,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct import_config),
};

struct import_run {
    const struct stage_run *run;
    struct shape shape;
    struct content_id base;
    struct lora_import from;
    struct adapter adapter;
};

/* The one of the three that is given. */
static int pick(struct import_run *p, const char **path, struct err *e)
{
    static const char *const ports[] = {"pt", "peft", "mlx"};
    static const enum lora_format formats[] = {LORA_TOOLKIT, LORA_PEFT, LORA_MLX};
    int n = 0;
    for (int i = 0; i < 3; i++)
        if (stage_in(p->run, ports[i])) {
            *path = stage_in(p->run, ports[i]);
            p->from.format = formats[i];
            n++;
        }
    return n == 1 ? 0 : err_set(e, ERR_CONFIG, "inputs pt, peft and mlx: one of them, found %d", n);
}

static int open_files(struct import_run *p, struct err *e)
{
    const struct import_config *c = p->run->config;
    const char *path = NULL;
    int rc = pick(p, &path, e);
    if (rc == 0)
        rc = model_read_shape(stage_in(p->run, "base"), &p->shape, e);
    if (rc == 0)
        rc = sha256_file(stage_in(p->run, "base"), &p->base, NULL, e);
    if (rc != 0)
        return rc;
    p->from.shape = &p->shape;
    p->from.alpha = c->alpha;
    p->from.fresh_rest = c->missing == MISSING_FRESH;
    p->from.seed = c->seed;
    rc = lora_import_open(&p->from, path, e);
    if (rc == 0 && c->rank != 0 && c->rank != p->from.config.rank)
        rc = err_set(e, ERR_CONFIG, "%s: the adapter has rank %d, but rank %lld is asked for", path,
                     p->from.config.rank, (long long)c->rank);
    return rc;
}

static void say_plan(const struct import_run *p)
{
    struct plan_mem plan = {.n_parts = 0};
    plan_mem_add(&plan, "adapter", adapter_bytes(&p->shape, p->from.config.rank));
    stage_say(p->run, "rank %d, alpha %g, %d modules of %d", p->from.config.rank,
              p->from.config.alpha, p->from.n_modules, shape_n_modules(&p->shape));
    plan_mem_say(&plan, p->run, "it needs a machine with more");
}

static int publish(struct import_run *p, struct err *e)
{
    const struct tensor_meta meta[] = {{"fmforge.base", p->base.hex}};
    const char *path = stage_out(p->run, "adapter");
    struct json *metrics = json_new_object(), *report = blocks_new();
    json_put_i64(metrics, "rank", p->adapter.rank);
    json_put_f64(metrics, "alpha", p->adapter.alpha);
    json_put_i64(metrics, "modules", shape_n_modules(&p->shape));
    json_put_i64(metrics, "modules_from_fused_qkv", p->from.n_fused);
    json_put_i64(metrics, "modules_fresh", shape_n_modules(&p->shape) - p->from.n_modules);
    blocks_add_numbers(report, "Adapter", metrics);
    int rc = path ? adapter_save(&p->adapter, path, DTYPE_F32, meta, 1, e) : 0;
    return blocks_publish(p->run, "metrics", metrics, report, rc, e);
}

static int run(const struct stage_run *run, struct err *e)
{
    struct import_run p = {.run = run};
    int rc = open_files(&p, e);
    if (rc == 0) {
        say_plan(&p);
        rc = lora_import_read(&p.from, &p.adapter, e);
    }
    if (rc == 0)
        rc = adapter_check_base(&p.adapter, &p.base, e);
    if (rc == 0)
        rc = publish(&p, e);
    adapter_release(&p.adapter);
    lora_import_close(&p.from);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
