#include "stages/inspect/facts.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/base/machine.h"
#include "pipeline/base/str.h"
#include "stages/inspect/subject.h"
#include "stages/model/decoder.h"
#include "stages/model/fmadapter.h"
#include "stages/model/lora_training.h"
#include "stages/text/batch.h"
#include "stages/text/tokenizer_check.h"

/* Plans of shapes that nobody could train go beyond the whole numbers that JSON has. */
static void put_count(struct json *o, const char *key, uint64_t n)
{
    if (n <= (uint64_t)1 << 53)
        json_put_i64(o, key, (int64_t)n);
    else
        json_put_f64(o, key, (double)n);
}

struct json *facts_counts(const struct shape *s, int rank)
{
    struct shape_counts c = shape_count(s, rank);
    struct json *o = json_new_object();
    put_count(o, "embedding", c.embedding);
    put_count(o, "layers_0", (uint64_t)s->layers_0);
    put_count(o, "layer_0", c.layer_0);
    put_count(o, "layers_1", (uint64_t)s->layers_1);
    if (s->layers_1 > 0)
        put_count(o, "layer_1", c.layer_1);
    put_count(o, "final_norm", (uint64_t)s->hidden);
    put_count(o, "frozen", c.frozen);
    put_count(o, "tensors", (uint64_t)shape_n_tensors(s));
    if (rank == 0)
        return o;
    put_count(o, "rank", (uint64_t)rank);
    put_count(o, "lora_0", c.lora_0);
    if (s->layers_1 > 0)
        put_count(o, "lora_1", c.lora_1);
    put_count(o, "lora", c.lora);
    put_count(o, "modules", c.modules);
    put_count(o, "lora_tensors", c.lora_tensors);
    put_count(o, "linears", c.linears);
    put_count(o, "total", c.total);
    put_count(o, "package_weights_bytes", fmadapter_weights_bytes(s, rank));
    return o;
}

/* --- tensors --- */

struct group {
    char form[64];
    uint64_t n_tensors, n_values, n_bytes;
};

#define GROUPS_MAX 16

/* "q2-16x16-v1 2560 2048": packed, and how many values it holds. */
static bool packed_form(const struct tensorfile *f, const struct tensor *t, char form[64],
                        uint64_t *n_values)
{
    char key[SHAPE_NAME_BYTES + 32];
    int n = snprintf(key, sizeof key, "layout:%s", t->name);
    const char *layout = n > 0 && (size_t)n < sizeof key ? tensorfile_meta(f, key) : NULL;
    size_t name_bytes = layout != NULL ? strcspn(layout, " ") : 0;
    if (name_bytes == 0 || name_bytes >= 64)
        return false;
    memcpy(form, layout, name_bytes);
    form[name_bytes] = '\0';
    *n_values = t->n_bytes * (str_starts(form, "q2-") ? 4 : 2);
    return true;
}

struct groups {
    struct group g[GROUPS_MAX];
    size_t n;
};

static void add_tensor(struct groups *s, const char form[64], uint64_t n_values, uint64_t n_bytes)
{
    size_t i = 0;
    while (i < s->n && !str_eq(s->g[i].form, form))
        i++;
    if (i == s->n && i < GROUPS_MAX - 1)
        (void)snprintf(s->g[s->n++].form, sizeof s->g[0].form, "%s", form);
    else if (i == s->n) /* many layouts that we do not know */
        i = GROUPS_MAX - 1;
    s->g[i].n_tensors++;
    s->g[i].n_values += n_values;
    s->g[i].n_bytes += n_bytes;
}

static struct json *groups_json(const struct groups *s, uint64_t n_tensors, uint64_t file_bytes)
{
    struct json *o = json_new_object(), *list = json_new_array();
    for (size_t i = 0; i < GROUPS_MAX; i++) {
        if (s->g[i].n_tensors == 0)
            continue;
        struct json *g = json_new_object();
        json_put_string(g, "form", *s->g[i].form ? s->g[i].form : "other");
        put_count(g, "tensors", s->g[i].n_tensors);
        put_count(g, "values", s->g[i].n_values);
        put_count(g, "bytes", s->g[i].n_bytes);
        json_append(list, g);
    }
    put_count(o, "count", n_tensors);
    put_count(o, "file_bytes", file_bytes);
    json_put(o, "forms", list);
    return o;
}

