/* stages/model/lora_names.h: the name of a tensor in an adapter of another program. A name that is
 * taken means modules that there are. */

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/lora_names.h"
#include "tests/fuzz/fuzz.h"

static const struct shape shapes[] = {
    {64, 32, 2, 3, 4, 2, 8, 48, 16, 10000, 1e-5, true},
    {64, 32, 4, 0, 4, 2, 8, 48, 16, 10000, 1e-5, true},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    char *name = xstrndup((const char *)data, n_bytes);
    fuzz_taken = false;
    for (int format = LORA_TOOLKIT; format <= LORA_MLX; format++)
        for (int i = 0; i < 2; i++) {
            struct lora_name found = {-1, -1, false};
            struct shape_module m;
            char again[LORA_NAME_BYTES];
            struct lora_name same;
            if (!lora_name_parse((enum lora_format)format, &shapes[i], name, &found))
                continue;
            fuzz_taken = true;
            CHECK(found.n_modules == 1 || found.n_modules == 3);
            CHECK(found.module >= 0);
            CHECK(found.module + found.n_modules <= shape_n_modules(&shapes[i]));
            shape_module(&shapes[i], found.module, 4, &m);
            lora_name_of((enum lora_format)format, &shapes[i], &m, found.b, again);
            CHECK(lora_name_parse((enum lora_format)format, &shapes[i], again, &same));
            CHECK(same.module == found.module && same.b == found.b);
        }
    xfree(name);
    return 0;
}
