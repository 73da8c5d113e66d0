#include "stages/model/lora_config.h"

#include <math.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "stages/model/lora.h"

static bool is_empty(const struct json *v)
{
    switch (json_type(v)) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return !json_bool(v);
    case JSON_STRING:
        return json_string(v)[0] == '\0';
    case JSON_ARRAY:
    case JSON_OBJECT:
        return json_count(v) == 0;
    case JSON_NUMBER:
        break;
    }
    return false;
}

static int take(struct lora_config *out, int64_t rank, double scale, double alpha, struct err *e)
{
    if (rank < 1)
        return err_set(e, ERR_FORMAT, "the rank is %lld, expected 1 or more", (long long)rank);
    if (rank > LORA_RANK_MAX)
        return err_set(e, ERR_LIMIT, "the rank is %lld, LORA_RANK_MAX is %d", (long long)rank,
                       LORA_RANK_MAX);
    if (!(scale > 0 && alpha > 0 && alpha <= 1e6))
        return err_set(e, ERR_FORMAT,
                       "the scale is %g (alpha %g), expected above 0 and an alpha to 1e6", scale,
                       alpha);
    *out = (struct lora_config){(int)rank, alpha};
    return 0;
}

/* ---- PEFT ---- */

/* Where a key is not empty: NULL, it says nothing about the result; else why it is refused. */
struct peft_key {
    const char *key;
    const char *why;
};

static const struct peft_key PEFT_KEYS[] = {
    {"peft_type", NULL},
    {"r", NULL},
    {"lora_alpha", NULL},
    {"use_rslora", NULL},
    {"bias", NULL},
    {"init_lora_weights", NULL},
    {"rank_pattern", NULL},
    {"alpha_pattern", NULL},
    {"task_type", NULL},
    {"auto_mapping", NULL},
    {"peft_version", NULL},
    {"base_model_name_or_path", NULL},
    {"revision", NULL},
    {"inference_mode", NULL},
    {"target_modules", NULL},
    {"exclude_modules", NULL},
    {"lora_dropout", NULL},
    {"fan_in_fan_out", NULL},
    {"layers_to_transform", NULL},
    {"layers_pattern", NULL},
    {"megatron_core", NULL},
    {"loftq_config", NULL},
    {"eva_config", NULL},
    {"corda_config", NULL},
    {"lora_ga_config", NULL},
    {"runtime_config", NULL},
    {"qalora_group_size", NULL},
    {"ensure_weight_tying", NULL},
    {"use_dora", "DoRA scales every output by a magnitude of its own, which LoRA has not"},
    {"lora_bias", "it adds a bias to B, and an adapter here is A and B alone"},
    {"modules_to_save", "whole modules are no low-rank change"},
    {"trainable_token_indices", "it changes rows of the embedding, which no adapter here can"},
    {"layer_replication", "it runs layers twice"},
    {"target_parameters", "it adapts parameters that are no linears"},
    {"use_qalora", "its A reads averages of groups of inputs"},
    {"alora_invocation_tokens", "it adapts a part of the tokens only"},
};

static int check_keys(const struct json *root, struct err *e)
{
    for (const struct json *v = json_first(root); v; v = json_next(v)) {
        const struct peft_key *known = NULL;
        for (size_t i = 0; i < sizeof PEFT_KEYS / sizeof PEFT_KEYS[0] && !known; i++)
            if (str_eq(json_key(v), PEFT_KEYS[i].key))
                known = &PEFT_KEYS[i];
        if (is_empty(v) || (known && !known->why))
            continue;
        return err_set(e, ERR_FORMAT, "%.80s: %s", json_key(v),
                       known ? known->why
                             : "this key is not known here and not empty, so what the adapter "
                               "computes is not known either");
    }
    return 0;
}

