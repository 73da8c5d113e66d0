/* Tensors of other programs: shards are one source, values are exact, and what is damaged is not
 * taken for a value. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "stages/model/tensor_source.h"
#include "tests/unit/scratch.h"

static char folder[SCRATCH_BYTES];
static const float values[6] = {1, -2, 0.5f, 0.25f, 3, -0.125f};

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

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_shard(const char *file, const char *first, const char *second,
                        enum tensor_dtype dtype)
{
    const uint64_t dims[2] = {2, 3};
    struct tensor_writer w;
    struct err e = {0};
    tensor_writer_init(&w);
    tensor_writer_add_f32(&w, first, dtype, 2, dims, values);
    tensor_writer_add(&w, second, DTYPE_U8, 2, dims, "abcdef");
    need(tensor_writer_write(&w, path_of(file), &e), &e);
    tensor_writer_release(&w);
}

static void shards_are_one_source(void **state)
{
    struct tensor_source s;
    struct err e = {0};
    (void)state;
    write_shard("model-1.safetensors", "b", "y", DTYPE_F32);
    write_shard("model-2.safetensors", "a", "x", DTYPE_BF16);
    write_shard("other.safetensors", "c", "z", DTYPE_F16);
    need(tensor_source_open_safetensors(&s, folder, "model", &e), &e);
    assert_int_equal(s.n_files, 2);
    assert_int_equal(s.n_tensors, 4);
    assert_string_equal(s.tensors[0].name, "a");
    assert_string_equal(s.tensors[3].name, "y");
    assert_null(tensor_source_find(&s, "c"));
    assert_false(tensor_source_find(&s, "x")->is_float);
    for (const char *name = "ab"; *name; name++) {
        const char text[2] = {*name, '\0'};
        struct source_values v;
        need(tensor_source_load(&s, tensor_source_find(&s, text), &v, &e), &e);
        assert_memory_equal(v.values, values, sizeof values);
        tensor_source_unload(&v);
        tensor_source_unload(&v);
    }
    tensor_source_close(&s);
    tensor_source_close(&s);
    assert_null(tensor_source_find(&s, "a"));
    assert_int_equal(tensor_source_open_safetensors(&s, folder, "weights", &e), ERR_MISSING);
    assert_non_null(strstr(e.text, "no file weights*.safetensors"));
    e = (struct err){0};
    write_shard("model-3.safetensors", "a", "w", DTYPE_F16);
    assert_int_equal(tensor_source_open_safetensors(&s, folder, "model", &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, ": a is in two files"));
    e = (struct err){0};
    need(file_write(path_of("model-4.safetensors"), "{}", 2, &e), &e);
    assert_int_equal(tensor_source_open_safetensors(&s, folder, "model", &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "model-4.safetensors: not a safetensors file"));
}

static void files_of_torch_are_compared_with_their_checksums(void **state)
{
    const uint64_t dims[2] = {2, 3};
    const double wide[2] = {1, 2};
    struct pt_writer w;
    struct tensor_source s;
    struct source_values v;
    struct err e = {0};
    (void)state;
    pt_writer_init(&w);
    pt_writer_add_f32(&w, "a", PT_F16, 2, dims, values);
    pt_writer_add(&w, "wide", PT_F64, 1, dims, wide);
    need(pt_writer_write(&w, path_of("a.pt"), &e), &e);
    pt_writer_release(&w);
    need(tensor_source_open_pt(&s, path_of("a.pt"), &e), &e);
    assert_false(tensor_source_find(&s, "wide")->is_float);
    assert_int_equal(tensor_source_find(&s, "wide")->view.dims[0], 2);
    const struct source_tensor *a = tensor_source_find(&s, "a");
    need(tensor_source_load(&s, a, &v, &e), &e);
    assert_memory_equal(v.values, values, sizeof values);
    long at = (long)(a->pt->data - s.pt.map.bytes);
    tensor_source_unload(&v);
    tensor_source_close(&s);
    FILE *f = fopen(path_of("a.pt"), "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fputc(0x55, f), 0x55);
    assert_int_equal(fclose(f), 0);
    need(tensor_source_open_pt(&s, path_of("a.pt"), &e), &e);
    assert_int_equal(tensor_source_load(&s, tensor_source_find(&s, "a"), &v, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "a: "));
    tensor_source_unload(&v);
    tensor_source_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_are_one_source),
        cmocka_unit_test(files_of_torch_are_compared_with_their_checksums),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
