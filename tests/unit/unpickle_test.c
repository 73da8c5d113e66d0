#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/unpickle.h"
#include "tests/unit/scratch.h"
#include "tests/unit/tiny_pt.h"

/* A pickle and its length: text with NULs in it. */
#define P(text) text, sizeof(text) - 1

static int run(const char *bytes, size_t n_bytes, struct err *e)
{
    struct pickle p;
    *e = (struct err){0};
    int rc = unpickle(&p, (const unsigned char *)bytes, n_bytes, e);
    pickle_release(&p);
    return rc;
}

/* The values of a pickle that makes one tuple. */
static void open_tuple(struct pickle *p, const char *bytes, size_t n_bytes, uint32_t *out, size_t n)
{
    struct err e = {0};
    need(unpickle(p, (const unsigned char *)bytes, n_bytes, &e), &e);
    assert_int_equal(pickle_at(p, p->root)->kind, PICKLE_TUPLE);
    assert_int_equal(pickle_children(p, p->root, out, n), n);
}

static void simple_values_are_read(void **state)
{
    struct pickle p;
    uint32_t v[8];
    (void)state;
    open_tuple(&p,
               P(PROTO "(N\x88\x89K\xffM\1\2J\xff\xff\xff\xffX\2\0\0\0\xc3\xa9"
                       "G\xbf\xf8\0\0\0\0\0\0t."),
               v, 8);
    assert_int_equal(pickle_at(&p, v[0])->kind, PICKLE_NONE);
    assert_true(pickle_at(&p, v[1])->truth);
    assert_false(pickle_at(&p, v[2])->truth);
    assert_int_equal(pickle_at(&p, v[3])->number, 255);
    assert_int_equal(pickle_at(&p, v[4])->number, 513);
    assert_int_equal(pickle_at(&p, v[5])->number, -1);
    assert_int_equal(pickle_at(&p, v[5])->at, 11);
    assert_int_equal(pickle_at(&p, v[6])->text.n_bytes, 2);
    assert_true(pickle_at(&p, v[7])->real == -1.5);
    pickle_release(&p);
    pickle_release(&p);
    open_tuple(&p,
               P(PROTO "(\x8a\0\x8a\1\x80\x8a\2\x80\0\x8a\x08\0\0\0\0\0\0\0\x80"
                       "\x8a\5\0\0\0\0\1t."),
               v, 5);
    assert_int_equal(pickle_at(&p, v[0])->number, 0);
    assert_int_equal(pickle_at(&p, v[1])->number, -128);
    assert_int_equal(pickle_at(&p, v[2])->number, 128);
    assert_true(pickle_at(&p, v[3])->number == INT64_MIN);
    assert_true(pickle_at(&p, v[4])->number == (int64_t)1 << 32);
    pickle_release(&p);
}

static void containers_are_read(void **state)
{
    struct pickle p;
    struct err e = {0};
    uint32_t v[5];
    (void)state;
    /* (), (1, 2, 3), [1, 2, 3], {"a": 1, "b": 2, 7: 3}, and the list again from the memo */
    open_tuple(&p,
               P(PROTO "()K\1K\2K\3\x87](K\1K\2eK\3ar\1\0\0\0}" KEY("a") "K\1s(" KEY(
                   "b") "K\2K\7K\3uh\1t."),
               v, 5);
    assert_int_equal(pickle_at(&p, v[0])->items.n_items, 0);
    assert_int_equal(pickle_at(&p, v[1])->items.n_items, 3);
    assert_true(pickle_is_counts(&p, v[1]));
    assert_int_equal(pickle_at(&p, v[2])->kind, PICKLE_LIST);
    assert_int_equal(pickle_at(&p, v[2])->items.n_items, 3);
    assert_int_equal(v[2], v[4]);
    const struct pickle_items *items = &pickle_at(&p, v[3])->items;
    assert_int_equal(items->n_items, 3);
    char key[8];
    assert_int_equal(pickle_key(&p, p.items[items->first].key, key, sizeof key), 1);
    assert_int_equal(key[0], 'a');
    assert_int_equal(pickle_key(&p, p.items[items->last].key, key, sizeof key), 1);
    assert_int_equal(key[0], '7');
    pickle_release(&p);
    need(run(P(PROTO "((tN\x85)N\x86t."), &e), &e);
}

