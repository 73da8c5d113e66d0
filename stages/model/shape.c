#include "stages/model/shape.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "pipeline/base/xalloc.h"

/* The largest of each that makes sense; they keep every product of two far inside size_t and every
 * row count inside int. */
#define VOCAB_MAX 1048576
#define WIDTH_MAX 65536
#define LAYERS_MAX 1024
#define CONTEXT_MAX 1048576

static int check_range(const char *key, int value, int low, int high, struct err *e)
{
    if (value >= low && value <= high)
        return 0;
    return err_set(e, ERR_CONFIG, "shape: %s is %d, expected %d to %d", key, value, low, high);
}

static int check_multiple(const char *what, int value, int of, struct err *e)
{
    if (value % of == 0)
        return 0;
    return err_set(e, ERR_CONFIG, "shape: %s is %d, expected a multiple of %d", what, value, of);
}

int shape_check(const struct shape *s, struct err *e)
{
    struct {
        const char *key;
        int value, low, high;
    } ranges[] = {
        {"vocab", s->vocab, 16, VOCAB_MAX},
        {"hidden", s->hidden, 16, WIDTH_MAX},
        {"layers_0", s->layers_0, 1, LAYERS_MAX},
        {"layers_1", s->layers_1, 0, LAYERS_MAX},
        {"heads", s->heads, 1, 1024},
        {"kv_heads", s->kv_heads, 1, 1024},
        {"head_dim", s->head_dim, 8, 1024},
        {"ffn", s->ffn, 16, WIDTH_MAX * 4},
        {"context", s->context, 1, CONTEXT_MAX},
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0] && rc == 0; i++)
        rc = check_range(ranges[i].key, ranges[i].value, ranges[i].low, ranges[i].high, e);
    if (rc != 0)
        return rc;
    if (s->heads % s->kv_heads != 0)
        return err_set(e, ERR_CONFIG, "shape: heads is %d, expected a multiple of kv_heads %d",
                       s->heads, s->kv_heads);
    if (shape_q_dim(s) > WIDTH_MAX)
        return err_set(e, ERR_CONFIG, "shape: heads * head_dim is %d, expected at most %d",
                       shape_q_dim(s), WIDTH_MAX);
    struct {
        const char *what;
        int value, of;
    } multiples[] = {
        {"vocab", s->vocab, 16},
        {"hidden", s->hidden, 16},
        {"ffn", s->ffn, 16},
        {"head_dim", s->head_dim, 8},
        {"heads * head_dim", shape_q_dim(s), 16},
        {"kv_heads * head_dim", shape_kv_dim(s), 16},
    };
    for (size_t i = 0; i < sizeof multiples / sizeof multiples[0] && rc == 0; i++)
        rc = check_multiple(multiples[i].what, multiples[i].value, multiples[i].of, e);
    if (rc != 0)
        return rc;
    if (!(s->rope_theta >= 1 && s->rope_theta <= 1e9))
        return err_set(e, ERR_CONFIG, "shape: rope_theta is %g, expected 1 to 1e9", s->rope_theta);
    if (!(s->norm_eps > 0 && s->norm_eps < 1))
        return err_set(e, ERR_CONFIG, "shape: norm_eps is %g, expected between 0 and 1",
                       s->norm_eps);
    return 0;
}

static int read_int(const struct json *v, const char *key, int *out, struct err *e)
{
    int64_t value = 0;
    int rc = json_need_i64(v, key, &value, e);
    if (rc != 0)
        return err_wrap(e, "shape");
    if (value < 0 || value > INT32_MAX)
        return err_set(e, ERR_CONFIG, "shape: %s is %lld, expected a small positive number", key,
                       (long long)value);
    *out = (int)value;
    return 0;
}

int shape_from_json(const struct json *v, struct shape *out, struct err *e)
{
    static const char *const known[] = {"vocab",      "hidden",   "layers_0", "layers_1",
                                        "heads",      "kv_heads", "head_dim", "ffn",
                                        "rope_theta", "norm_eps", "context",  "kv_quant"};
    struct shape s = {0};
    struct {
        const char *key;
        int *out;
    } ints[] = {
        {"vocab", &s.vocab},       {"hidden", &s.hidden}, {"layers_0", &s.layers_0},
        {"layers_1", &s.layers_1}, {"heads", &s.heads},   {"kv_heads", &s.kv_heads},
        {"head_dim", &s.head_dim}, {"ffn", &s.ffn},       {"context", &s.context},
    };
    if (json_type(v) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT, "shape: found %s, expected an object",
                       json_type_name(json_type(v)));
    if (json_only_keys(v, known, sizeof known / sizeof known[0], e) != 0)
        return err_wrap(e, "shape");
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        int rc = read_int(v, ints[i].key, ints[i].out, e);
        if (rc != 0)
            return rc;
    }
    if (json_need_f64(v, "rope_theta", &s.rope_theta, e) != 0 ||
        json_need_f64(v, "norm_eps", &s.norm_eps, e) != 0 ||
        json_need_bool(v, "kv_quant", &s.kv_quant, e) != 0)
        return err_wrap(e, "shape");
    int rc = shape_check(&s, e);
    if (rc == 0)
        *out = s;
    return rc;
}

