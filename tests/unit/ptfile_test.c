#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/bytes.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/ptfile.h"
#include "tests/unit/scratch.h"
#include "tests/unit/tiny_pt.h"

#define P(text) text, sizeof(text) - 1

static char folder[SCRATCH_BYTES];
static char path[64], other[64];

static int make_folder(void **state)
{
    (void)state;
    if (scratch_open(folder) != 0)
        return -1;
    snprintf(path, sizeof path, "%s/a.pt", folder);
    snprintf(other, sizeof other, "%s/b.pt", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return scratch_remove(folder);
}

/* ---- files made by hand ---- */

/* Storage "0": three fp32, "1": eight bytes. */
static const unsigned char three[12] = {0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64};

static void make(struct tiny_zip *z, const char *pickle, size_t pickle_bytes)
{
    tiny_zip_init(z);
    tiny_zip_add(z, "x/data.pkl", pickle, pickle_bytes);
    tiny_zip_add(z, "x/data/0", three, sizeof three);
    tiny_zip_add(z, "x/data/1", "abcdefgh", 8);
    tiny_zip_add(z, "x/version", "3\n", 2);
}

static int open_bytes(struct ptfile *f, const struct tiny_zip *z, struct err *e)
{
    *f = (struct ptfile){0};
    *e = (struct err){0};
    return ptfile_parse(f, (const unsigned char *)z->bytes.bytes, z->bytes.n_bytes, e);
}

static int try_zip(struct tiny_zip *z, struct err *e)
{
    struct ptfile f;
    tiny_zip_end(z, false);
    int rc = open_bytes(&f, z, e);
    ptfile_close(&f);
    tiny_zip_release(z);
    return rc;
}

static int try_pickle(const char *pickle, size_t pickle_bytes, struct err *e)
{
    struct tiny_zip z;
    make(&z, pickle, pickle_bytes);
    return try_zip(&z, e);
}

#define DICT(items) PROTO "}(" items "u."

static void nested_tensors_are_named(void **state)
{
    struct tiny_zip z;
    struct ptfile f;
    struct err e;
    (void)state;
    make(&z, P(DICT(KEY("b") THREE "q\1" KEY("a") "}(" KEY("x") "](Nh\1K\5e" KEY("y") ORDERED KEY(
                 "z") "h\1s"
                      "u" KEY("n") "N" KEY("t") "(\x88G\0\0\0\0\0\0\0\0" KEY("s") "t"
                                                                                  "K\7"
                                                                                  "h\1")));
    tiny_zip_end(&z, true);
    need(open_bytes(&f, &z, &e), &e);
    static const char *const names[] = {"7", "a.x.1", "a.y.z", "b"};
    assert_int_equal(f.n_tensors, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(f.tensors[i].name, names[i]);
        assert_ptr_equal(ptfile_find(&f, names[i]), &f.tensors[i]);
        assert_true(pt_tensor_tied(&f.tensors[i], &f.tensors[0]));
    }
    assert_int_equal(f.n_skipped, 6);
    assert_null(ptfile_find(&f, "a"));
    assert_null(ptfile_find(&f, "c"));
    need(ptfile_check_crc(&f, &e), &e);
    z.bytes.bytes[z.entries[2].data_at] ^= 1;
    assert_int_equal(ptfile_check_crc(&f, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "entry x/data/1: its bytes have the CRC-32"));
    ptfile_close(&f);
    ptfile_close(&f);
    tiny_zip_release(&z);
}

/* Views share a storage and differ in their place. */
static void views_of_a_storage_are_read(void **state)
{
    struct tiny_zip z;
    struct ptfile f;
    struct err e;
    (void)state;
    make(&z, P(DICT(KEY("a") TENSOR(STORAGE("FloatStorage", "0", "\3"), "\1", DIMS2("\1", "\2"),
                                    DIMS2("\x63", "\1")) KEY("b") THREE KEY("c")
                        TENSOR(STORAGE("FloatStorage", "0", "\3"), "\2", ")", ")") KEY("d") TENSOR(
                            STORAGE("LongStorage", "1", "\1"), "\0", DIMS1("\1"), DIMS1("\1"))
                            KEY("e") TENSOR(STORAGE("FloatStorage", "0", "\3"), "\3",
                                            DIMS2("\0", "\5"), DIMS2("\7", "\7")))));
    tiny_zip_end(&z, false);
    need(open_bytes(&f, &z, &e), &e);
    assert_int_equal(f.n_tensors, 5);
    const struct pt_tensor *a = ptfile_find(&f, "a"), *b = ptfile_find(&f, "b"),
                           *c = ptfile_find(&f, "c"), *d = ptfile_find(&f, "d");
    assert_ptr_equal(a->storage, b->storage);
    assert_false(pt_tensor_tied(a, b));
    assert_int_equal(a->storage_offset, 1);
    assert_int_equal(a->n_dims, 2);
    assert_int_equal(a->dims[1], 2);
    assert_int_equal(a->strides[0], 0x63);
    assert_memory_equal(a->data, three + 4, 8);
    assert_memory_equal(b->data, three, 12);
    assert_int_equal(c->n_dims, 0);
    assert_int_equal(pt_tensor_elements(c), 1);
    assert_memory_equal(c->data, three + 8, 4);
    assert_int_equal(d->dtype, PT_I64);
    assert_string_equal(pt_dtype_name(d->dtype), "int64");
    assert_int_equal(ptfile_find(&f, "e")->n_bytes, 0);
    struct tensor view;
    float values[3];
    need(pt_tensor_view(b, &view, &e), &e);
    tensor_to_f32(&view, values);
    assert_true(values[0] == 1 && values[1] == 2 && values[2] == 3);
    assert_int_equal(pt_tensor_view(d, &view, &e), ERR_FORMAT);
    assert_string_equal(e.text, "d: dtype int64, expected float32, float16, bfloat16 or uint8");
    ptfile_close(&f);
    tiny_zip_release(&z);
}

#define F32(count, offset, size, stride) \
    DICT(KEY("w") TENSOR(STORAGE("FloatStorage", "0", count), offset, size, stride))
#define LONG7 "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"

static void broken_tensors_are_refused(void **state)
{
    static const struct {
        const char *pickle;
        size_t n_bytes;
        const char *message;
    } list[] = {
        {P(F32("\3", "\0", DIMS2("\1", "\2"), DIMS2("\2", "\2"))),
         "w: not contiguous: stride 2 of dimension 1, expected 1: call contiguous()"},
        {P(F32("\3", "\0", DIMS2("\3", "\1"), DIMS2("\0", "\1"))),
         "w: not contiguous: stride 0 of dimension 0, expected 1"},
        {P(F32("\3", "\1", DIMS1("\3"), DIMS1("\1"))),
         "w: 3 elements from element 1 of a storage of 3"},
        {P(F32("\3", "\4", DIMS1("\0"), DIMS1("\1"))),
         "w: 0 elements from element 4 of a storage of 3"},
        {P(F32("\3", "\0", DIMS1("\4"), DIMS1("\1"))),
         "w: 4 elements from element 0 of a storage of 3"},
        {P(F32("\4", "\0", DIMS1("\3"), DIMS1("\1"))),
         "w: entry data/0 has 12 bytes, expected 4 elements of float32"},
        {P(DICT(KEY("w") TENSOR(STORAGE("LongStorage", "0", "\1"), "\0", ")", ")"))),
         "w: entry data/0 has 12 bytes, expected 1 elements of int64"},
        {P(DICT(KEY("w") TENSOR(STORAGE("LongStorage", "7", "\1"), "\0", ")", ")"))),
         "w: its storage, entry data/7, is missing"},
        {P(DICT(KEY("w") TENSOR(STORAGE("LongStorage", "\n", "\1"), "\0", ")", ")"))),
         "w: its storage, entry data/?, is missing"},
        {P(F32("\3", "\0", LONG7 LONG7 "\x86", DIMS2("\1", "\1"))), "w: dimensions overflow"},
        {P(F32("\3", "\0", LONG7 "\x85", DIMS1("\1"))), "w: dimensions overflow"},
        {P(F32("\3", "\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t")),
         "w: 9 dimensions, PT_DIMS_MAX is 8"},
        {P(DICT("X\0\0\0\0" THREE)), "a tensor whose name is empty"},
        {P(DICT(KEY("\n") THREE)), "?: a tensor whose name holds byte 0x0a"},
        {P(DICT(KEY("a") "}X\3\0\0\0b\0c" THREE "s")),
         "a.b?c: a tensor whose name holds byte 0x00"},
        {P(DICT("X\3\0\0\0a.b" THREE KEY("a") "}" KEY("b") THREE "s")),
         "a.b: two tensors have this name"},
        {P(DICT("K\1" THREE KEY("1") THREE)), "1: two tensors have this name"},
        {P(DICT(KEY("a") THREE KEY("a") THREE)), "data.pkl, offset 133: the key a is there twice"},
        {P(PROTO "}q\1" KEY("a") "h\1s."), "a: a dict that contains itself"},
        {P(PROTO "}(" KEY("a") "]q\1h\1au."), "a.0: a list that contains itself"},
        {P(PROTO THREE "."), "data.pkl holds a tensor, expected a dict of tensors"},
        {P(PROTO "]" THREE "a."), "data.pkl holds a list, expected a dict of tensors"},
        {P(PROTO "cposix\nsystem\n."), "data.pkl, offset 2: asks for posix.system"},
    };
    struct err e;
    (void)state;
    need(try_pickle(P(F32("\3", "\0", DIMS1("\3"), DIMS1("\1"))), &e), &e);
    need(try_pickle(P(F32("\3", "\0", LONG7 LONG7 "K\0\x87", "K\1K\1K\1\x87")), &e), &e);
    need(try_pickle(P(DICT("X\0\0\0\0"
                           "N" KEY("\n") "N" KEY("a") "}X\0\0\0\0" THREE "s")),
                    &e),
         &e);
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        int rc = try_pickle(list[i].pickle, list[i].n_bytes, &e);
        if (rc != ERR_FORMAT && rc != ERR_LIMIT)
            fail_msg("taken: %s", list[i].message);
        if (strstr(e.text, list[i].message) == NULL)
            fail_msg("\"%s\", expected \"%s\"", e.text, list[i].message);
    }
}

