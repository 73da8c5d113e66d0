#include "stages/model/lora_names.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "stages/model/lora.h"
#include "stages/model/mlx_model.h"

#define FUSED (-1)
#define NAME_PARSED_BYTES 256

static const struct linear_entry {
    const char *name;
    enum linear_slot slot;
    int part; /* of QKV: 0, 1, 2 or FUSED */
} LINEARS[] = {
    {"self_attn.q_proj", LINEAR_QKV, 0},
    {"self_attn.k_proj", LINEAR_QKV, 1},
    {"self_attn.v_proj", LINEAR_QKV, 2},
    {"self_attn.o_proj", LINEAR_OUT, 0},
    {"mlp.gate_proj", LINEAR_GATE, 0},
    {"mlp.up_proj", LINEAR_UP, 0},
    {"mlp.down_proj", LINEAR_DOWN, 0},
    {"self_attn.qkv_proj", LINEAR_QKV, FUSED},
    {"self_attn.out_proj", LINEAR_OUT, 0},
    {"attention.qkv_transform.wrapped.fused_linear", LINEAR_QKV, FUSED},
    {"attention.q_transform.wrapped", LINEAR_QKV, 0},
    {"attention.output_transform.wrapped", LINEAR_OUT, 0},
    {"feed_forward.hidden_transform.linear_0.wrapped", LINEAR_GATE, 0},
    {"feed_forward.hidden_transform.linear_1.wrapped", LINEAR_UP, 0},
    {"feed_forward.output_transform.wrapped", LINEAR_DOWN, 0},
};

/* Takes prefix off *at; false when it is not there. */
static bool take_prefix(const char **at, const char *prefix)
{
    if (!str_starts(*at, prefix))
        return false;
    *at += strlen(prefix);
    return true;
}

/* A number and a point, below end. */
static bool take_index(const char **at, int end, int *out)
{
    char digits[8];
    int64_t v = 0;
    size_t n = strspn(*at, "0123456789");
    if (n == 0 || n >= sizeof digits || (*at)[n] != '.')
        return false;
    memcpy(digits, *at, n);
    digits[n] = '\0';
    *at += n + 1;
    *out = 0;
    if (!str_to_i64(digits, &v) || v >= end)
        return false;
    *out = (int)v;
    return true;
}

static bool take_layer(const struct shape *s, const char **at, int *layer)
{
    int n_0 = s->layers_0, n_1 = s->layers_1;
    if (take_prefix(at, "kv_reuse_layers.") || take_prefix(at, "layers.segment_1.layer_")) {
        if (!take_index(at, n_1, layer))
            return false;
        *layer += n_0;
        return true;
    }
    if (take_prefix(at, "layers.segment_0.layer_") || take_prefix(at, "layers.layer_"))
        return take_index(at, n_0, layer);
    return take_prefix(at, "layers.") && take_index(at, n_0 + n_1, layer);
}

/* module: without the tensor's ending. piece: which of a fused QKV's lists, -1 = there is none. */
static bool parse_module(const struct shape *s, const char *module, int piece,
                         struct lora_name *out)
{
    const char *at = module;
    int layer = 0;
    take_prefix(&at, "model.");
    if (!take_layer(s, &at, &layer))
        return false;
    for (size_t i = 0; i < sizeof LINEARS / sizeof LINEARS[0]; i++) {
        const struct linear_entry *l = &LINEARS[i];
        bool reuses = shape_layer_reuses(s, layer), fused = l->part == FUSED;
        if (!str_eq(at, l->name))
            continue;
        if ((piece >= 0 && !fused) || (reuses && l->slot == LINEAR_QKV && l->part != 0))
            return false;
        out->module = shape_module_first(s, layer);
        if (l->slot != LINEAR_QKV)
            out->module += (reuses ? 0 : 2) + (int)l->slot;
        else if (piece > 0 || l->part > 0)
            out->module += fused ? piece : l->part;
        out->n_modules = fused && piece < 0 ? 3 : 1;
        return true;
    }
    return false;
}

static bool parse_toolkit(const struct shape *s, const char *name, struct lora_name *out)
{
    for (int i = 0; i < shape_n_modules(s); i++) {
        struct shape_module m;
        shape_module(s, i, 1, &m);
        size_t n = strlen(m.name);
        if (strncmp(name, m.name, n) != 0)
            continue;
        out->module = i;
        out->n_modules = 1;
        out->b = str_eq(name + n, ".b_transpose");
        if (out->b || str_eq(name + n, ".a_transpose"))
            return true;
    }
    return false;
}

bool lora_name_parse(enum lora_format format, const struct shape *s, const char *name,
                     struct lora_name *out)
{
    static const struct {
        enum lora_format format;
        const char *end;
        bool b;
        int piece;
    } ends[] = {
        {LORA_PEFT, ".lora_A.weight", false, -1}, {LORA_PEFT, ".lora_B.weight", true, -1},
        {LORA_MLX, ".lora_a", false, -1},         {LORA_MLX, ".lora_b", true, -1},
        {LORA_MLX, ".lora_a.0", false, 0},        {LORA_MLX, ".lora_a.1", false, 1},
        {LORA_MLX, ".lora_a.2", false, 2},        {LORA_MLX, ".lora_b.0", true, 0},
        {LORA_MLX, ".lora_b.1", true, 1},         {LORA_MLX, ".lora_b.2", true, 2},
    };
    char module[NAME_PARSED_BYTES];
    if (format == LORA_TOOLKIT)
        return parse_toolkit(s, name, out);
    if (format == LORA_PEFT && !take_prefix(&name, "base_model.model."))
        return false;
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        size_t n_end = strlen(ends[i].end);
        if (ends[i].format != format || !str_ends(name, ends[i].end) || n - n_end >= sizeof module)
            continue;
        memcpy(module, name, n - n_end);
        module[n - n_end] = '\0';
        out->b = ends[i].b;
        return parse_module(s, module, ends[i].piece, out);
    }
    return false;
}

void lora_name_of(enum lora_format format, const struct shape *s, const struct shape_module *m,
                  bool b, char out[LORA_NAME_BYTES])
{
    if (format == LORA_TOOLKIT) {
        adapter_tensor_name(m, b, out);
        return;
    }
    if (format == LORA_MLX) {
        mlx_lora_name(s, m, b, out);
        return;
    }
    int at = m->slot == LINEAR_QKV ? m->lora : (int)m->slot + 2;
    int n = snprintf(out, LORA_NAME_BYTES, "base_model.model.model.layers.%d.%s.lora_%c.weight",
                     m->layer, LINEARS[at].name, b ? 'B' : 'A');
    CHECK(n > 0 && n < LORA_NAME_BYTES);
}
