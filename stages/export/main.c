/*
 * export: an adapter checkpoint becomes a .fmadapter package (stages/model/fmadapter.h). The base
 * gives the shape, and its content id is written into the package; its weights are not read.
 */

#include <stddef.h>
#include <string.h>

#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "stages/kit/blocks.h"
#include "stages/kit/stage.h"
#include "stages/model/fmadapter.h"
#include "stages/model/model.h"

struct export_config {
    const char *name;
    const char *author;
    const char *description;
    const char *license;
};

static const struct param PARAMS[] = {
    {"name", PARAM_TEXT, offsetof(struct export_config, name), NULL, 0, 0, NULL, "",
     "Name of the adapter: letters, digits and _ (a hyphen makes it impossible to load)."},
    {"author", PARAM_TEXT, offsetof(struct export_config, author), "", 0, 0, NULL, "",
     "Who made it; shown to users of the package."},
    {"description", PARAM_TEXT, offsetof(struct export_config, description), "", 0, 0, NULL, "",
     "What it does."},
    {"license", PARAM_TEXT, offsetof(struct export_config, license), "", 0, 0, NULL, "",
     "Terms of use."},
};

static const struct stage_port INS[] = {
    {"adapter", "adapter", true, "The trained checkpoint."},
    {"base", "base", true, "The base it was trained on: gives the shape, is named by its id."},
    {"signature", "signature", true, "The base's signature: 40 hex digits, as a JSON string."},
    {"export", "export", true, "The toolkit's package rules: format, rank, alpha, draft tokens."},
};

static const struct stage_port OUTS[] = {
    {"package", "package", true, "The folder with metadata.json and adapter_weights.bin."},
    {"report", "report", true, "Sizes, and what the rounding to fp16 did."},
};

static const char *const COPIES[] = {"adapter", NULL};

static const struct stage_spec SPEC = {
    .name = "export",
    .summary = "Writes a trained adapter as a .fmadapter package.",
    .portable = true,
    .copies = COPIES,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct export_config),
};

static int copy_text(const char *what, const char *from, char *to, size_t to_bytes, struct err *e)
{
    size_t n = strlen(from);
    if (n >= to_bytes)
        return err_set(e, ERR_CONFIG, "%s: %zu bytes, at most %zu", what, n, to_bytes - 1);
    memcpy(to, from, n + 1);
    return 0;
}

static int read_signature(const char *path, struct fmadapter_info *info, struct err *e)
{
    struct json *root = NULL;
    int rc = json_read(path, &root, e);
    if (rc == 0 && json_type(root) != JSON_STRING)
        rc = err_set(e, ERR_CONFIG, "signature: expected a JSON string of %d hex digits, found %s",
                     FMADAPTER_SIGNATURE_HEX, json_type_name(json_type(root)));
    if (rc == 0 && !str_is_hex(json_string(root), FMADAPTER_SIGNATURE_HEX))
        rc = err_set(e, ERR_CONFIG, "signature \"%.80s\": expected %d lower-case hex digits",
                     json_string(root), FMADAPTER_SIGNATURE_HEX);
    if (rc == 0)
        rc = copy_text("signature", json_string(root), info->signature, sizeof info->signature, e);
    json_free(root);
    return rc;
}

/* The toolkit's rules: what its runtime will make of the package. */
static int read_rules(const char *path, struct fmadapter_info *info, struct err *e)
{
    static const char *const known[] = {"format", "lora_rank", "alpha", "draft_token_count"};
    struct json *root = NULL;
    const char *format = NULL;
    int64_t rank = 0, draft_tokens = 0;
    double alpha = 0;
    int rc = json_read(path, &root, e);
    if (rc == 0)
        rc = json_only_keys(root, known, sizeof known / sizeof known[0], e);
    if (rc == 0)
        rc = json_need_string(root, "format", &format, e);
    if (rc == 0)
        rc = json_need_i64(root, "lora_rank", &rank, e);
    if (rc == 0)
        rc = json_need_f64(root, "alpha", &alpha, e);
    if (rc == 0)
        rc = json_need_i64(root, "draft_token_count", &draft_tokens, e);
    if (rc == 0 && !str_eq(format, "fmadapter"))
        rc = err_set(e, ERR_CONFIG, "format \"%s\": only \"fmadapter\" is known", format);
    if (rc == 0 && (rank < 1 || rank > LORA_RANK_MAX))
        rc = err_set(e, ERR_CONFIG, "lora_rank %lld: expected 1 to %d", (long long)rank,
                     LORA_RANK_MAX);
    if (rc == 0 && alpha != FMADAPTER_SCALE * (double)rank)
        rc = err_set(e, ERR_CONFIG,
                     "alpha %g for rank %lld: expected %g (a package has no field for alpha, the "
                     "runtime multiplies by %g)",
                     alpha, (long long)rank, FMADAPTER_SCALE * (double)rank, FMADAPTER_SCALE);
    if (rc == 0 && (draft_tokens < 1 || draft_tokens > FMADAPTER_DRAFT_TOKENS_MAX))
        rc = err_set(e, ERR_CONFIG, "draft_token_count %lld: expected 1 to %d",
                     (long long)draft_tokens, FMADAPTER_DRAFT_TOKENS_MAX);
    json_free(root);
    if (rc != 0)
        return err_wrap(e, "export rules");
    info->rank = (int)rank;
    info->draft_token_count = (int)draft_tokens;
    return 0;
}