static void other_archives_are_refused(void **state)
{
    static const struct {
        const char *name[2];
        const char *text[2];
        const char *message; /* NULL: taken */
    } list[] = {
        {{"x/version", NULL}, {"3\n", NULL}, NULL},
        {{"x/version", "x/byteorder"}, {"10", "little"}, NULL},
        {{"x/version", "x/.data/serialization_id"}, {"1\n", "123"}, NULL},
        {{"x/version", "x/byteorder"}, {"3\n", "big"}, "byteorder is \"big\", expected \"little\""},
        {{"x/version", "x/byteorder"}, {"3\n", ""}, "byteorder is \"\", expected"},
        {{"x/version", "x/byteorder"},
         {"3\n", "little and very much longer"},
         "entry x/byteorder has 27 bytes, expected a word"},
        {{"x/version", "x/constants.pkl"}, {"3\n", ""}, "a TorchScript archive (constants.pkl)"},
        {{"x/byteorder", NULL}, {"little", NULL}, "no entry x/version: not by torch.save"},
        {{"x/version", NULL}, {"0\n", NULL}, "version is \"0\", expected 1 to 10"},
        {{"x/version", NULL}, {"11\n", NULL}, "version is \"11\", expected 1 to 10"},
        {{"x/version", NULL}, {"\n", NULL}, "version is \"\", expected 1 to 10"},
        {{"x/version", "y/data.pkl"}, {"3\n", "\x80\2}."}, "two folders with a data.pkl"},
        {{"x/version", "y/z/data.pkl"}, {"3\n", "\x80\2}."}, NULL},
    };
    struct tiny_zip z;
    struct err e;
    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        tiny_zip_init(&z);
        tiny_zip_add(&z, "x/data.pkl", P("\x80\2}."));
        for (int k = 0; k < 2 && list[i].name[k] != NULL; k++)
            tiny_zip_add(&z, list[i].name[k], list[i].text[k], strlen(list[i].text[k]));
        int rc = try_zip(&z, &e);
        if (list[i].message == NULL)
            need(rc, &e);
        else if (rc != ERR_FORMAT || strstr(e.text, list[i].message) == NULL)
            fail_msg("\"%s\", expected \"%s\"", e.text, list[i].message);
    }
    tiny_zip_init(&z);
    tiny_zip_add(&z, "data.pkl", P("\x80\2}."));
    assert_int_equal(try_zip(&z, &e), ERR_FORMAT);
    assert_string_equal(e.text, "a zip file of 1 entries without NAME/data.pkl: not by torch.save");
}

