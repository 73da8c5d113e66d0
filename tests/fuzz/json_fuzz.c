/* pipeline/base/json.h: what is taken comes back the same from both writers. */

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/json.h"
#include "tests/fuzz/fuzz.h"

static void check_same(const struct buf *text, const struct buf *canonical)
{
    struct json *again = NULL;
    struct err e = {0};
    struct buf second;
    buf_init(&second, BUF_MAX_DEFAULT);
    CHECK(json_parse(text->bytes, text->n_bytes, &again, &e) == 0);
    json_write_canonical(again, &second);
    CHECK(second.n_bytes == canonical->n_bytes);
    CHECK(memcmp(second.bytes, canonical->bytes, second.n_bytes) == 0);
    buf_release(&second);
    json_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct json *v = NULL;
    struct json_mark mark = {0};
    struct err scan_e = {0}, e = {0};
    int scanned = json_scan((const char *)data, n_bytes, &mark, &scan_e);
    int rc = json_parse((const char *)data, n_bytes, &v, &e);
    CHECK((scanned == 0) == (rc == 0));
    CHECK(rc == 0 || (mark.line >= 1 && mark.column >= 1));
    fuzz_taken = rc == 0;
    if (rc != 0)
        return 0;
    struct buf canonical, pretty;
    buf_init(&canonical, BUF_MAX_DEFAULT);
    buf_init(&pretty, BUF_MAX_DEFAULT);
    json_write_canonical(v, &canonical);
    json_write_pretty(v, 2, &pretty);
    check_same(&canonical, &canonical);
    check_same(&pretty, &canonical);
    struct json *clone = json_clone(v);
    CHECK(json_equal(v, clone));
    json_free(clone);
    json_free(v);
    buf_release(&canonical);
    buf_release(&pretty);
    return 0;
}