int shape_parse(const char *text, size_t n_bytes, struct shape *out, struct err *e)
{
    struct json *v = NULL;
    int rc = json_parse(text, n_bytes, &v, e);
    if (rc != 0)
        return err_wrap(e, "shape");
    rc = shape_from_json(v, out, e);
    json_free(v);
    return rc;
}

int shape_read(const char *path, struct shape *out, struct err *e)
{
    struct json *v = NULL;
    int rc = json_read(path, &v, e);
    if (rc != 0)
        return rc;
    rc = shape_from_json(v, out, e);
    json_free(v);
    return rc == 0 ? 0 : err_wrap(e, "%s", path);
}

struct json *shape_to_json(const struct shape *s)
{
    struct json *v = json_new_object();
    json_put_i64(v, "vocab", s->vocab);
    json_put_i64(v, "hidden", s->hidden);
    json_put_i64(v, "layers_0", s->layers_0);
    json_put_i64(v, "layers_1", s->layers_1);
    json_put_i64(v, "heads", s->heads);
    json_put_i64(v, "kv_heads", s->kv_heads);
    json_put_i64(v, "head_dim", s->head_dim);
    json_put_i64(v, "ffn", s->ffn);
    json_put_f64(v, "rope_theta", s->rope_theta);
    json_put_f64(v, "norm_eps", s->norm_eps);
    json_put_i64(v, "context", s->context);
    json_put_bool(v, "kv_quant", s->kv_quant);
    return v;
}

void shape_write(const struct shape *s, struct buf *out)
{
    struct json *v = shape_to_json(s);
    json_write_canonical(v, out);
    json_free(v);
}

bool shape_equal(const struct shape *a, const struct shape *b)
{
    return a->vocab == b->vocab && a->hidden == b->hidden && a->layers_0 == b->layers_0 &&
           a->layers_1 == b->layers_1 && a->heads == b->heads && a->kv_heads == b->kv_heads &&
           a->head_dim == b->head_dim && a->ffn == b->ffn && a->context == b->context &&
           a->kv_quant == b->kv_quant && !(a->rope_theta < b->rope_theta) &&
           !(a->rope_theta > b->rope_theta) && !(a->norm_eps < b->norm_eps) &&
           !(a->norm_eps > b->norm_eps);
}

static void set_name(char *out, size_t out_bytes, const char *prefix, const char *rest)
{
    int n = snprintf(out, out_bytes, "%s%s", prefix, rest);
    CHECK(n > 0 && (size_t)n < out_bytes);
}

static void layer_prefix(const struct shape *s, int layer, char out[64])
{
    int n = 0;
    if (s->layers_1 == 0)
        n = snprintf(out, 64, "layers.layer_%d.", layer);
    else if (layer < s->layers_0)
        n = snprintf(out, 64, "layers.segment_0.layer_%d.", layer);
    else
        n = snprintf(out, 64, "layers.segment_1.layer_%d.", layer - s->layers_0);
    CHECK(n > 0 && n < 64);
}

/* One layer's tensors in the toolkit's order. */
struct layer_entry {
    const char *name;
    enum tensor_role role;
    enum linear_slot slot;
};

static const struct layer_entry entries_0[] = {
    {"attention.norm.weight", ROLE_ATTENTION_NORM, LINEAR_SLOTS},
    {"attention.qkv_transform.wrapped.fused_linear.weight", ROLE_LINEAR, LINEAR_QKV},
    {"attention.qk_norm.query_norm.weight", ROLE_QUERY_NORM, LINEAR_SLOTS},
    {"attention.qk_norm.key_norm.weight", ROLE_KEY_NORM, LINEAR_SLOTS},
    {"attention.output_transform.wrapped.weight", ROLE_LINEAR, LINEAR_OUT},
    {"feed_forward.norm.weight", ROLE_FFN_NORM, LINEAR_SLOTS},
    {"feed_forward.hidden_transform.linear_0.wrapped.weight", ROLE_LINEAR, LINEAR_GATE},
    {"feed_forward.hidden_transform.linear_1.wrapped.weight", ROLE_LINEAR, LINEAR_UP},
    {"feed_forward.output_transform.wrapped.weight", ROLE_LINEAR, LINEAR_DOWN},
};