static void other_files_are_refused(void **state)
{
    static const unsigned char legacy[] = "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    struct ptfile f = {0};
    struct err e = {0};
    (void)state;
    assert_int_equal(ptfile_parse(&f, legacy, sizeof legacy - 1, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "the form of torch.save before PyTorch 1.6, not a zip file"));
    e = (struct err){0};
    assert_int_equal(ptfile_parse(&f, NULL, 0, &e), ERR_FORMAT);
    assert_string_equal(e.text, "not a zip file: 0 bytes");
    e = (struct err){0};
    need(file_write(path, "safetensors, perhaps, but no zip file", 37, &e), &e);
    assert_int_equal(ptfile_open(&f, path, &e), ERR_FORMAT);
    assert_int_equal(strncmp(e.text, path, strlen(path)), 0);
    assert_non_null(
        strstr(e.text, ": not a zip file, or cut off: no end record in the last 37 of"));
    e = (struct err){0};
    assert_int_equal(ptfile_open(&f, other, &e), ERR_MISSING);
    ptfile_close(&f);
}

/* The pickle and the small entries are checked while opening, the data when asked for. */
static void damage_is_noticed(void **state)
{
    struct tiny_zip z;
    struct ptfile f;
    struct err e;
    (void)state;
    make(&z, P(DICT(KEY("w") THREE)));
    tiny_zip_end(&z, false);
    z.bytes.bytes[z.entries[1].data_at] ^= 1;
    need(open_bytes(&f, &z, &e), &e);
    ptfile_close(&f);
    z.bytes.bytes[z.entries[3].data_at] = '4';
    assert_int_equal(open_bytes(&f, &z, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "entry x/version: its bytes have the CRC-32"));
    z.bytes.bytes[z.entries[3].data_at] = '3';
    z.bytes.bytes[z.entries[0].data_at + 9] ^= 1;
    assert_int_equal(open_bytes(&f, &z, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "entry x/data.pkl: its bytes have the CRC-32"));
    tiny_zip_release(&z);
}

