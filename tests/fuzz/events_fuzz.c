/* What a stage writes into its events file: pipeline/engine/progress.h draws its last line,
 * job_final_event takes what the statement gets. */

#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/check.h"
#include "pipeline/base/json.h"
#include "pipeline/base/str.h"
#include "pipeline/engine/job_statement.h"
#include "pipeline/engine/progress.h"
#include "tests/fuzz/fuzz.h"

static size_t n_drawn;

static void drawn(const char *text, size_t n_bytes)
{
    n_drawn += n_bytes;
    CHECK(memchr(text, '\n', n_bytes) == NULL); /* one line, redrawn in its place */
}

static void draw(const char *path)
{
    const struct term term = {drawn, drawn, true, 80};
    const struct progress_item item = {"stage", path, 0};
    struct progress p;
    n_drawn = 0;
    progress_init(&p, &term);
    progress_draw(&p, 1, 2, &item, 1);
    CHECK(n_drawn >= strlen("[1/2] stage"));
    progress_erase(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const char *path = fuzz_file(data, n_bytes);
    draw(path);
    struct json *v = job_final_event(path);
    fuzz_taken = v != NULL;
    if (v != NULL) {
        struct buf b;
        CHECK(json_type(v) == JSON_OBJECT && json_get(v, "event") != NULL);
        buf_init(&b, BUF_MAX_DEFAULT);
        json_write_canonical(v, &b);
        buf_release(&b);
    }
    json_free(v);
    return 0;
}
