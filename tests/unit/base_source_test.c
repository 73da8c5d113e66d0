/* A base as PyTorch saved it: its names and dimensions, and what is said of those that do not fit.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/base_source.h"
#include "tests/unit/scratch.h"

static char folder[SCRATCH_BYTES];
static const struct shape tiny = {.vocab = 20,
                                  .hidden = 8,
                                  .layers_0 = 1,
                                  .layers_1 = 1,
                                  .heads = 2,
                                  .kv_heads = 1,
                                  .head_dim = 4,
                                  .ffn = 12,
                                  .rope_theta = 10000,
                                  .norm_eps = 1e-5,
                                  .context = 16};

static int make_folder(void **state)
{
    (void)state;
    return scratch_open(folder);
}

static int remove_folder(void **state)
{
    (void)state;
    return scratch_remove(folder);
}

/* Every tensor of the shape but `without`, with a prefix in front of each name; what is said of it.
 */
static int check(const char *prefix, const char *without, struct err *e)
{
    static const float values[256];
    struct pt_writer w;
    struct base_source b = {.shape = tiny};
    char *path = file_join(folder, "base.pt");
    pt_writer_init(&w);
    for (int i = 0; i < shape_n_tensors(&tiny); i++) {
        struct shape_tensor t;
        shape_tensor(&tiny, i, &t);
        const uint64_t dims[2] = {(uint64_t)t.n, (uint64_t)t.k};
        char *name = xasprintf("%s%s", prefix, t.name);
        if (!str_eq(t.name, without))
            pt_writer_add_f32(&w, name, PT_F32, shape_is_norm(&t) ? 1 : 2, dims, values);
        xfree(name);
    }
    need(pt_writer_write(&w, path, e), e);
    pt_writer_release(&w);
    need(tensor_source_open_pt(&b.tensors, path, e), e);
    int rc = base_source_check(&b, e);
    tensor_source_close(&b.tensors);
    xfree(path);
    return rc;
}

static void a_base_has_the_tensors_of_its_shape(void **state)
{
    struct err e = {0};
    (void)state;
    need(check("", "", &e), &e);
    assert_int_equal(check("", "output_norm.weight", &e), ERR_FORMAT);
    assert_string_equal(e.text, "1 tensor does not fit the shape: output_norm.weight is missing");
}

static void a_base_below_a_key_is_told_as_that(void **state)
{
    struct err e = {0};
    (void)state;
    assert_int_equal(check("module.", "", &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "embedding.weight is there as module.embedding.weight: "));
    assert_null(strstr(e.text, "is missing"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_base_has_the_tensors_of_its_shape),
        cmocka_unit_test(a_base_below_a_key_is_told_as_that),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