/* ---- limits of the walk ---- */

/* Lists in lists, n deep below the dict. */
static int try_depth(int n, struct err *e)
{
    struct buf b;
    buf_init(&b, 65536);
    buf_add(&b, P(PROTO "}" KEY("a")));
    for (int i = 0; i < n; i++)
        buf_add_char(&b, ']');
    for (int i = 1; i < n; i++)
        buf_add_char(&b, 'a');
    buf_add_text(&b, "s.");
    int rc = try_pickle(b.bytes, b.n_bytes, e);
    buf_release(&b);
    return rc;
}

static int try_name(size_t n, struct err *e)
{
    struct buf b;
    unsigned char length[4];
    buf_init(&b, 65536);
    buf_add(&b, P(PROTO "}" KEY("a") "}X"));
    bytes_put_u32(length, (uint32_t)(n - 2));
    buf_add(&b, length, 4);
    for (size_t i = 2; i < n; i++)
        buf_add_char(&b, 'b');
    buf_add(&b, P(THREE "ss."));
    int rc = try_pickle(b.bytes, b.n_bytes, e);
    buf_release(&b);
    return rc;
}

/* A list of n tensors, all the same one, named 1000 at a time. */
static int try_tensors(int n, struct err *e)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_add(&b, P(PROTO "}(" KEY("a") "](" THREE "q\1"));
    for (int i = 1; i < 1000; i++)
        buf_add(&b, P("h\1"));
    buf_add(&b, P("eq\2" KEY("b") "]("));
    for (int i = 1; i < n / 1000; i++)
        buf_add(&b, P("h\2"));
    for (int i = 0; i < n % 1000; i++)
        buf_add(&b, P("h\1"));
    buf_add(&b, P("eu."));
    int rc = try_pickle(b.bytes, b.n_bytes, e);
    buf_release(&b);
    return rc;
}

