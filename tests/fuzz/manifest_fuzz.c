/* pipeline/manifest/manifest.h, and $ in its scalars (subst.h). */

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/manifest/manifest.h"
#include "pipeline/manifest/subst.h"
#include "tests/fuzz/fuzz.h"

static void expand_all(const struct subst_scope *scope, const struct doc_node *n)
{
    for (; n != NULL; n = n->next) {
        if (n->type != DOC_SCALAR) {
            expand_all(scope, n->first);
            continue;
        }
        char *text = NULL;
        bool quoted = false;
        struct err e = {0};
        if (subst_text(scope, n, &text, &quoted, &e) == 0)
            xfree(text);
        else
            CHECK(e.code == ERR_CONFIG);
        (void)subst_uses(n->text, "rank");
    }
}

static void expand_manifest(const struct manifest *m)
{
    struct subst_scope scope = {.doc = &m->doc,
                                .name = m->name,
                                .vars = m->vars,
                                .n_axes = m->n_axes,
                                .toolkit_label = "nano-0.1",
                                .toolkit_name = "nano",
                                .toolkit_version = "0.1"};
    for (size_t i = 0; i < m->n_axes; i++) {
        scope.axis_names[i] = m->axes[i].name;
        scope.axis_values[i] = m->axes[i].values->first;
    }
    for (size_t i = 0; i < m->n_stages; i++) {
        const struct manifest_stage *s = &m->stages[i];
        CHECK(manifest_stage(m, s->name) == s);
        expand_all(&scope, s->run);
        expand_all(&scope, s->inputs);
        expand_all(&scope, s->with);
        expand_all(&scope, s->gates);
    }
    expand_all(&scope, m->deliver);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static const char *const sets[] = {"vars.seed=8"};
    const char *path = fuzz_file(data, n_bytes);
    for (size_t n_sets = 0; n_sets < 2; n_sets++) {
        struct manifest m = {0};
        struct err e = {0};
        int rc = manifest_open(&m, path, sets, n_sets, &e);
        if (n_sets == 0)
            fuzz_taken = rc == 0;
        if (rc == 0)
            expand_manifest(&m);
        else
            CHECK(e.code == ERR_CONFIG);
        manifest_release(&m);
    }
    return 0;
}