/* Ranks or alphas of single modules: fine as long as none differs from that of all. */
static int check_pattern(const struct json *root, const char *key, double of_all, struct err *e)
{
    const struct json *pattern = json_get(root, key);
    if (!pattern || is_empty(pattern))
        return 0;
    if (json_type(pattern) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT, "%s: found %s, expected an object", key,
                       json_type_name(json_type(pattern)));
    for (const struct json *v = json_first(pattern); v; v = json_next(v))
        if (json_type(v) != JSON_NUMBER || json_number(v) != of_all)
            return err_set(e, ERR_FORMAT,
                           "%s: \"%.80s\" differs from %g, and an adapter here has one rank and "
                           "one alpha for all modules",
                           key, json_key(v), of_all);
    return 0;
}

/* Some ways to begin take a part out of the base; the adapter fits what is left of it alone. */
static int check_init(const struct json *root, struct err *e)
{
    static const char *const harmless[] = {"gaussian", "eva", "orthogonal", "true", "false"};
    const struct json *v = json_get(root, "init_lora_weights");
    if (!v || json_type(v) != JSON_STRING)
        return 0;
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++)
        if (str_eq(json_string(v), harmless[i]))
            return 0;
    return err_set(e, ERR_FORMAT,
                   "init_lora_weights is \"%.40s\": that changes the base's own weights too; save "
                   "it with path_initial_model_for_weight_conversion, which makes it a plain LoRA",
                   json_string(v));
}

static int parse_peft(const struct json *root, struct lora_config *out, struct err *e)
{
    const char *type = NULL;
    const struct json *bias = json_get(root, "bias"), *rs = json_get(root, "use_rslora");
    int64_t rank = 0;
    double alpha = 0;
    int rc = json_need_string(root, "peft_type", &type, e);
    if (rc == 0 && !str_eq(type, "LORA"))
        rc = err_set(e, ERR_FORMAT, "peft_type is \"%.40s\", expected \"LORA\"", type);
    if (rc == 0)
        rc = check_keys(root, e);
    if (rc == 0 && bias && (json_type(bias) != JSON_STRING || !str_eq(json_string(bias), "none")))
        rc = err_set(e, ERR_FORMAT, "bias is not \"none\": no linear of this class has a bias");
    if (rc == 0 && rs && json_type(rs) != JSON_BOOL && !is_empty(rs))
        rc = err_set(e, ERR_FORMAT, "use_rslora: expected true or false");
    if (rc == 0)
        rc = check_init(root, e);
    if (rc == 0)
        rc = json_need_i64(root, "r", &rank, e);
    if (rc == 0)
        rc = json_need_f64(root, "lora_alpha", &alpha, e);
    if (rc == 0)
        rc = check_pattern(root, "rank_pattern", (double)rank, e);
    if (rc == 0)
        rc = check_pattern(root, "alpha_pattern", alpha, e);
    if (rc != 0)
        return rc;
    if (rs && json_type(rs) == JSON_BOOL && json_bool(rs) && rank > 0)
        alpha = alpha / sqrt((double)rank) * (double)rank;
    return take(out, rank, rank > 0 ? alpha / (double)rank : 0, alpha, e);
}

/* ---- MLX ---- */

/* The alpha of which scale is the quotient, to the last bit; of several the one that is short. */
static double alpha_of(double scale, int64_t rank)
{
    double alpha = scale * (double)rank, brief = rint(alpha * 1e6) / 1e6;
    const double tries[4] = {brief, alpha, nextafter(alpha, 0), nextafter(alpha, INFINITY)};
    for (int i = 0; i < 4; i++)
        if (tries[i] / (double)rank == scale)
            return tries[i];
    return alpha;
}