static void tensors_are_read(void **state)
{
    struct pickle p;
    struct err e = {0};
    uint32_t v[4];
    (void)state;
    open_tuple(&p,
               P(PROTO "(" THREE "q\0ctorch._utils\n_rebuild_parameter\n(h\0\x88" ORDERED
                       "tRctorch\nSize\nK\2\x85\x85R" STORAGE("ByteStorage", "k", "\7") "t."),
               v, 4);
    const struct pickle_tensor *t = &pickle_at(&p, v[0])->tensor;
    assert_int_equal(pickle_at(&p, v[0])->kind, PICKLE_TENSOR);
    assert_int_equal(v[0], v[1]);
    assert_int_equal(pickle_at(&p, t->offset)->number, 0);
    assert_int_equal(pickle_at(&p, t->storage)->storage.class->dtype, PT_F32);
    assert_int_equal(pickle_at(&p, v[2])->kind, PICKLE_TUPLE);
    assert_int_equal(pickle_at(&p, v[3])->storage.class->dtype, PT_U8);
    assert_int_equal(pickle_at(&p, pickle_at(&p, v[3])->storage.n_elements)->number, 7);
    pickle_release(&p);
    /* An OrderedDict with attributes, and a tensor without metadata. */
    need(run(P(PROTO ORDERED "}" KEY("m") "}sb."), &e), &e);
    need(run(P(PROTO REBUILD(STORAGE("FloatStorage", "0", "\1") "K\0))\x89" ORDERED "}") "."), &e),
         &e);
}

struct bad {
    const char *bytes;
    size_t n_bytes;
    const char *message;
};

static void refuse_all(const struct bad *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct err e;
        if (run(list[i].bytes, list[i].n_bytes, &e) == 0)
            fail_msg("taken: %s", list[i].message);
        if (strstr(e.text, list[i].message) == NULL)
            fail_msg("\"%s\", expected \"%s\"", e.text, list[i].message);
    }
}

static void code_is_refused(void **state)
{
    static const struct bad list[] = {
        {P(PROTO "cos\nsystem\n(X\2\0\0\0lstR."),
         "data.pkl, offset 2: asks for os.system: fmforge executes nothing from a file"},
        {P(PROTO "NcBuiltins\nevil\x1b[31m\n."), "offset 3: asks for Builtins.evil?[31m: "},
        {P(PROTO "ctorch\nFloatStorag\n."), "asks for torch.FloatStorag: "},
        {P(PROTO "ctorch\nFloatStorage2\n."), "asks for torch.FloatStorage2: "},
        {P(PROTO "ctorc\nhFloatStorage\n."), "asks for torc.hFloatStorage: "},
        {P(PROTO "ctorch\ndevice\n."), "asks for torch.device: "},
        {P(PROTO "ccollections\nOrderedDict\0\n."), "asks for collections.OrderedDict?: "},
        {P(PROTO "c\n\n."), "offset 2: asks for .: "},
        {P(PROTO "ctorch\nSize."), "offset 2: a name without an end"},
        {P(PROTO "ctorch"), "offset 2: a name without an end"},
        {P(PROTO "(ios\nsystem\n."), "offset 3: opcode 0x69, INST: fmforge does not take it"},
        {P(PROTO ")\x81."), "opcode 0x81, NEWOBJ"},
        {P(PROTO "(o."), "opcode 0x6f, OBJ"},
        {P(PROTO "\x82\1."), "opcode 0x82, EXT1"},
        {P(PROTO "P0\n."), "opcode 0x50, PERSID"},
        {P(PROTO "\x93."), "opcode 0x93, STACK_GLOBAL"},
        {P(PROTO "N2."), "opcode 0x32, DUP"},
        {P(PROTO "N0."), "opcode 0x30, POP"},
        {P(PROTO "\x80\2."), "opcode 0x80, PROTO"},
        {P(PROTO "\xff."), "opcode 0xff, which does not exist"},
        {P(PROTO "\0."), "opcode 0x00, which does not exist"},
    };
    (void)state;
    refuse_all(list, sizeof list / sizeof list[0]);
}

