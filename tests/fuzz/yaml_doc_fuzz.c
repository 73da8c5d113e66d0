/* pipeline/manifest/yaml_doc.h: trees, what --set does to them, and their JSON. */

#include "pipeline/base/check.h"
#include "pipeline/manifest/yaml_doc.h"
#include "tests/fuzz/fuzz.h"

static size_t count_nodes(const struct doc_node *n)
{
    size_t count = 1, n_items = 0;
    CHECK(n->mark.line >= 0 && n->mark.column >= 0);
    CHECK((n->type == DOC_SCALAR) == (n->text != NULL));
    for (const struct doc_node *m = n->first; m != NULL; m = m->next, n_items++) {
        CHECK((n->type == DOC_MAP) == (m->key != NULL));
        count += count_nodes(m);
    }
    CHECK(n_items == n->n_items);
    return count;
}

/* The JSON of the document is JSON. */
static void check_json(const struct doc_node *root)
{
    struct json *v = doc_to_json(root), *again = NULL;
    struct err e = {0};
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    json_write_canonical(v, &text);
    CHECK(json_parse(text.bytes, text.n_bytes, &again, &e) == 0);
    json_free(again);
    json_free(v);
    buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct yaml_doc d = {0};
    struct err e = {0}, ignored = {0};
    int rc = yaml_doc_parse(&d, "doc.yaml", (const char *)data, n_bytes, &e);
    fuzz_taken = rc == 0;
    if (rc == 0) {
        CHECK(count_nodes(d.root) <= n_bytes * 2 + 1);
        check_json(d.root);
        if (yaml_doc_set(&d, "vars.seed", "8", "--set vars.seed=8", &ignored) == 0)
            CHECK(doc_get(doc_get(d.root, "vars"), "seed") != NULL);
        (void)count_nodes(d.root);
    } else {
        CHECK(e.code == ERR_CONFIG);
    }
    yaml_doc_release(&d);
    return 0;
}
