#include "stages/model/mlx_model.h"

#include <math.h>
#include <stdio.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"

/* ---- names ---- */

static void layer_name(const struct shape *s, int layer, const char *rest, const char *end,
                       char out[SHAPE_NAME_BYTES])
{
    bool reuses = shape_layer_reuses(s, layer);
    int n =
        snprintf(out, SHAPE_NAME_BYTES, "model.%s.%d.%s%s", reuses ? "kv_reuse_layers" : "layers",
                 reuses ? layer - s->layers_0 : layer, rest, end);
    CHECK(n > 0 && n < SHAPE_NAME_BYTES);
}

static const char *linear_name(const struct shape *s, int layer, enum linear_slot slot)
{
    static const char *const names[LINEAR_SLOTS] = {"self_attn.qkv_proj", "self_attn.out_proj",
                                                    "mlp.gate_proj", "mlp.up_proj",
                                                    "mlp.down_proj"};
    return slot == LINEAR_QKV && shape_layer_reuses(s, layer) ? "self_attn.q_proj" : names[slot];
}

void mlx_tensor_name(const struct shape *s, const struct shape_tensor *t,
                     char out[SHAPE_NAME_BYTES])
{
    static const char *const names[] = {[ROLE_ATTENTION_NORM] = "input_layernorm",
                                        [ROLE_QUERY_NORM] = "self_attn.q_norm",
                                        [ROLE_KEY_NORM] = "self_attn.k_norm",
                                        [ROLE_FFN_NORM] = "post_attention_layernorm"};
    if (t->layer < 0)
        snprintf(out, SHAPE_NAME_BYTES, "model.%s.weight",
                 t->role == ROLE_EMBEDDING ? "embedding" : "output_norm");
    else
        layer_name(s, t->layer,
                   t->role == ROLE_LINEAR ? linear_name(s, t->layer, t->slot) : names[t->role],
                   ".weight", out);
}

bool mlx_wrapped_name(const struct shape *s, const struct shape_tensor *t,
                      char out[SHAPE_NAME_BYTES])
{
    if (t->role != ROLE_LINEAR)
        return false;
    layer_name(s, t->layer, linear_name(s, t->layer, t->slot), ".linear.weight", out);
    return true;
}

void mlx_scale_name(int layer, bool value, char out[SHAPE_NAME_BYTES])
{
    snprintf(out, SHAPE_NAME_BYTES, "model.layers.%d.self_attn.%s", layer,
             value ? "quant_value_scale" : "quant_key_scale");
}

void mlx_lora_name(const struct shape *s, const struct shape_module *m, bool b,
                   char out[SHAPE_NAME_BYTES])
{
    char end[16];
    if (m->slot == LINEAR_QKV && !shape_layer_reuses(s, m->layer))
        snprintf(end, sizeof end, ".lora_%c.%d", b ? 'b' : 'a', m->lora);
    else
        snprintf(end, sizeof end, ".lora_%c", b ? 'b' : 'a');
    layer_name(s, m->layer, linear_name(s, m->layer, m->slot), end, out);
}

struct kv_range mlx_range_of_scale(float scale)
{
    struct kv_range r = {-128.0f * scale, 127.0f * scale};
    while (r.max / 127.0f > scale) /* the product was rounded up */
        r.max = nextafterf(r.max, 0);
    return r;
}

/* ---- config.json ---- */

struct field {
    const char *key;
    double expected,
        fallback; /* fallback: what afm7 takes where it is absent; -1 = it must be there */
};

#define MLX_FIELDS 9