static void broken_pickles_are_refused(void **state)
{
    static const struct bad list[] = {
        {P(""), "offset 0: not a pickle"},
        {P("\x80"), "offset 0: not a pickle"},
        {P("}."), "offset 0: not a pickle"},
        {P("\x80\4}."), "pickle protocol 4, expected 2"},
        {P(PROTO), "offset 2: the pickle has no end"},
        {P(PROTO "N"), "offset 3: the pickle has no end"},
        {P(PROTO "."), "0 values at the end"},
        {P(PROTO "NN."), "2 values at the end"},
        {P(PROTO "(."), "1 values at the end"},
        {P(PROTO "N.N"), "offset 3: 1 bytes behind the end"},
        {P(PROTO "J\0\0\0"), "offset 2: its 4 bytes reach past the end at offset 6"},
        {P(PROTO "K"), "its 1 bytes reach past"},
        {P(PROTO "G\0\0\0\0\0\0\0"), "its 8 bytes reach past"},
        {P(PROTO "X\xff\xff\xff\xff"
                 "a."),
         "its 4294967295 bytes reach past"},
        {P(PROTO "X\1\0\0\0\xff."), "a text that is not valid UTF-8"},
        {P(PROTO "\x8a\x09"
                 "123456789."),
         "an integer of 9 bytes"},
        {P(PROTO "\x8a\x08"
                 "1."),
         "its 8 bytes reach past"},
        {P(PROTO "h\0."), "memo 0 is not set"},
        {P(PROTO "Nq\1h\0."), "memo 0 is not set"},
        {P(PROTO "j\xff\xff\xff\xff."), "memo 4294967295 is not set"},
        {P(PROTO "q\0."), "offset 2: wants a value, but the stack has none"},
        {P(PROTO "(q\0."), "wants a value, but the stack has none"},
        {P(PROTO "Nt."), "wants a mark, but the stack has none"},
        {P(PROTO "N(\x85."), "wants 1 values, the stack has 0"},
        {P(PROTO "N\x86."), "wants 2 values, the stack has 1"},
        {P(PROTO "\x87."), "wants 3 values, the stack has 0"},
        {P(PROTO "Na."), "wants a list, but the stack has none"},
        {P(PROTO "a."), "wants 1 values, the stack has 0"},
        {P(PROTO "}Na."), "wants a list, found a dict"},
        {P(PROTO "](Na."), "wants a list, but the stack has none"},
        {P(PROTO ")(Ne."), "wants a list, found a tuple"},
        {P(PROTO "(e."), "wants a list, but the stack has none"},
        {P(PROTO "](K\1K\1u."), "wants a dict, found a list"},
        {P(PROTO "}(K\1u."), "1 keys and values, expected pairs"},
        {P(PROTO "}NNs."), "a key is None, expected a text or an integer"},
        {P(PROTO "})Ns."), "a key is a tuple, expected"},
        {P(PROTO "}\x88Ns."), "a key is a bool, expected"},
        {P(PROTO "}Ns."), "wants a dict, but the stack has none"},
        {P(PROTO "Ns."), "wants 2 values, the stack has 1"},
        {P(PROTO "}(" KEY("a") "N" KEY("a") "Nu."), "offset 11: the key a is there twice"},
        {P(PROTO "}K\7NsM\7\0Ns."), "offset 7: the key 7 is there twice"},
        {P(PROTO "NNb."), "wants a dict, found None"},
        {P(PROTO "N}b."), "wants a dict, found None"},
        {P(PROTO "](}b."), "wants a dict, but the stack has none"},
    };
    (void)state;
    refuse_all(list, sizeof list / sizeof list[0]);
}

#define SIX(size, stride) STORAGE("FloatStorage", "0", "\3") "K\0" size stride "\x89" ORDERED