static const struct layer_entry entries_1[] = {
    {"attention.norm.weight", ROLE_ATTENTION_NORM, LINEAR_SLOTS},
    {"attention.q_transform.wrapped.weight", ROLE_LINEAR, LINEAR_QKV},
    {"attention.q_norm.query_norm.weight", ROLE_QUERY_NORM, LINEAR_SLOTS},
    {"attention.output_transform.wrapped.weight", ROLE_LINEAR, LINEAR_OUT},
    {"feed_forward.norm.weight", ROLE_FFN_NORM, LINEAR_SLOTS},
    {"feed_forward.hidden_transform.linear_0.wrapped.weight", ROLE_LINEAR, LINEAR_GATE},
    {"feed_forward.hidden_transform.linear_1.wrapped.weight", ROLE_LINEAR, LINEAR_UP},
    {"feed_forward.output_transform.wrapped.weight", ROLE_LINEAR, LINEAR_DOWN},
};

#define N_ENTRIES_0 ((int)(sizeof entries_0 / sizeof entries_0[0]))
#define N_ENTRIES_1 ((int)(sizeof entries_1 / sizeof entries_1[0]))

static void linear_size(const struct shape *s, int layer, enum linear_slot slot, int *n, int *k)
{
    bool reuses = shape_layer_reuses(s, layer);
    int q = shape_q_dim(s);
    *k = s->hidden;
    switch (slot) {
    case LINEAR_QKV:
        *n = reuses ? q : q + 2 * shape_kv_dim(s);
        break;
    case LINEAR_OUT:
        *n = s->hidden;
        *k = q;
        break;
    case LINEAR_GATE:
    case LINEAR_UP:
        *n = s->ffn;
        break;
    case LINEAR_DOWN:
        *n = s->hidden;
        *k = s->ffn;
        break;
    case LINEAR_SLOTS:
        CHECK(slot != LINEAR_SLOTS);
    }
}

static void entry_size(const struct shape *s, int layer, const struct layer_entry *entry, int *n,
                       int *k)
{
    if (entry->role == ROLE_LINEAR) {
        linear_size(s, layer, entry->slot, n, k);
        return;
    }
    bool wide = entry->role == ROLE_ATTENTION_NORM || entry->role == ROLE_FFN_NORM;
    *n = wide ? s->hidden : s->head_dim;
    *k = 1;
}

static size_t padded(int n, int k)
{
    return size_align(size_mul((size_t)n, (size_t)k), 16);
}

static size_t layer_floats(const struct shape *s, bool reuses)
{
    const struct layer_entry *entries = reuses ? entries_1 : entries_0;
    int n_entries = reuses ? N_ENTRIES_1 : N_ENTRIES_0;
    size_t total = 0;
    for (int i = 0; i < n_entries; i++) {
        int n = 0, k = 0;
        entry_size(s, reuses ? s->layers_0 : 0, &entries[i], &n, &k);
        total = size_add(total, padded(n, k));
    }
    return total;
}

static size_t layer_offset(const struct shape *s, int layer)
{
    size_t n_0 = (size_t)(layer < s->layers_0 ? layer : s->layers_0);
    size_t n_1 = (size_t)layer - n_0;
    size_t total = padded(s->vocab, s->hidden);
    total = size_add(total, size_mul(n_0, layer_floats(s, false)));
    return n_1 == 0 ? total : size_add(total, size_mul(n_1, layer_floats(s, true)));
}

int shape_n_tensors(const struct shape *s)
{
    return 2 + N_ENTRIES_0 * s->layers_0 + N_ENTRIES_1 * s->layers_1;
}

static void layer_tensor(const struct shape *s, int layer, int i, struct shape_tensor *out)
{
    const struct layer_entry *entries = shape_layer_reuses(s, layer) ? entries_1 : entries_0;
    char prefix[64];
    layer_prefix(s, layer, prefix);
    set_name(out->name, sizeof out->name, prefix, entries[i].name);
    out->role = entries[i].role;
    out->slot = entries[i].slot;
    out->layer = layer;
    out->linear = entries[i].role == ROLE_LINEAR ? LINEAR_SLOTS * layer + (int)entries[i].slot : -1;
    entry_size(s, layer, &entries[i], &out->n, &out->k);
    out->offset = layer_offset(s, layer);
    for (int j = 0; j < i; j++) {
        int n = 0, k = 0;
        entry_size(s, layer, &entries[j], &n, &k);
        out->offset += padded(n, k);
    }
}

