/* pipeline/manifest/toolkit_dir.h: the bytes are toolkit.yaml. */

#include "pipeline/base/check.h"
#include "pipeline/base/json.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/manifest/toolkit_dir.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_facet(const struct toolkit_dir *t, const struct facet *f)
{
    struct json *v = NULL;
    struct err e = {0};
    switch (f->type) {
    case FACET_PATH:
        CHECK(str_starts(f->path, t->folder));
        break;
    case FACET_VALUE:
        CHECK(json_parse(f->value, strlen(f->value), &v, &e) == 0);
        json_free(v);
        break;
    case FACET_CHOICE:
        xfree(toolkit_dir_choice(t, f, "8"));
        xfree(toolkit_dir_choice(t, f, "by"));
        xfree(toolkit_dir_choices(f));
        break;
    case FACET_STAGE:
        CHECK(doc_get(f->node, "run") != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct toolkit_dir t = {0};
    struct err e = {0};
    fuzz_folder_put("toolkit.yaml", data, n_bytes);
    int rc = toolkit_dir_open(&t, fuzz_folder(), &e);
    fuzz_taken = rc == 0;
    if (rc == 0) {
        const char *names[TOOLKIT_FACETS_MAX];
        size_t n = toolkit_dir_names(&t, names);
        for (size_t i = 0; i < n; i++) {
            CHECK(toolkit_dir_facet(&t, names[i]) == &t.facets[i]);
            check_facet(&t, &t.facets[i]);
        }
        json_free(toolkit_dir_to_json(&t));
    } else {
        CHECK(e.code == ERR_CONFIG);
    }
    toolkit_dir_release(&t);
    return 0;
}