static void broken_calls_are_refused(void **state)
{
    static const struct bad list[] = {
        {P(PROTO ")R."), "wants a class, but the stack has none"},
        {P(PROTO "N)R."), "wants a class, found None"},
        {P(PROTO "ctorch\nSize\nNR."), "wants a tuple, found None"},
        {P(PROTO "ctorch\nSize\n)R."), "Size with 0 arguments, expected 1"},
        {P(PROTO "ctorch\nSize\nN\x85R."), "size is None, expected a tuple"},
        {P(PROTO "ctorch\nFloatStorage\n)R."), "calls torch.FloatStorage, expected only its name"},
        {P(PROTO "ccollections\nOrderedDict\n]\x85R."), "OrderedDict with 1 arguments, expected 0"},
        {P(PROTO "NQ."), "wants a tuple, found None"},
        {P(PROTO ")Q."), "persistent id with 0 arguments, expected 5"},
        {P(PROTO "(K\1NNNNtQ."), "kind of persistent id is an integer, expected a text"},
        {P(PROTO "(" KEY("s") "NNNNtQ."), "persistent id of kind \"s\", expected \"storage\""},
        {P(PROTO "(X\7\0\0\0storageNNNNtQ."), "storage class is None, expected a class"},
        {P(PROTO STORAGE("Size", "0", "\1") "."), "storage class is torch.Size"},
        {P(PROTO "(X\7\0\0\0storagectorch\nHalfStorage\nK\1NNtQ."), "storage key is an integer"},
        {P(PROTO "(X\7\0\0\0storagectorch\nHalfStorage\n" KEY("0") "NNtQ."),
         "storage location is None, expected a text"},
        {P(PROTO "(X\7\0\0\0storagectorch\nHalfStorage\n" KEY("0") KEY("c") "NtQ."),
         "number of elements is None, expected an integer"},
        {P(PROTO "(X\7\0\0\0storagectorch\nHalfStorage\n" KEY("0") KEY("c") "J\xff\xff\xff\xfftQ."),
         "number of elements is -1, expected at least 0"},
        {P(PROTO REBUILD("NNNNN") "."), "tensor with 5 arguments, expected 6"},
        {P(PROTO REBUILD("NNNNNNNN") "."), "tensor with 8 arguments, expected 6"},
        {P(PROTO REBUILD("NNNNNN") "."), "storage is None, expected a storage"},
        {P(PROTO REBUILD(SIX(")", ")") "}" KEY("n") "\x88s") "."), "metadata is not empty"},
        {P(PROTO REBUILD(SIX("N", ")")) "."), "size is None, expected a tuple"},
        {P(PROTO REBUILD(SIX("N\x85", ")")) "."), "size is not a tuple of integers from 0"},
        {P(PROTO REBUILD(SIX("J\xff\xff\xff\xff\x85", ")")) "."),
         "size is not a tuple of integers"},
        {P(PROTO REBUILD(SIX(")", "J\xff\xff\xff\xff\x85")) "."), "stride is not a tuple of"},
        {P(PROTO REBUILD(SIX(")", DIMS1("\1"))) "."), "0 sizes and 1 strides"},
        {P(PROTO REBUILD(STORAGE("FloatStorage", "0", "\3") "J\xff\xff\xff\xff))\x89" ORDERED) "."),
         "offset is -1, expected at least 0"},
        {P(PROTO REBUILD(STORAGE("FloatStorage", "0", "\3") "K\0))N" ORDERED) "."),
         "requires_grad is None, expected a bool"},
        {P(PROTO REBUILD(STORAGE("FloatStorage", "0", "\3") "K\0))\x89N") "."),
         "backward_hooks is None, expected a dict"},
        {P(PROTO REBUILD(STORAGE("FloatStorage", "0", "\3") "K\0))\x89}K\1Ns") "."),
         "backward_hooks is not empty"},
        {P(PROTO "ctorch._utils\n_rebuild_parameter\n)R."), "parameter with 0 arguments"},
        {P(PROTO "ctorch._utils\n_rebuild_parameter\n(NNNtR."), "data is None, expected a tensor"},
        {P(PROTO "ctorch._utils\n_rebuild_parameter\n(" THREE "NNtR."), "requires_grad is None"},
        {P(PROTO "ctorch._utils\n_rebuild_parameter\n(" THREE "\x88NtR."),
         "backward_hooks is None"},
    };
    (void)state;
    refuse_all(list, sizeof list / sizeof list[0]);
}

