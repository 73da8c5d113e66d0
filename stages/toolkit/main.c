/*
 * toolkit: puts the parts of a nano toolkit together: checks that they belong to each other, copies
 * them, and writes toolkit.yaml with every facet (configs/README.md). The signature is the first 40
 * hex digits of the base's SHA-256.
 */

#include <stddef.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/stage.h"
#include "stages/model/fmadapter.h"
#include "stages/model/model.h"
#include "stages/text/render.h"

struct toolkit_config {
    const char *name;
    const char *version;
    const char *description;
    int64_t lora_rank;
    int64_t draft_token_count;
};

static const struct param PARAMS[] = {
    {"name", PARAM_TEXT, offsetof(struct toolkit_config, name), "nano", 0, 0, NULL, "",
     "Name of the toolkit: letters, digits and _."},
    {"version", PARAM_TEXT, offsetof(struct toolkit_config, version), NULL, 0, 0, NULL, "",
     "Version: letters, digits, dots and _; a version never changes its content."},
    {"description", PARAM_TEXT, offsetof(struct toolkit_config, description), "", 0, 0, NULL, "",
     "One line for people."},
    {"lora_rank", PARAM_INT, offsetof(struct toolkit_config, lora_rank), "32", 1, LORA_RANK_MAX,
     NULL, "", "Rank that an exported adapter must have; alpha is half of it."},
    {"draft_token_count", PARAM_INT, offsetof(struct toolkit_config, draft_token_count), "5", 1,
     FMADAPTER_DRAFT_TOKENS_MAX, NULL, "tokens", "Tokens that the draft proposes at a time."},
};

static const struct stage_port INS[] = {
    {"base", "base", true, "The packed base; its hash gives the signature."},
    {"tokenizer", "tokenizer", true, "The SentencePiece model."},
    {"template", "template", true, "The prompt format."},
    {"shape", "shape", true, "The dimensions; must be the base's."},
    {"recovery_8", "adapter", false, "Accuracy-recovery adapter of rank 8."},
    {"recovery_16", "adapter", false, "Accuracy-recovery adapter of rank 16."},
    {"recovery_32", "adapter", false, "Accuracy-recovery adapter of rank 32."},
    {"draft", "draft", false, "The draft model."},
};

static const struct stage_port OUTS[] = {
    {"toolkit", "toolkit", true, "The folder with toolkit.yaml and the files it names."},
};

static const struct stage_spec SPEC = {
    .name = "toolkit",
    .summary = "Assembles a toolkit folder from a base and what was made for it.",
    .portable = true,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct toolkit_config),
};

static const struct recovery_part {
    const char *port;
    int rank;
    const char *file;
} recovery_parts[] = {
    {"recovery_8", 8, "recovery-r8.safetensors"},
    {"recovery_16", 16, "recovery-r16.safetensors"},
    {"recovery_32", 32, "recovery-r32.safetensors"},
};
#define N_RECOVERY (sizeof recovery_parts / sizeof recovery_parts[0])

/* What may stand unquoted in a path, an axis and a YAML scalar. */
static bool is_label(const char *s)
{
    bool ok = *s != '\0' && *s != '.' && *s != '-';
    for (; *s != '\0'; s++)
        ok = ok && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.", *s);
    return ok;
}

static int check_config(const struct toolkit_config *config, struct err *e)
{
    if (!str_is_word(config->name))
        return err_set(e, ERR_CONFIG, "name \"%s\": expected letters, digits and _ only",
                       config->name);
    if (!is_label(config->version))
        return err_set(e, ERR_CONFIG, "version \"%s\": expected letters, digits, dots and _ only",
                       config->version);
    return 0;
}

static int check_recovery(const char *path, const struct recovery_part *part,
                          const struct shape *shape, const struct content_id *base, struct err *e)
{
    struct adapter adapter = {0};
    int rc = adapter_open(&adapter, path, shape, e);
    if (rc == 0 && adapter.rank != part->rank)
        rc = err_set(e, ERR_CONFIG, "%s has rank %d", part->port, adapter.rank);
    if (rc == 0 && adapter_check_base(&adapter, base, e) != 0)
        rc = err_wrap(e, "%s", part->port);
    adapter_release(&adapter);
    return rc;
}

/* Its ids have rows in the embedding, and it has the template's pieces. */
static int check_tokenizer(const struct stage_run *r, const struct shape *shape, struct err *e)
{
    struct template template = {0};
    struct render render;
    struct spm *spm = NULL;
    int rc = template_read(&template, stage_in(r, "template"), e);
    if (rc == 0)
        rc = spm_open(stage_in(r, "tokenizer"), &spm, e);
    if (rc == 0)
        rc = render_init(&render, spm, &template, e);
    if (rc == 0)
        rc = spm_check_fits(spm, shape->vocab, e);
    spm_close(spm);
    template_release(&template);
    return rc;
}