static int parse_mlx(const struct json *root, struct lora_config *out, struct err *e)
{
    const struct json *type = json_get(root, "fine_tune_type"), *p = NULL;
    int64_t rank = 0;
    double scale = 0;
    int rc = 0;
    if (type && (json_type(type) != JSON_STRING || !str_eq(json_string(type), "lora")))
        return err_set(e, ERR_FORMAT,
                       "fine_tune_type is %s%.40s, expected lora: full weights and the magnitudes "
                       "of DoRA are no low-rank change",
                       json_type(type) == JSON_STRING ? "" : "no text",
                       json_type(type) == JSON_STRING ? json_string(type) : "");
    rc = json_need_object(root, "lora_parameters", &p, e);
    if (rc == 0)
        rc = json_need_i64(p, "rank", &rank, e);
    if (rc == 0 && !json_get(p, "scale"))
        rc = err_set(e, ERR_FORMAT,
                     "scale is missing: mlx-lm once took 20 where it is; write the one that the "
                     "adapter was trained with");
    if (rc == 0)
        rc = json_need_f64(p, "scale", &scale, e);
    if (rc != 0)
        return p ? err_wrap(e, "lora_parameters") : rc;
    return take(out, rank, scale, rank > 0 ? alpha_of(scale, rank) : 0, e);
}

/* ---- both ---- */

int lora_config_parse(enum lora_format format, const struct json *root, struct lora_config *out,
                      struct err *e)
{
    CHECK(format != LORA_TOOLKIT);
    if (json_type(root) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT, "found %s, expected an object",
                       json_type_name(json_type(root)));
    return format == LORA_PEFT ? parse_peft(root, out, e) : parse_mlx(root, out, e);
}

int lora_config_read(enum lora_format format, const char *path, struct lora_config *out,
                     struct err *e)
{
    struct json *root = NULL;
    int rc = json_read(path, &root, e);
    if (rc != 0)
        return rc;
    rc = lora_config_parse(format, root, out, e);
    json_free(root);
    return rc == 0 ? 0 : err_wrap(e, "%s", path);
}

static struct json *texts(const char *const *list)
{
    struct json *v = json_new_array();
    for (; *list; list++)
        json_append(v, json_new_string(*list));
    return v;
}

static struct json *peft_tree(const struct lora_config *c)
{
    static const char *const modules[] = {"down_proj", "gate_proj", "k_proj", "o_proj",
                                          "q_proj",    "up_proj",   "v_proj", NULL};
    struct json *v = json_new_object();
    json_put(v, "base_model_name_or_path", json_new_null());
    json_put_string(v, "bias", "none");
    json_put_bool(v, "fan_in_fan_out", false);
    json_put_bool(v, "inference_mode", true);
    json_put_bool(v, "init_lora_weights", true);
    json_put_f64(v, "lora_alpha", c->alpha);
    json_put_f64(v, "lora_dropout", 0);
    json_put(v, "modules_to_save", json_new_null());
    json_put_string(v, "peft_type", "LORA");
    json_put_i64(v, "r", c->rank);
    json_put(v, "target_modules", texts(modules));
    json_put(v, "task_type", json_new_null()); /* else only models of transformers would do */
    json_put_bool(v, "use_dora", false);
    json_put_bool(v, "use_rslora", false);
    return v;
}

static struct json *mlx_tree(const struct lora_config *c, int n_layers)
{
    static const char *const modules[] = {
        "mlp.down_proj",    "mlp.gate_proj",      "mlp.up_proj", "self_attn.out_proj",
        "self_attn.q_proj", "self_attn.qkv_proj", NULL};
    struct json *v = json_new_object(), *p = json_new_object();
    json_put_string(v, "fine_tune_type", "lora");
    json_put_i64(v, "num_layers", n_layers);
    json_put_f64(p, "dropout", 0);
    json_put(p, "keys", texts(modules));
    json_put_i64(p, "rank", c->rank);
    json_put_f64(p, "scale", c->alpha / c->rank);
    json_put(v, "lora_parameters", p);
    return v;
}

void lora_config_write(enum lora_format format, const struct lora_config *c, int n_layers,
                       struct buf *out)
{
    CHECK(format != LORA_TOOLKIT);
    struct json *v = format == LORA_PEFT ? peft_tree(c) : mlx_tree(c, n_layers);
    json_write_pretty(v, 4, out);
    json_free(v);
}
