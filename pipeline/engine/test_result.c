#include "pipeline/engine/test_result.h"

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/runs.h"
#include "pipeline/provenance/statement.h"

static struct json *descriptor(const char *name, const char *uri, const char *id, bool is_folder)
{
    struct json *o = json_new_object(), *digest = json_new_object();
    json_put(o, "name", statement_text(name));
    if (uri != NULL)
        json_put(o, "uri", statement_text(uri));
    json_put_string(digest, is_folder ? "dirHash" : "sha256", id);
    json_put(o, "digest", digest);
    return o;
}

/* Appends the inputs of a kind; returns their number. */
static size_t add_inputs(const struct session *s, size_t i, const char *kind, struct json *list)
{
    const struct instance *n = s->graph.instances[i];
    size_t n_added = 0;
    for (size_t k = 0; k < n->n_inputs; k++) {
        const struct plan_input *in = &s->plan.items[i].inputs[k];
        if (!str_eq(n->inputs[k].port->kind, kind))
            continue;
        char *from = plan_input_from(&s->graph, &n->inputs[k]);
        json_append(list, descriptor(from, NULL, in->id.hex, in->is_folder));
        xfree(from);
        n_added++;
    }
    return n_added;
}

static struct json *subjects(const struct session *s, size_t i)
{
    static const char *const kinds[] = {"package", "adapter", "draft", "base", "rows"};
    struct json *list = json_new_array();
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        if (add_inputs(s, i, kinds[k], list) > 0)
            break;
    const struct instance *n = s->graph.instances[i];
    const struct action *a = &s->plan.items[i].action;
    for (size_t k = 0; k < a->n_outputs && json_count(list) == 0; k++) { /* it must have one */
        char *name = xasprintf("%s.%s", n->name, a->outputs[k].name);
        json_append(list, descriptor(name, NULL, a->outputs[k].id.hex, a->outputs[k].is_folder));
        xfree(name);
    }
    return list;
}

static struct json *configuration(const struct session *s, size_t i, const struct json *run)
{
    struct json *list = json_new_array();
    add_inputs(s, i, "golden", list);
    json_append(list, descriptor("recipe", NULL, s->plan.items[i].key.hex, false));
    json_append(list, descriptor("manifest", json_find_text(run, "manifest_path"),
                                 json_find_text(run, "manifest"), false));
    return list;
}

static struct json *predicate(const char *instance, const struct json *run)
{
    struct json *o = json_new_object(), *passed = json_new_array(), *warned = json_new_array(),
                *failed = json_new_array();
    for (const struct json *g = json_items(run, "gates"); g != NULL; g = json_next(g)) {
        const char *verdict = json_find_text(g, "verdict");
        if (!str_eq(json_find_text(g, "stage"), instance))
            continue;
        json_append(str_eq(verdict, "holds")   ? passed
                    : str_eq(verdict, "fails") ? failed
                                               : warned,
                    json_clone(json_get(g, "gate")));
    }
    json_put_string(o, "result",
                    json_count(failed) > 0   ? "FAILED"
                    : json_count(warned) > 0 ? "WARNED"
                                             : "PASSED");
    json_put(o, "passedTests", passed);
    json_put(o, "warnedTests", warned);
    json_put(o, "failedTests", failed);
    return o;
}

bool test_result_write(const struct session *s, size_t i, const struct json *run, struct buf *out)
{
    const struct instance *n = s->graph.instances[i];
    struct json *golden = json_new_array();
    bool wanted = n->n_gates > 0 && s->plan.items[i].has_key && add_inputs(s, i, "golden", golden);
    json_free(golden);
    if (!wanted)
        return false;
    struct json *o = json_new_object(), *p = predicate(n->name, run);
    json_put_string(o, "_type", "https://in-toto.io/Statement/v1");
    json_put(o, "subject", subjects(s, i));
    json_put_string(o, "predicateType", "https://in-toto.io/attestation/test-result/v0.1");
    json_put(p, "configuration", configuration(s, i, run));
    json_put(o, "predicate", p);
    json_write_canonical(o, out);
    json_free(o);
    return true;
}
