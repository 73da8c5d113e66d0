/* pipeline/manifest/assignment.h: the bytes are the file; the constant is SIG, of 40 digits. */

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/manifest/assignment.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    char hex[41] = "";
    struct err e = {0};
    int rc = assignment_parse_hex("c.py", (const char *)data, n_bytes, "SIG", 40, hex, &e);
    fuzz_taken = rc == 0;
    CHECK(rc == 0 ? str_is_hex(hex, 40) : rc == ERR_FORMAT && hex[0] == '\0');
    return 0;
}
