#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/base/zfile.h"

void scratch_put_zstd(const char *path, const void *bytes, size_t n_bytes)
{
    struct err e = {0};
    struct zcoder *z = zcoder_open();
    size_t room = zframe_bound(n_bytes);
    void *frame = xalloc(room);
    size_t n = zframe_pack(z, ZFRAME_TEXT, bytes, n_bytes, frame, room);
    assert_int_equal(file_write(path, frame, n, &e), 0);
    xfree(frame);
    zcoder_close(z);
}