static void fields_of(const struct shape *s, struct field out[MLX_FIELDS])
{
    const struct field fields[MLX_FIELDS] = {
        {"vocab_size", s->vocab, -1},
        {"hidden_dim", s->hidden, -1},
        {"num_layers", shape_layers(s), -1},
        {"num_kv_reuse_layers", s->layers_1, -1},
        {"num_heads", s->heads, -1},
        {"num_kv_heads", s->kv_heads, -1},
        {"hidden_dim_scale_factor", (double)s->ffn / s->hidden, 3.25},
        {"rope_theta", s->rope_theta, 50000},
        {"rms_norm_eps", s->norm_eps, 1e-5},
    };
    for (int i = 0; i < MLX_FIELDS; i++)
        out[i] = fields[i];
}

/* The factor counts as what afm7 makes of it, a width. */
static bool field_fits(const struct field *f, double found, const struct shape *s)
{
    if (str_eq(f->key, "hidden_dim_scale_factor"))
        return floor(s->hidden * found) == s->ffn;
    return found == f->expected;
}

static int check_fields(const struct json *config, const struct shape *s, struct err *e)
{
    struct field fields[MLX_FIELDS];
    struct buf text;
    int n = 0;
    buf_init(&text, BUF_MAX_DEFAULT);
    fields_of(s, fields);
    for (int i = 0; i < MLX_FIELDS; i++) {
        const struct json *v = json_get(config, fields[i].key);
        bool number = json_is_number(v);
        double found = number ? json_number(v) : fields[i].fallback;
        if ((number || (!v && found >= 0)) && field_fits(&fields[i], found, s))
            continue;
        buf_printf(&text, "%s%s is %s", n++ ? "; " : "", fields[i].key, v ? "" : "absent");
        if (number || (!v && found >= 0))
            buf_printf(&text, "%s%g", v ? "" : ", which means ", found);
        else if (v)
            buf_add_text(&text, "no number");
        buf_printf(&text, ", the shape has %g", fields[i].expected);
    }
    int rc = n ? err_set(e, ERR_FORMAT, "%s", buf_text(&text)) : 0;
    buf_release(&text);
    return rc;
}

static bool has_own_width(const struct shape *s)
{
    return s->head_dim * s->heads != s->hidden;
}

int mlx_config_check(const struct json *config, const struct shape *s, struct err *e)
{
    const char *type = NULL;
    if (json_type(config) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT, "found %s, expected an object",
                       json_type_name(json_type(config)));
    int rc = json_need_string(config, "model_type", &type, e);
    if (rc != 0)
        return rc;
    if (!str_eq(type, "afm7"))
        return err_set(e, ERR_FORMAT, "model_type is \"%.40s\", expected \"afm7\"", type);
    if (json_get(config, "quantization") || json_get(config, "quantization_config"))
        return err_set(e, ERR_FORMAT,
                       "quantization: MLX has rounded these weights to groups of its own; import "
                       "the model as it was before (mlx_lm.convert without -q)");
    if (has_own_width(s))
        return err_set(e, ERR_FORMAT,
                       "heads are hidden / heads = %d wide in afm7, the shape has %d",
                       s->hidden / s->heads, s->head_dim);
    return check_fields(config, s, e);
}

int mlx_config_write(const struct shape *s, struct buf *out, struct err *e)
{
    struct field fields[MLX_FIELDS];
    if (has_own_width(s))
        return err_set(e, ERR_CONFIG,
                       "afm7 has heads of hidden / heads = %d, this model's are %d wide",
                       s->hidden / s->heads, s->head_dim);
    if (!s->kv_quant)
        return err_set(e, ERR_CONFIG, "afm7 always quantises keys and values, this model does not");
    struct json *config = json_new_object();
    json_put_string(config, "model_type", "afm7");
    fields_of(s, fields);
    for (int i = 0; i < MLX_FIELDS; i++) {
        double v = fields[i].expected;
        if (str_eq(fields[i].key, "hidden_dim_scale_factor"))
            while (floor(s->hidden * v) < s->ffn) /* afm7 truncates */
                v = nextafter(v, INFINITY);
        json_put_f64(config, fields[i].key, v);
    }
    json_write_pretty(config, 4, out);
    json_free(config);
    return 0;
}