static void limits_hold(void **state)
{
    struct err e;
    (void)state;
    need(try_depth(LIMIT_PICKLE_DEPTH - 1, &e), &e);
    assert_int_equal(try_depth(LIMIT_PICKLE_DEPTH, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, ".0.0.0: nested deeper than LIMIT_PICKLE_DEPTH, 64"));
    need(try_name(LIMIT_TENSOR_NAME_BYTES, &e), &e);
    assert_int_equal(try_name(LIMIT_TENSOR_NAME_BYTES + 1, &e), ERR_LIMIT);
    assert_non_null(
        strstr(e.text, "a: a key makes this name longer than LIMIT_TENSOR_NAME_BYTES, 1024"));
    need(try_tensors(LIMIT_TENSORS, &e), &e);
    assert_int_equal(try_tensors(LIMIT_TENSORS + 1, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "more than 100000 tensors: LIMIT_TENSORS"));
}

/* Thirty lists, each twice in the next: a thousand million paths in 200 bytes. */
static void shared_parts_do_not_explode(void **state)
{
    struct buf b;
    struct err e;
    (void)state;
    buf_init(&b, 65536);
    buf_add(&b, P(PROTO "}" KEY("a") "Nq\1"));
    for (int i = 0; i < 30; i++)
        buf_add(&b, P("h\1\x86q\1"));
    buf_add_text(&b, "s.");
    assert_int_equal(try_pickle(b.bytes, b.n_bytes, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "more than 4194304 leaves, LIMIT_PICKLE_VALUES"));
    buf_release(&b);
}

/* ---- the writer ---- */

static const float values[6] = {0.5f, -1, 2, 3.25f, -4, 1e-3f};

static void write_sample(const char *to)
{
    struct pt_writer w;
    struct err e = {0};
    const uint64_t dims[8] = {2, 3, 1, 1, 1, 1, 1, 1}, none[2] = {0, 300};
    pt_writer_init(&w);
    pt_writer_add_f32(&w, "z.weight", PT_F32, 2, dims, values);
    pt_writer_add_f32(&w, "a.half", PT_F16, 8, dims, values);
    pt_writer_add_f32(&w, "b.brain", PT_BF16, 1, dims, values);
    pt_writer_add(&w, "raw", PT_F32, 1, dims + 1, values);
    pt_writer_add(&w, "\xc3\xa9", PT_U8, 0, NULL, "x");
    pt_writer_add(&w, "empty", PT_I64, 2, none, NULL);
    need(pt_writer_write(&w, to, &e), &e);
    pt_writer_release(&w);
    pt_writer_release(&w);
}

static void written_files_are_read(void **state)
{
    struct ptfile f;
    struct err e = {0};
    (void)state;
    write_sample(path);
    need(ptfile_open(&f, path, &e), &e);
    need(ptfile_check_crc(&f, &e), &e);
    assert_int_equal(f.n_tensors, 6);
    assert_int_equal(f.n_skipped, 0);
    assert_int_equal(f.zip.n_entries, 9);
    for (size_t i = 0; i < f.zip.n_entries; i++)
        assert_int_equal(f.zip.entries[i].data_at % 64, 0);
    const struct pt_tensor *t = ptfile_find(&f, "z.weight");
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dims[1], 3);
    assert_int_equal(t->strides[0], 3);
    assert_memory_equal(t->data, values, sizeof values);
    assert_memory_equal(t->storage->name, "archive/data/0", t->storage->name_bytes);
    t = ptfile_find(&f, "a.half");
    assert_int_equal(t->dtype, PT_F16);
    assert_int_equal(t->n_dims, 8);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(bytes_get_u16(t->data + 2 * i), tensor_f16_from_f32(values[i]));
    t = ptfile_find(&f, "b.brain");
    assert_int_equal(pt_tensor_elements(t), 2);
    assert_int_equal(bytes_get_u16(t->data + 2), tensor_bf16_from_f32(-1));
    assert_memory_equal(ptfile_find(&f, "raw")->data, values, 12);
    assert_memory_equal(ptfile_find(&f, "\xc3\xa9")->data, "x", 1);
    assert_int_equal(ptfile_find(&f, "empty")->n_bytes, 0);
    ptfile_close(&f);
}