static int write_report(const char *path, const struct fmadapter_info *info,
                        const struct fmadapter_rounding *rounding, struct err *e)
{
    struct json *report = blocks_new();
    struct json *rows = blocks_add_values(report, "Package");
    blocks_value(rows, "name", json_new_string(info->name));
    blocks_value(rows, "base signature", json_new_string(info->signature));
    blocks_value(rows, "rank", json_new_i64(info->rank));
    blocks_value(rows, "records", json_new_i64(rounding->n_records));
    blocks_value(rows, "bytes of weights", json_new_i64((int64_t)rounding->n_bytes));
    blocks_value(rows, "values", json_new_i64((int64_t)rounding->n_values));
    blocks_value(rows, "largest value", json_new_f64(rounding->max_value));
    blocks_value(rows, "largest error of fp16", json_new_f64(rounding->max_error));
    blocks_value(rows, "values that became 0", json_new_i64((int64_t)rounding->n_flushed));
    int rc = blocks_save(report, path, e);
    json_free(report);
    return rc;
}

static int read_info(const struct stage_run *r, struct fmadapter_info *info, struct err *e)
{
    const struct export_config *config = r->config;
    int rc = copy_text("name", config->name, info->name, sizeof info->name, e);
    if (rc == 0)
        rc = copy_text("author", config->author, info->author, sizeof info->author, e);
    if (rc == 0)
        rc = copy_text("description", config->description, info->description,
                       sizeof info->description, e);
    if (rc == 0)
        rc = copy_text("license", config->license, info->license, sizeof info->license, e);
    if (rc == 0)
        rc = read_signature(stage_in(r, "signature"), info, e);
    if (rc == 0)
        rc = read_rules(stage_in(r, "export"), info, e);
    if (rc == 0)
        rc = fmadapter_check_info(info, e);
    if (rc == 0)
        rc = sha256_file(stage_in(r, "adapter"), &info->adapter, NULL, e);
    if (rc == 0)
        rc = sha256_file(stage_in(r, "base"), &info->base, NULL, e);
    return rc;
}

static int run(const struct stage_run *r, struct err *e)
{
    struct fmadapter_info info = {0};
    struct fmadapter_rounding rounding = {0};
    struct shape shape = {0};
    struct adapter adapter = {0};
    int rc = read_info(r, &info, e);
    if (rc == 0)
        rc = model_read_shape(stage_in(r, "base"), &shape, e);
    if (rc == 0)
        rc = adapter_open(&adapter, stage_in(r, "adapter"), &shape, e);
    if (rc == 0)
        rc = adapter_check_base(&adapter, &info.base, e);
    if (rc == 0 && adapter.rank != info.rank)
        rc = err_set(e, ERR_CONFIG,
                     "the adapter has rank %d, the toolkit's package rules want rank %d",
                     adapter.rank, info.rank);
    if (rc == 0)
        rc = fmadapter_write(stage_out(r, "package"), &adapter, &info, &rounding, e);
    if (rc == 0)
        rc = write_report(stage_out(r, "report"), &info, &rounding, e);
    if (rc == 0)
        stage_say(r, "%d records, %llu bytes, largest error of fp16 %.3g", rounding.n_records,
                  (unsigned long long)rounding.n_bytes, rounding.max_error);
    adapter_release(&adapter);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
