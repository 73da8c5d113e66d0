/* copy: the stage of the engine's benchmark. It does what `cp in out` does. */

#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "stages/kit/stage.h"

static const struct stage_port INS[] = {{"text", "text", true, "What is copied."}};
static const struct stage_port OUTS[] = {{"text", "text", true, "The copy."}};

static const struct stage_spec SPEC = {
    .name = "copy",
    .summary = "Copies a file.",
    .portable = true,
    .ins = INS,
    .n_ins = 1,
    .outs = OUTS,
    .n_outs = 1,
};

static int run(const struct stage_run *r, struct err *e)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = file_read(stage_in(r, "text"), BUF_MAX_DEFAULT - 1, &b, e);
    if (rc == 0)
        rc = file_write(stage_out(r, "text"), b.bytes, b.n_bytes, e);
    buf_release(&b);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