static void written_bytes_are_the_same(void **state)
{
    struct content_id a, b;
    struct err e = {0};
    uint64_t n = 0;
    (void)state;
    write_sample(path);
    write_sample(other);
    need(sha256_file(path, &a, &n, &e), &e);
    need(sha256_file(other, &b, &n, &e), &e);
    assert_string_equal(a.hex, b.hex);
    /* On every machine; who changes the writer changes this, after tests/ref/ptfile_check.py. */
    assert_string_equal(a.hex, "d77fd511c85e95b718944333de84de4e701388e07818a57b81a2210bdfbda1fe");
}

static void written_files_may_be_empty(void **state)
{
    struct pt_writer w;
    struct ptfile f;
    struct err e = {0};
    (void)state;
    pt_writer_init(&w);
    need(pt_writer_write(&w, path, &e), &e);
    pt_writer_release(&w);
    need(ptfile_open(&f, path, &e), &e);
    assert_int_equal(f.n_tensors, 0);
    ptfile_close(&f);
}

/* Counts of each length of integer: BININT1, BININT2, BININT. */
static void written_counts_are_read(void **state)
{
    static const uint64_t counts[] = {255, 256, 65535, 65536, 100000};
    unsigned char *zeros = xalloc(100000);
    struct pt_writer w;
    struct ptfile f;
    struct err e = {0};
    char name[16];
    (void)state;
    pt_writer_init(&w);
    for (size_t i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "%zu", i);
        pt_writer_add(&w, name, PT_BOOL, 1, &counts[i], zeros);
    }
    need(pt_writer_write(&w, path, &e), &e);
    pt_writer_release(&w);
    need(ptfile_open(&f, path, &e), &e);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(f.tensors[i].dims[0], counts[i]);
    ptfile_close(&f);
    xfree(zeros);
}

static void non_finite_values_are_refused(void **state)
{
    static const struct {
        enum pt_dtype dtype;
        float v;
        const char *message;
    } list[] = {
        {PT_F16, 70000, "x: a value is not finite in float16"},
        {PT_F32, INFINITY, "x: a value is not finite in float32"},
        {PT_BF16, NAN, "x: a value is not finite in bfloat16"},
    };
    const uint64_t one = 1;
    (void)state;
    (void)unlink(path);
    for (size_t i = 0; i < 3; i++) {
        struct pt_writer w;
        struct err e = {0};
        pt_writer_init(&w);
        pt_writer_add_f32(&w, "x", list[i].dtype, 1, &one, &list[i].v);
        assert_int_equal(pt_writer_write(&w, path, &e), ERR_NUMERIC);
        assert_non_null(strstr(e.text, list[i].message));
        assert_false(file_exists(path));
        pt_writer_release(&w);
    }
}

/* Cut at every byte, and with every byte changed: refused or read, never worse. */
static void damaged_files_do_no_harm(void **state)
{
    struct ptfile f;
    struct buf b;
    struct err e = {0};
    (void)state;
    write_sample(path);
    buf_init(&b, 65536);
    need(file_read(path, 65535, &b, &e), &e);
    unsigned char *bytes = (unsigned char *)b.bytes;
    for (size_t n = 0; n < b.n_bytes; n++) {
        f = (struct ptfile){0};
        e = (struct err){0};
        assert_int_equal(ptfile_parse(&f, bytes, n, &e), ERR_FORMAT);
    }
    for (size_t i = 0; i < b.n_bytes; i++) {
        f = (struct ptfile){0};
        e = (struct err){0};
        bytes[i] ^= 0xff;
        if (ptfile_parse(&f, bytes, b.n_bytes, &e) == 0)
            assert_int_equal(f.n_tensors, 6);
        ptfile_close(&f);
        bytes[i] ^= 0xff;
    }
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nested_tensors_are_named),
        cmocka_unit_test(views_of_a_storage_are_read),
        cmocka_unit_test(broken_tensors_are_refused),
        cmocka_unit_test(other_archives_are_refused),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(shared_parts_do_not_explode),
        cmocka_unit_test(written_files_are_read),
        cmocka_unit_test(written_bytes_are_the_same),
        cmocka_unit_test(written_files_may_be_empty),
        cmocka_unit_test(written_counts_are_read),
        cmocka_unit_test(non_finite_values_are_refused),
        cmocka_unit_test(damaged_files_do_no_harm),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