void shape_tensor(const struct shape *s, int i, struct shape_tensor *out)
{
    CHECK(i >= 0 && i < shape_n_tensors(s));
    memset(out, 0, sizeof *out);
    if (i == 0 || i == shape_n_tensors(s) - 1) {
        bool embedding = i == 0;
        set_name(out->name, sizeof out->name, "",
                 embedding ? "embedding.weight" : "output_norm.weight");
        out->role = embedding ? ROLE_EMBEDDING : ROLE_FINAL_NORM;
        out->slot = LINEAR_SLOTS;
        out->layer = -1;
        out->linear = -1;
        out->n = embedding ? s->vocab : s->hidden;
        out->k = embedding ? s->hidden : 1;
        out->offset = embedding ? 0 : layer_offset(s, shape_layers(s));
        return;
    }
    i--;
    int n_0 = N_ENTRIES_0 * s->layers_0;
    if (i < n_0)
        layer_tensor(s, i / N_ENTRIES_0, i % N_ENTRIES_0, out);
    else
        layer_tensor(s, s->layers_0 + (i - n_0) / N_ENTRIES_1, (i - n_0) % N_ENTRIES_1, out);
}

size_t shape_flat_floats(const struct shape *s)
{
    return size_add(layer_offset(s, shape_layers(s)), padded(s->hidden, 1));
}

void shape_tensor_at(const struct shape *s, size_t offset, struct shape_tensor *out)
{
    int i = shape_n_tensors(s) - 1;
    for (shape_tensor(s, i, out); out->offset > offset; shape_tensor(s, i, out))
        i--;
}

void shape_linear(const struct shape *s, int i, struct shape_tensor *out)
{
    CHECK(i >= 0 && i < shape_n_linears(s));
    int layer = i / LINEAR_SLOTS;
    bool reuses = shape_layer_reuses(s, layer);
    const struct layer_entry *entries = reuses ? entries_1 : entries_0;
    int at = 0;
    while (entries[at].role != ROLE_LINEAR || (int)entries[at].slot != i % LINEAR_SLOTS)
        at++;
    memset(out, 0, sizeof *out);
    layer_tensor(s, layer, at, out);
}

void shape_range_name(const struct shape *s, int layer, bool value, char out[SHAPE_NAME_BYTES])
{
    char prefix[64];
    CHECK(!shape_layer_reuses(s, layer));
    layer_prefix(s, layer, prefix);
    set_name(out, SHAPE_NAME_BYTES, prefix,
             value ? "attention.kv_quantizer.value_quantizer.activation_post_process.range"
                   : "attention.kv_quantizer.key_quantizer.activation_post_process.range");
}

/* One layer's LoRA modules in the order of the package. */
struct module_entry {
    const char *name;
    enum linear_slot slot;
    int lora;
};

static const struct module_entry modules_0[] = {
    {"attention.qkv_transform.adapters.base_adapter.lora_0", LINEAR_QKV, 0},
    {"attention.qkv_transform.adapters.base_adapter.lora_1", LINEAR_QKV, 1},
    {"attention.qkv_transform.adapters.base_adapter.lora_2", LINEAR_QKV, 2},
    {"attention.output_transform.adapters.base_adapter", LINEAR_OUT, 0},
    {"feed_forward.hidden_transform.linear_0.adapters.base_adapter", LINEAR_GATE, 0},
    {"feed_forward.hidden_transform.linear_1.adapters.base_adapter", LINEAR_UP, 0},
    {"feed_forward.output_transform.adapters.base_adapter", LINEAR_DOWN, 0},
};

static const struct module_entry modules_1[] = {
    {"attention.q_transform.adapters.base_adapter", LINEAR_QKV, 0},
    {"attention.output_transform.adapters.base_adapter", LINEAR_OUT, 0},
    {"feed_forward.hidden_transform.linear_0.adapters.base_adapter", LINEAR_GATE, 0},
    {"feed_forward.hidden_transform.linear_1.adapters.base_adapter", LINEAR_UP, 0},
    {"feed_forward.output_transform.adapters.base_adapter", LINEAR_DOWN, 0},
};

#define N_MODULES_0 ((int)(sizeof modules_0 / sizeof modules_0[0]))
#define N_MODULES_1 ((int)(sizeof modules_1 / sizeof modules_1[0]))

