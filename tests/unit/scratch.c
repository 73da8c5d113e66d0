#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/base/zfile.h"

void need(int rc, const struct err *e)
{
    if (rc != 0)
        print_error("%s\n", e->text);
    assert_int_equal(rc, 0);
}

int scratch_open(char folder[SCRATCH_BYTES])
{
    snprintf(folder, SCRATCH_BYTES, "/tmp/%.24s_XXXXXX", program_invocation_short_name);
    return mkdtemp(folder) == NULL ? -1 : 0;
}

int scratch_remove(const char *folder)
{
    struct err e = {0};
    return file_remove_tree(folder, &e);
}

void scratch_put(const char *folder, const char *name, const char *text)
{
    struct err e = {0};
    char *path = file_join(folder, name);
    need(file_make_parents(path, &e), &e);
    need(file_write(path, text, strlen(text), &e), &e);
    xfree(path);
}

void scratch_put_zstd(const char *path, const void *bytes, size_t n_bytes)
{
    struct err e = {0};
    struct zcoder *z = zcoder_open();
    size_t room = zframe_bound(n_bytes);
    void *frame = xalloc(room);
    size_t n = zframe_pack(z, ZFRAME_TEXT, bytes, n_bytes, frame, room);
    need(file_write(path, frame, n, &e), &e);
    xfree(frame);
    zcoder_close(z);
}