/* Do the parts belong together? *base is the content id of the base. */
static int check_parts(const struct stage_run *r, struct content_id *base, struct err *e)
{
    struct shape shape = {0}, own = {0};
    int rc = shape_read(stage_in(r, "shape"), &shape, e);
    if (rc == 0)
        rc = model_read_shape(stage_in(r, "base"), &own, e);
    if (rc == 0 && !shape_equal(&shape, &own))
        rc = err_set(e, ERR_CONFIG, "the shape is not the one that the base carries");
    if (rc == 0)
        rc = check_tokenizer(r, &shape, e);
    if (rc == 0)
        rc = sha256_file(stage_in(r, "base"), base, NULL, e);
    for (size_t i = 0; i < N_RECOVERY && rc == 0; i++) {
        const char *path = stage_in(r, recovery_parts[i].port);
        if (path != NULL)
            rc = check_recovery(path, &recovery_parts[i], &shape, base, e);
    }
    const char *draft = stage_in(r, "draft");
    if (rc == 0 && draft != NULL) {
        struct shape draft_shape = {0};
        rc = model_read_shape(draft, &draft_shape, e);
        if (rc == 0 && draft_shape.vocab != shape.vocab)
            rc = err_set(e, ERR_CONFIG, "the draft has %d pieces, the base %d", draft_shape.vocab,
                         shape.vocab);
    }
    return rc;
}

static int copy_part(const struct stage_run *r, const char *port, const char *file, struct err *e)
{
    char *to = file_join(stage_out(r, "toolkit"), file);
    int rc = file_copy_tree(stage_in(r, port), to, e);
    xfree(to);
    return rc;
}

static void write_recovery(const struct stage_run *r, struct buf *yaml)
{
    size_t n = 0;
    for (size_t i = 0; i < N_RECOVERY; i++) {
        if (stage_in(r, recovery_parts[i].port) == NULL)
            continue;
        if (n++ == 0)
            buf_add_text(yaml, "  recovery:\n    by: rank\n");
        buf_printf(yaml, "    %d: %s\n", recovery_parts[i].rank, recovery_parts[i].file);
    }
}

/* Always the same text for the same parts. */
static int write_yaml(const struct stage_run *r, const struct content_id *base, struct err *e)
{
    const struct toolkit_config *config = r->config;
    struct buf yaml;
    buf_init(&yaml, BUF_MAX_DEFAULT);
    buf_add_text(&yaml, "fmforge_toolkit: 1\n");
    buf_printf(&yaml, "name: %s\nversion: \"%s\"\n", config->name, config->version);
    if (*config->description != '\0') {
        buf_add_text(&yaml, "description: ");
        json_add_string(&yaml, config->description);
        buf_add_char(&yaml, '\n');
    }
    buf_printf(&yaml, "signature: \"%.*s\"\nfacets:\n", FMADAPTER_SIGNATURE_HEX, base->hex);
    buf_add_text(&yaml, "  base: base.safetensors\n");
    write_recovery(r, &yaml);
    if (stage_in(r, "draft") != NULL)
        buf_add_text(&yaml, "  draft: draft.safetensors\n");
    buf_add_text(&yaml, "  tokenizer: tokenizer.model\n  template: template.json\n"
                        "  shape: shape.json\n");
    buf_printf(&yaml, "  export:\n    format: fmadapter\n    lora_rank: %lld\n    alpha: ",
               (long long)config->lora_rank);
    json_add_number(&yaml, FMADAPTER_SCALE * (double)config->lora_rank);
    buf_printf(&yaml, "\n    draft_token_count: %lld\n", (long long)config->draft_token_count);
    char *path = file_join(stage_out(r, "toolkit"), "toolkit.yaml");
    int rc = file_write(path, yaml.bytes, yaml.n_bytes, e);
    xfree(path);
    buf_release(&yaml);
    return rc;
}

static int run(const struct stage_run *r, struct err *e)
{
    struct content_id base = {0};
    int rc = check_config(r->config, e);
    if (rc == 0)
        rc = check_parts(r, &base, e);
    if (rc == 0)
        rc = file_make_folder(stage_out(r, "toolkit"), e);
    if (rc == 0)
        rc = copy_part(r, "base", "base.safetensors", e);
    if (rc == 0)
        rc = copy_part(r, "tokenizer", "tokenizer.model", e);
    if (rc == 0)
        rc = copy_part(r, "template", "template.json", e);
    if (rc == 0)
        rc = copy_part(r, "shape", "shape.json", e);
    for (size_t i = 0; i < N_RECOVERY && rc == 0; i++)
        if (stage_in(r, recovery_parts[i].port) != NULL)
            rc = copy_part(r, recovery_parts[i].port, recovery_parts[i].file, e);
    if (rc == 0 && stage_in(r, "draft") != NULL)
        rc = copy_part(r, "draft", "draft.safetensors", e);
    if (rc == 0)
        rc = write_yaml(r, &base, e);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