/* PROTO, MARK, n times `piece`, `end`. */
static int run_many(const char *begin, const char *piece, size_t piece_bytes, size_t n,
                    const char *end, struct err *e)
{
    struct buf b;
    buf_init(&b, (size_t)1 << 28);
    buf_add_text(&b, PROTO);
    buf_add_text(&b, begin);
    for (size_t i = 0; i < n; i++)
        buf_add(&b, piece, piece_bytes);
    buf_add_text(&b, end);
    int rc = run(b.bytes, b.n_bytes, e);
    buf_release(&b);
    return rc;
}

static void limits_hold(void **state)
{
    const size_t n = LIMIT_PICKLE_VALUES;
    struct err e;
    (void)state;
    need(run_many("]", P("Na"), n - 1, ".", &e), &e);
    assert_int_equal(run_many("]", P("Na"), n, ".", &e), ERR_LIMIT);
    assert_string_equal(e.text, "data.pkl, offset 8388609: more than 4194304 values: "
                                "LIMIT_PICKLE_VALUES");
    /* No new values, but references to one. */
    need(run_many("Nq\1(", P("h\1"), n - 2, "t\x86.", &e), &e);
    assert_int_equal(run_many("Nq\1(", P("h\1"), n, "t.", &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "more than 4194304 values on the stack: LIMIT_PICKLE_VALUES"));
    need(run_many("]q\1(", P("h\1"), n - 4, "e(h\1h\1h\1h\1e.", &e), &e);
    assert_int_equal(run_many("]q\1(", P("h\1"), n - 4, "e(h\1h\1h\1h\1h\1e.", &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "more than 4194304 items: LIMIT_PICKLE_VALUES"));
    /* A memo of a size that the pickle has not paid for. */
    assert_int_equal(run(P(PROTO "Nr\xff\xff\xff\xff."), &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "offset 3: memo index 4294967295 in a pickle of 9 bytes"));
    assert_int_equal(run(P(PROTO "Nr\x09\0\0\0."), &e), ERR_LIMIT);
    need(run(P(PROTO "Nr\x08\0\0\0."), &e), &e);
}

static void the_length_is_limited(void **state)
{
    const size_t n = (size_t)LIMIT_PICKLE_BYTES;
    char *bytes = xalloc(n + 1);
    struct err e;
    (void)state;
    memcpy(bytes, P(PROTO "X"));
    for (int i = 0; i < 4; i++)
        bytes[3 + i] = (char)((n - 8) >> (8 * i));
    bytes[n - 1] = '.';
    need(run(bytes, n, &e), &e);
    assert_int_equal(run(bytes, n + 1, &e), ERR_LIMIT);
    assert_string_equal(e.text, "data.pkl: 67108865 bytes, LIMIT_PICKLE_BYTES is 67108864");
    xfree(bytes);
}

static void truncated_pickles_are_refused(void **state)
{
    static const char whole[] = PROTO "}(" KEY("a") THREE KEY("b") THREE "u.";
    struct err e;
    (void)state;
    need(run(P(whole), &e), &e);
    for (size_t n = 0; n < sizeof whole - 1; n++)
        assert_int_equal(run(whole, n, &e), ERR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simple_values_are_read),
        cmocka_unit_test(containers_are_read),
        cmocka_unit_test(tensors_are_read),
        cmocka_unit_test(code_is_refused),
        cmocka_unit_test(broken_pickles_are_refused),
        cmocka_unit_test(broken_calls_are_refused),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(the_length_is_limited),
        cmocka_unit_test(truncated_pickles_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