struct json *facts_tensors(const struct tensorfile *f)
{
    struct groups groups = {.n = 0};
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct tensor *t = &f->tensors[i];
        char form[64];
        uint64_t n_values = tensor_elements(t);
        if (!packed_form(f, t, form, &n_values))
            (void)snprintf(form, sizeof form, "%s", tensor_dtype_name(t->dtype));
        add_tensor(&groups, form, n_values, t->n_bytes);
    }
    return groups_json(&groups, f->n_tensors, f->map.n_bytes);
}

struct json *facts_source(const struct tensor_source *s)
{
    struct groups groups = {.n = 0};
    uint64_t file_bytes = s->pt.map.n_bytes;
    for (size_t i = 0; i < s->n_files; i++)
        file_bytes += s->files[i].map.n_bytes;
    for (size_t i = 0; i < s->n_tensors; i++) {
        const struct source_tensor *t = &s->tensors[i];
        char form[64];
        (void)snprintf(form, sizeof form, "%s",
                       t->pt ? pt_dtype_name(t->pt->dtype) : tensor_dtype_name(t->view.dtype));
        add_tensor(&groups, form, t->pt ? pt_tensor_elements(t->pt) : tensor_elements(&t->view),
                   t->pt ? t->pt->n_bytes : t->view.n_bytes);
    }
    return groups_json(&groups, s->n_tensors, file_bytes);
}

struct json *facts_metadata(const struct tensorfile *f)
{
    struct json *o = json_new_object();
    for (const struct json *m = json_first(json_get(f->header, "__metadata__")); m;
         m = json_next(m))
        if (json_type(m) == JSON_STRING && !str_starts(json_key(m), "layout:"))
            json_put_string(o, json_key(m), json_string(m));
    return o;
}

/* --- memory --- */

struct facts_model facts_model_open(const struct model *m)
{
    return (struct facts_model){m->shape, m->file.map.n_bytes, m->arena.capacity_bytes,
                                model_panel_bytes(m), NULL};
}

/* Of a draft in BF16. */
static uint64_t planned_panel_bytes(const struct shape *s)
{
    uint64_t bytes = 0;
    for (int i = 0; i < shape_n_tensors(s); i++) {
        struct shape_tensor t;
        shape_tensor(s, i, &t);
        struct weight w = {.form = WEIGHT_BF16, .n = t.n, .k = t.k};
        bytes += shape_is_norm(&t) ? 0 : weight_panel_bytes(&w);
    }
    return bytes;
}

struct facts_model facts_model_planned(const struct shape *s, bool is_draft)
{
    uint64_t bytes = is_draft ? model_tensor_bytes(s, WEIGHT_BF16, WEIGHT_BF16)
                              : model_tensor_bytes(s, WEIGHT_Q2, WEIGHT_Q4);
    return (struct facts_model){*s, bytes, model_frame_bytes(s), planned_panel_bytes(s),
                                is_draft ? "BF16" : "2-bit matrices and a 4-bit embedding"};
}

static struct json *plan_json(const struct plan_mem *p)
{
    struct json *o = json_new_object(), *parts = json_new_array();
    for (size_t i = 0; i < p->n_parts; i++) {
        struct json *part = json_new_object();
        json_put_string(part, "name", p->parts[i].name);
        put_count(part, "bytes", p->parts[i].bytes);
        json_append(parts, part);
    }
    json_put(o, "parts", parts);
    put_count(o, "total_bytes", plan_mem_total(p));
    return o;
}

static void add_model(struct plan_mem *p, const struct facts_model *m)
{
    plan_mem_add(p, "weights, mapped", m->mapped_bytes);
    plan_mem_add(p, "weights, rest", m->own_bytes);
}

