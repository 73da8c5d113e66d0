/*
 * What ptfile_check.py drives: stages/model/ptfile.h as a program.
 *
 *   ptfile_tool list FILE         a line a tensor, by name: name, dtype, dims, storage entry, first
 *                                 element, bytes in hex; "skipped N" at the end
 *   ptfile_tool copy FROM TO      the same tensors through the writer, by name
 *   ptfile_tool half FROM TO      as float16
 *   ptfile_tool large TO BYTES    one uint8 tensor "large" of zeros, then "small" of 1 2 3
 *
 * Exit 1 with the message on stderr when a file is refused.
 */

#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/ptfile.h"

static void list(const struct ptfile *f)
{
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct pt_tensor *t = &f->tensors[i];
        printf("%s %s ", t->name, pt_dtype_name(t->dtype));
        for (int k = 0; k < t->n_dims; k++)
            printf("%s%" PRIu64, k == 0 ? "" : ",", t->dims[k]);
        printf(" %.*s %" PRIu64 " ", (int)t->storage->name_bytes, t->storage->name,
               t->storage_offset);
        for (uint64_t k = 0; k < t->n_bytes && k < 4096; k++)
            printf("%02x", t->data[k]);
        printf("\n");
    }
    printf("skipped %zu\n", f->n_skipped);
}

static int copy(const struct ptfile *f, bool half, const char *to, struct err *e)
{
    struct pt_writer w;
    float **values = xalloc_array(f->n_tensors, sizeof *values);
    int rc = 0;
    pt_writer_init(&w);
    for (size_t i = 0; i < f->n_tensors && rc == 0; i++) {
        const struct pt_tensor *t = &f->tensors[i];
        struct tensor view;
        if (!half) {
            pt_writer_add(&w, t->name, t->dtype, t->n_dims, t->dims, t->data);
            continue;
        }
        rc = pt_tensor_view(t, &view, e);
        if (rc != 0)
            break;
        values[i] = xalloc_array((size_t)tensor_elements(&view), sizeof **values);
        tensor_to_f32(&view, values[i]);
        pt_writer_add_f32(&w, t->name, PT_F16, t->n_dims, t->dims, values[i]);
    }
    if (rc == 0)
        rc = pt_writer_write(&w, to, e);
    pt_writer_release(&w);
    for (size_t i = 0; i < f->n_tensors; i++)
        xfree(values[i]);
    xfree(values);
    return rc;
}

static int large(const char *to, uint64_t n_bytes, struct err *e)
{
    static const unsigned char small[3] = {1, 2, 3};
    const uint64_t three = 3;
    struct pt_writer w;
    void *zeros =
        mmap(NULL, (size_t)n_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(zeros != MAP_FAILED);
    pt_writer_init(&w);
    pt_writer_add(&w, "large", PT_U8, 1, &n_bytes, zeros);
    pt_writer_add(&w, "small", PT_U8, 1, &three, small);
    int rc = pt_writer_write(&w, to, e);
    pt_writer_release(&w);
    munmap(zeros, (size_t)n_bytes);
    return rc;
}

int main(int argc, char **argv)
{
    struct ptfile f = {0};
    struct err e = {0};
    uint64_t n_bytes = 0;
    int rc = 0;
    if (argc == 4 && str_eq(argv[1], "large") && str_to_u64(argv[3], &n_bytes)) {
        rc = large(argv[2], n_bytes, &e);
    } else if (argc >= 3) {
        rc = ptfile_open(&f, argv[2], &e);
        if (rc == 0)
            rc = ptfile_check_crc(&f, &e);
        if (rc == 0 && argc == 3)
            list(&f);
        else if (rc == 0)
            rc = copy(&f, str_eq(argv[1], "half"), argv[3], &e);
        ptfile_close(&f);
    } else {
        fprintf(stderr, "usage: ptfile_tool list|copy|half|large FILE ...\n");
        return 2;
    }
    if (rc != 0)
        fprintf(stderr, "%s\n", e.text);
    return rc == 0 ? 0 : 1;
}
