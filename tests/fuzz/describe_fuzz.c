/* pipeline/engine/describe.h: what a stage prints about itself. Stages are programs of anybody. */

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/engine/describe.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct stage_desc d;
    struct json *root = NULL;
    struct err e = {0};
    memset(&d, 0, sizeof d);
    fuzz_taken = json_parse((const char *)data, n_bytes, &root, &e) == 0 &&
                 stage_desc_read(&d, root, &e) == 0;
    if (fuzz_taken) {
        for (size_t i = 0; i < d.n_ins; i++)
            CHECK(stage_desc_in(&d, d.ins[i].name) != NULL);
        for (size_t i = 0; i < d.n_outs; i++)
            CHECK(stage_desc_out(&d, d.outs[i].name) != NULL);
        CHECK(d.subject == NULL || stage_desc_in(&d, d.subject) != NULL);
    } else {
        CHECK(e.code == ERR_FORMAT || e.code == ERR_LIMIT);
    }
    json_free(root);
    return 0;
}