/* A stage train over rows that need not be there. */
static struct json *training(const struct stage_run *run, const struct facts_model *base, int rank)
{
    const struct inspect_config *c = run->config;
    struct model model = {.shape = base->shape};
    struct adapter adapter = {
        .shape = base->shape, .rank = rank, .n_values = shape_lora_floats(&base->shape, rank)};
    uint32_t longest = (uint32_t)(c->row_tokens > 0 ? c->row_tokens : c->micro_batch_tokens);
    if (longest > (uint32_t)base->shape.context)
        longest = (uint32_t)base->shape.context;
    struct lora_training t = {
        .run = run,
        .base = &model,
        .adapter = &adapter,
        .rows = {.n_rows = (uint32_t)c->rows, .row_tokens_max = longest},
        .valid = {.n_rows = 1, .row_tokens_max = longest},
        .options = {.total_steps = 1,
                    .rows_per_step = 1,
                    .eval_every = 1,
                    .keep_best = true,
                    .recompute = c->activation_checkpointing,
                    .precision = compute_precision_of(c->precision),
                    .micro_tokens = c->micro_batch_tokens},
    };
    struct plan_mem p = {0};
    add_model(&p, base);
    plan_mem_add(&p, "adapter", adapter_bytes(&base->shape, rank));
    lora_training_memory(&t, &p);
    int tokens_max = lora_training_tokens_max(&t);
    plan_mem_add(&p, "rows of a batch", 2 * token_batch_bytes(tokens_max));
    lora_training_sample_memory(&model, rank, (int)longest, run->n_threads, &p);
    struct json *o = plan_json(&p);
    put_count(o, "rank", (uint64_t)rank);
    put_count(o, "rows", (uint64_t)c->rows);
    put_count(o, "row_tokens", longest);
    put_count(o, "micro_batch_tokens", (uint64_t)tokens_max);
    return o;
}

static struct json *answering(const struct stage_run *run, const struct facts_model *base,
                              const struct facts_model *draft, int rank)
{
    const struct inspect_config *c = run->config;
    struct decoder_plan plan = {.sequences = (int)c->sequences, .positions = (int)c->positions};
    struct plan_mem p = {0}, of_draft = {0};
    if (plan.positions == 0 || plan.positions > base->shape.context)
        plan.positions = base->shape.context;
    add_model(&p, base);
    if (rank > 0)
        plan_mem_add(&p, "adapter, in fp16", adapter_halved_bytes(&base->shape, rank));
    struct model model = {.shape = base->shape};
    decoder_memory(&model, &plan, rank, run->n_threads, &p);
    struct json *o = plan_json(&p);
    put_count(o, "sequences", (uint64_t)plan.sequences);
    put_count(o, "positions", (uint64_t)plan.positions);
    if (draft == NULL)
        return o;
    if (plan.positions > draft->shape.context)
        plan.positions = draft->shape.context;
    model.shape = draft->shape;
    decoder_memory(&model, &plan, 0, run->n_threads, &of_draft);
    put_count(o, "with_draft_bytes",
              plan_mem_total(&p) + plan_mem_total(&of_draft) + draft->mapped_bytes +
                  draft->own_bytes + draft->panel_bytes);
    return o;
}

struct json *facts_memory(const struct stage_run *run, const struct facts_model *base,
                          const struct facts_model *draft, int rank)
{
    struct json *o = json_new_object(), *machine = json_new_object();
    struct machine_memory m;
    if (base->planned_as != NULL)
        json_put_string(o, "weights_planned_as", base->planned_as);
    if (base->planned_as != NULL && rank > 0) {
        put_count(o, "weights_planned_bytes", base->mapped_bytes);
        put_count(o, "weights_bf16_bytes",
                  model_tensor_bytes(&base->shape, WEIGHT_BF16, WEIGHT_BF16));
    }
    put_count(o, "threads", (uint64_t)run->n_threads);
    if (machine_memory(&m)) {
        put_count(machine, "total_bytes", m.total_bytes);
        put_count(machine, "available_bytes", m.available_bytes);
        json_put(o, "machine", machine);
    } else {
        json_free(machine);
    }
    if (rank > 0)
        json_put(o, "training", training(run, base, rank));
    json_put(o, "answering", answering(run, base, draft, rank));
    return o;
}

const char *facts_input_file(const struct json *facet, const char *port)
{
    for (const struct json *f = json_items(facet, "inputs"); f; f = json_next(f))
        if (str_eq(json_string(json_get(f, "port")), port) && json_bool(json_get(f, "present")))
            return json_string(json_get(f, "path"));
    return NULL;
}

int facts_check_tokenizer(const struct json *facet, int vocab, bool *is_checked, struct err *e)
{
    struct tokenizer_facts facts;
    const struct json *run = json_get(facet, "run");
    const char *model = NULL;
    if (run && str_eq(json_string(run), "import_tokenizer"))
        model = facts_input_file(facet, "model");
    *is_checked = false;
    if (!model)
        return 0;
    int rc = tokenizer_check(model, facts_input_file(facet, "config"), vocab, &facts, e);
    *is_checked = rc == 0;
    return rc;
}