static void module_size(const struct shape *s, int layer, const struct module_entry *m,
                        struct shape_module *out)
{
    linear_size(s, layer, m->slot, &out->out, &out->in);
    out->out_first = 0;
    if (m->slot != LINEAR_QKV || shape_layer_reuses(s, layer))
        return;
    out->out = m->lora == 0 ? shape_q_dim(s) : shape_kv_dim(s);
    out->out_first = m->lora == 0 ? 0 : shape_q_dim(s) + (m->lora - 1) * shape_kv_dim(s);
}

static size_t module_floats(const struct shape_module *m, int rank)
{
    return size_mul((size_t)rank, (size_t)m->in + (size_t)m->out);
}

/* LoRA floats of the first `count` modules of a layer. */
static size_t layer_lora_floats(const struct shape *s, int layer, int count, int rank)
{
    const struct module_entry *entries = shape_layer_reuses(s, layer) ? modules_1 : modules_0;
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        struct shape_module m = {0};
        module_size(s, layer, &entries[i], &m);
        total = size_add(total, module_floats(&m, rank));
    }
    return total;
}

static size_t lora_layer_offset(const struct shape *s, int layer, int rank)
{
    size_t n_0 = (size_t)(layer < s->layers_0 ? layer : s->layers_0);
    size_t n_1 = (size_t)layer - n_0;
    size_t total = size_mul(n_0, layer_lora_floats(s, 0, N_MODULES_0, rank));
    if (n_1 == 0)
        return total;
    return size_add(total, size_mul(n_1, layer_lora_floats(s, s->layers_0, N_MODULES_1, rank)));
}

int shape_n_modules(const struct shape *s)
{
    return N_MODULES_0 * s->layers_0 + N_MODULES_1 * s->layers_1;
}

int shape_module_first(const struct shape *s, int layer)
{
    int n_0 = layer < s->layers_0 ? layer : s->layers_0;
    return N_MODULES_0 * n_0 + N_MODULES_1 * (layer - n_0);
}

void shape_module_place(const struct shape *s, int i, int rank, struct shape_module *out)
{
    CHECK(i >= 0 && i < shape_n_modules(s));
    CHECK(rank > 0);
    int n_0 = N_MODULES_0 * s->layers_0;
    int layer = i < n_0 ? i / N_MODULES_0 : s->layers_0 + (i - n_0) / N_MODULES_1;
    int at = i - shape_module_first(s, layer);
    const struct module_entry *entry =
        shape_layer_reuses(s, layer) ? &modules_1[at] : &modules_0[at];
    memset(out, 0, sizeof *out);
    out->layer = layer;
    out->slot = entry->slot;
    out->linear = LINEAR_SLOTS * layer + (int)entry->slot;
    out->lora = entry->lora;
    module_size(s, layer, entry, out);
    out->a_offset =
        size_add(lora_layer_offset(s, layer, rank), layer_lora_floats(s, layer, at, rank));
    out->b_offset = size_add(out->a_offset, size_mul((size_t)rank, (size_t)out->in));
}

void shape_module(const struct shape *s, int i, int rank, struct shape_module *out)
{
    shape_module_place(s, i, rank, out);
    int at = i - shape_module_first(s, out->layer);
    const struct module_entry *entry =
        shape_layer_reuses(s, out->layer) ? &modules_1[at] : &modules_0[at];
    char prefix[64];
    layer_prefix(s, out->layer, prefix);
    set_name(out->name, sizeof out->name, prefix, entry->name);
}

size_t shape_lora_floats(const struct shape *s, int rank)
{
    return lora_layer_offset(s, shape_layers(s), rank);
}

struct shape_counts shape_count(const struct shape *s, int rank)
{
    struct shape_counts c = {0};
    for (int i = 0; i < shape_n_tensors(s); i++) {
        struct shape_tensor t;
        shape_tensor(s, i, &t);
        uint64_t elements = (uint64_t)t.n * (uint64_t)t.k;
        c.frozen += elements;
        if (t.role == ROLE_EMBEDDING)
            c.embedding = elements;
        if (t.layer == 0)
            c.layer_0 += elements;
        if (t.layer == s->layers_0)
            c.layer_1 += elements;
        c.linears += t.role == ROLE_LINEAR;
    }
    if (rank > 0) {
        c.lora_0 = layer_lora_floats(s, 0, N_MODULES_0, rank);
        c.lora_1 = s->layers_1 == 0 ? 0 : layer_lora_floats(s, s->layers_0, N_MODULES_1, rank);
        c.lora = shape_lora_floats(s, rank);
        c.modules = (uint64_t)shape_n_modules(s);
        c.lora_tensors = 2 * c.modules;
    }
    c.total = c.frozen + c.lora;
    return c;
}
