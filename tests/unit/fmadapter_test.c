/* The package against its description: bytes at known places, order, permutation, every rule. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/fmadapter.h"
#include "tests/unit/scratch.h"

/* Two segments, grouped queries, heads of 8: every kind of module. */
static const struct shape tiny = {.vocab = 64,
                                  .hidden = 32,
                                  .layers_0 = 2,
                                  .layers_1 = 1,
                                  .heads = 4,
                                  .kv_heads = 2,
                                  .head_dim = 8,
                                  .ffn = 48,
                                  .context = 16,
                                  .rope_theta = 500000,
                                  .norm_eps = 1e-5,
                                  .kv_quant = true};

enum { RANK = 4 };

struct fixture {
    char folder[SCRATCH_BYTES];
    char package[96];
    struct adapter adapter;
    struct fmadapter_info info;
};

static int set_up(void **state)
{
    struct fixture *f = xalloc(sizeof *f);
    struct err e = {0};
    assert_int_equal(scratch_open(f->folder), 0);
    (void)snprintf(f->package, sizeof f->package, "%s/x.fmadapter", f->folder);
    assert_int_equal(adapter_init(&f->adapter, &tiny, RANK, 0, 1, &e), 0);
    /* Every value different and exact in fp16. */
    for (int i = 0; i < shape_n_modules(&tiny); i++) {
        struct shape_module m;
        shape_module(&tiny, i, RANK, &m);
        for (int j = 0; j < m.in * RANK; j++)
            adapter_a(&f->adapter, &m)[j] = (float)(j + 1) / 256.0f;
        for (int j = 0; j < m.out * RANK; j++)
            adapter_b(&f->adapter, &m)[j] = (float)(-j - 1) / 256.0f;
    }
    (void)snprintf(f->info.name, sizeof f->info.name, "%s", "ticket_router");
    memset(f->info.signature, 'a', 8);
    memset(f->info.signature + 8, '7', 32);
    (void)snprintf(f->info.author, sizeof f->info.author, "%s", "Zo\xc3\xab");
    (void)snprintf(f->info.description, sizeof f->info.description, "%s", "says \"hello\"");
    f->info.rank = RANK;
    f->info.draft_token_count = 5;
    memset(f->info.adapter.hex, '1', SHA256_HEX);
    memset(f->info.base.hex, '2', SHA256_HEX);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    adapter_release(&f->adapter);
    int rc = scratch_remove(f->folder);
    xfree(f);
    return rc;
}

static struct fmadapter_rounding write_package(struct fixture *f)
{
    struct fmadapter_rounding rounding;
    struct err e = {0};
    if (fmadapter_write(f->package, &f->adapter, &f->info, &rounding, &e) != 0)
        fail_msg("%s", e.text);
    return rounding;
}

/* The file `name` of the package in out. */
static void read_part(const struct fixture *f, const char *name, struct buf *out)
{
    struct err e = {0};
    char *path = file_join(f->package, name);
    buf_init(out, BUF_MAX_DEFAULT);
    assert_int_equal(file_read(path, 1 << 24, out, &e), 0);
    xfree(path);
}

static void write_part(const struct fixture *f, const char *name, const void *bytes, size_t n)
{
    struct err e = {0};
    char *path = file_join(f->package, name);
    assert_int_equal(file_write(path, bytes, n, &e), 0);
    xfree(path);
}

/* Opening must fail with this text somewhere in the message. */
static void expect_refused(const struct fixture *f, const char *text)
{
    struct adapter a;
    struct err e = {0};
    int rc = fmadapter_open(f->package, &tiny, &a, NULL, &e);
    assert_true(rc < 0);
    if (strstr(e.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, e.text);
}

static void test_metadata_text(void **state)
{
    struct fixture *f = *state;
    write_package(f);
    struct buf text;
    read_part(f, "metadata.json", &text);
    static const char want[] =
        "{\n"
        "    \"adapterIdentifier\": \"fmadapter-ticket_router-aaaaaaa\",\n"
        "    \"author\": \"Zo\xc3\xab\",\n"
        "    \"baseModelSignature\": \"aaaaaaaa77777777777777777777777777777777\",\n"
        "    \"creatorDefined\": {\n"
        "        \"fmforge\": {\n"
        "            \"adapter\": "
        "\"1111111111111111111111111111111111111111111111111111111111111111\",\n"
        "            \"base\": "
        "\"2222222222222222222222222222222222222222222222222222222222222222\",\n"
        "            \"schema\": 1\n"
        "        }\n"
        "    },\n"
        "    \"description\": \"says \\\"hello\\\"\",\n"
        "    \"license\": \"\",\n"
        "    \"loraRank\": 4,\n"
        "    \"speculativeDecodingDraftTokenCount\": 5\n"
        "}\n";
    assert_string_equal(buf_text(&text), want);
    buf_release(&text);
}

static void test_header_and_records(void **state)
{
    struct fixture *f = *state;
    struct fmadapter_rounding rounding = write_package(f);
    struct buf file;
    read_part(f, "adapter_weights.bin", &file);
    const unsigned char *p = (const unsigned char *)file.bytes;
    /* 2 layers of 7 modules, 1 of 5. */
    assert_int_equal(bytes_get_u32(p), 38);
    assert_int_equal(bytes_get_u32(p + 4), 2);
    assert_int_equal(rounding.n_records, 38);
    assert_int_equal(rounding.n_bytes, file.n_bytes);
    assert_true(rounding.max_error == 0.0);
    size_t at = 64;
    /* Layer 0: Q K V out gate up down, A before B; sizes in values. */
    static const int sizes[] = {32, 32, 32, 16, 32, 16, 32, 32, 32, 48, 32, 48, 48, 32};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(bytes_get_u32(p + at), 0xDEADBEEFu);
        assert_int_equal(bytes_get_u32(p + at + 4), 1);
        assert_int_equal(bytes_get_u64(p + at + 8), sizes[i] * RANK * 2);
        assert_int_equal(bytes_get_u64(p + at + 16), at + 64);
        assert_int_equal(bytes_get_u64(p + at + 24), 0);
        at += 64 + ((size_t)sizes[i] * RANK * 2 + 63) / 64 * 64;
    }
    buf_release(&file);
}

/* The value at (row, column) of a record whose data lie at `offset`. */
static double stored_at(const struct buf *file, size_t offset, int columns, int row, int column)
{
    size_t at = offset + 2 * (size_t)(row * columns + column);
    return (double)tensor_f16_to_f32(bytes_get_u16(file->bytes + at));
}

static void test_transposed_and_permuted(void **state)
{
    struct fixture *f = *state;
    write_package(f);
    struct buf file;
    read_part(f, "adapter_weights.bin", &file);
    /* Record 0: A of Q is [32][4] in the checkpoint, [4][32] here: (1, 2) was (2, 1). */
    size_t a_at = 128;
    assert_true(stored_at(&file, a_at, 32, 1, 2) == (2 * 4 + 1 + 1) / 256.0);
    /* Record 1: B of Q is [4][32] there, [32][4] here. Head 1 has rows 8..15; its first half holds
     * the even rows of the interleaved order: row 9 was row 10, row 12 was row 9. */
    size_t b_at = a_at + 256 + 64;
    assert_true(stored_at(&file, b_at, 4, 0, 3) == -(3 * 32 + 0 + 1) / 256.0);
    assert_true(stored_at(&file, b_at, 4, 9, 3) == -(3 * 32 + 10 + 1) / 256.0);
    assert_true(stored_at(&file, b_at, 4, 12, 3) == -(3 * 32 + 9 + 1) / 256.0);
    /* Record 3: B of K, two heads of 8. */
    size_t k_at = b_at + 256 + 64 + 256 + 64;
    assert_true(stored_at(&file, k_at, 4, 1, 0) == -(2 + 1) / 256.0);
    assert_true(stored_at(&file, k_at, 4, 4, 0) == -(1 + 1) / 256.0);
    /* Record 5: B of V is not permuted. */
    size_t v_at = k_at + 128 + 64 + 256 + 64;
    assert_true(stored_at(&file, v_at, 4, 1, 0) == -(1 + 1) / 256.0);
    buf_release(&file);
}

static void test_round_trip(void **state)
{
    struct fixture *f = *state;
    write_package(f);
    struct adapter back;
    struct fmadapter_info info;
    struct err e = {0};
    if (fmadapter_open(f->package, &tiny, &back, &info, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(back.rank, RANK);
    assert_true(back.scale == 0.5f);
    assert_int_equal(back.n_values, f->adapter.n_values);
    assert_memory_equal(back.values, f->adapter.values, back.n_values * sizeof *back.values);
    assert_string_equal(info.name, f->info.name);
    assert_string_equal(info.signature, f->info.signature);
    assert_string_equal(info.author, f->info.author);
    assert_string_equal(info.adapter.hex, f->info.adapter.hex);
    assert_int_equal(info.draft_token_count, 5);
    adapter_release(&back);
    adapter_release(&back);
}

static void test_alpha_is_folded_into_b(void **state)
{
    struct fixture *f = *state;
    f->adapter.alpha = 2.0 * RANK; /* scale 2 instead of 0.5 */
    write_package(f);
    struct adapter back;
    struct err e = {0};
    assert_int_equal(fmadapter_open(f->package, &tiny, &back, NULL, &e), 0);
    struct shape_module m;
    shape_module(&tiny, 0, RANK, &m);
    assert_true(adapter_a(&back, &m)[5] == adapter_a(&f->adapter, &m)[5]);
    assert_true(adapter_b(&back, &m)[5] == 4.0f * adapter_b(&f->adapter, &m)[5]);
    adapter_release(&back);
}

static void test_rounding_is_reported(void **state)
{
    struct fixture *f = *state;
    f->adapter.values[0] = 1.0f + 1.0f / 2048.0f; /* a tie: to even, 1.0 */
    f->adapter.values[1] = 1e-9f;
    struct fmadapter_rounding rounding = write_package(f);
    assert_true(rounding.max_error == 1.0 / 2048.0);
    assert_int_equal(rounding.n_flushed, 1);
}

static void expect_write_refused(struct fixture *f, const char *text)
{
    struct fmadapter_rounding rounding;
    struct err e = {0};
    int rc = fmadapter_write(f->package, &f->adapter, &f->info, &rounding, &e);
    assert_true(rc < 0);
    if (strstr(e.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, e.text);
}

static void test_values_that_do_not_fit(void **state)
{
    struct fixture *f = *state;
    struct shape_module m;
    shape_module(&tiny, 1, RANK, &m);
    adapter_b(&f->adapter, &m)[3] = 65520.0f;
    expect_write_refused(f, "lora_1.b_transpose[0][3] = 65520 does not fit fp16");
    adapter_b(&f->adapter, &m)[3] = 65504.0f;
    write_package(f);
    uint32_t nan_bits = 0x7fc00000u;
    memcpy(&adapter_b(&f->adapter, &m)[3], &nan_bits, sizeof nan_bits);
    expect_write_refused(f, "lora_1.b_transpose[0][3] is not finite");
}

static void test_names_and_signatures(void **state)
{
    struct fixture *f = *state;
    (void)snprintf(f->info.name, sizeof f->info.name, "%s", "ticket-router");
    expect_write_refused(f, "ticket-router");
    (void)snprintf(f->info.name, sizeof f->info.name, "%s", "ticket_router");
    f->info.signature[0] = 'A';
    expect_write_refused(f, "expected 40 lower-case hex digits");
    f->info.signature[0] = 'a';
    f->info.draft_token_count = 0;
    expect_write_refused(f, "draft token count 0");
}

/* Replaces the first `from` in metadata.json (same length not needed). */
static void edit_metadata(struct fixture *f, const char *from, const char *to)
{
    struct err e = {0};
    assert_int_equal(file_remove_tree(f->package, &e), 0);
    write_package(f);
    struct buf text, edited;
    read_part(f, "metadata.json", &text);
    const char *at = strstr(buf_text(&text), from);
    assert_non_null(at);
    buf_init(&edited, BUF_MAX_DEFAULT);
    buf_add(&edited, text.bytes, (size_t)(at - text.bytes));
    buf_add_text(&edited, to);
    buf_add_text(&edited, at + strlen(from));
    write_part(f, "metadata.json", edited.bytes, edited.n_bytes);
    buf_release(&text);
    buf_release(&edited);
}

static void test_metadata_rules(void **state)
{
    struct fixture *f = *state;
    edit_metadata(f, "\"fmadapter-ticket_router-", "\"fmadapter-ticket-router-");
    expect_refused(f, "ticket-router");
    edit_metadata(f, "-aaaaaaa\"", "-aaaaaab\"");
    expect_refused(f, "adapterIdentifier ends in \"aaaaaab\"");
    edit_metadata(f, "-aaaaaaa\"", "-aaaaaaaa\"");
    expect_refused(f, "adapterIdentifier ends in");
    edit_metadata(f, "\"fmadapter-ticket_router-aaaaaaa\"", "\"fmad\"");
    expect_refused(f, "expected fmadapter-NAME-SIGNATURE");
    edit_metadata(f, "7777\"", "777\"");
    expect_refused(f, "40 lower-case hex");
    edit_metadata(f, "\"loraRank\": 4", "\"loraRank\": 0");
    expect_refused(f, "loraRank is 0");
    edit_metadata(f, "\"loraRank\": 4", "\"loraRank\": 8");
    expect_refused(f, "record 0");
    edit_metadata(f, "\"loraRank\": 4", "\"loraRank\": \"4\"");
    expect_refused(f, "loraRank");
    edit_metadata(f, "\"author\"", "\"auteur\"");
    expect_refused(f, "auteur");
    edit_metadata(f, ": 5\n}\n", ": 5\n}\n}\n");
    expect_refused(f, "metadata.json");
    edit_metadata(f, "\"speculativeDecodingDraftTokenCount\": 5",
                  "\"speculativeDecodingDraftTokenCount\": 0");
    expect_refused(f, "speculativeDecodingDraftTokenCount is 0");
}

static void test_draft_files_come_in_pairs(void **state)
{
    struct fixture *f = *state;
    write_package(f);
    write_part(f, "draft.mil", "x", 1);
    expect_refused(f, "draft.mil without draft_weights.bin");
}

/* Every byte that is not a value: one changed bit is refused. */
static void test_flipped_bits(void **state)
{
    struct fixture *f = *state;
    write_package(f);
    struct buf file;
    read_part(f, "adapter_weights.bin", &file);
    for (size_t i = 0; i < 64; i += 3) {
        file.bytes[i] ^= 1;
        write_part(f, "adapter_weights.bin", file.bytes, file.n_bytes);
        expect_refused(f, "adapter_weights.bin");
        file.bytes[i] ^= 1;
    }
    for (size_t i = 64 + 64 + 256; i < 64 + 64 + 256 + 64; i += 3) {
        file.bytes[i] ^= 1;
        write_part(f, "adapter_weights.bin", file.bytes, file.n_bytes);
        expect_refused(f, "record 1 (");
        file.bytes[i] ^= 1;
    }
    bytes_put_u16(file.bytes + 128, 0x7c00); /* infinity */
    write_part(f, "adapter_weights.bin", file.bytes, file.n_bytes);
    expect_refused(f, "value [0][0] is not finite");
    buf_release(&file);
}

static void test_cut_off(void **state)
{
    struct fixture *f = *state;
    write_package(f);
    struct buf file;
    read_part(f, "adapter_weights.bin", &file);
    for (size_t n = 0; n < file.n_bytes; n += 61) {
        write_part(f, "adapter_weights.bin", file.bytes, n);
        expect_refused(f, "adapter_weights.bin");
    }
    buf_add(&file, "x", 1);
    write_part(f, "adapter_weights.bin", file.bytes, file.n_bytes);
    expect_refused(f, "1 bytes behind the last record");
    buf_release(&file);
}

static void test_other_base(void **state)
{
    struct fixture *f = *state;
    write_package(f);
    struct shape other = tiny;
    other.layers_1 = 2;
    struct adapter a;
    struct err e = {0};
    assert_int_equal(fmadapter_open(f->package, &other, &a, NULL, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "38 records, expected 48 for this base"));
}

/* The full model: 700 records and 133,312,320 bytes, by the list that the writer walks. */
static void test_full_size(void **state)
{
    (void)state;
    const struct shape full = {.vocab = 153600,
                               .hidden = 2048,
                               .layers_0 = 35,
                               .layers_1 = 21,
                               .heads = 16,
                               .kv_heads = 2,
                               .head_dim = 128,
                               .ffn = 6656,
                               .context = 4096,
                               .rope_theta = 500000,
                               .norm_eps = 1e-5,
                               .kv_quant = true};
    uint64_t bytes = 64, records = 0;
    for (int i = 0; i < shape_n_modules(&full); i++) {
        struct shape_module m;
        shape_module(&full, i, 32, &m);
        bytes += 2 * 64 + ((uint64_t)m.in + (uint64_t)m.out) * 32 * 2;
        records += 2;
    }
    assert_int_equal(records, 700);
    assert_int_equal(bytes, 133312320);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_metadata_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_header_and_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_transposed_and_permuted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_alpha_is_folded_into_b, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rounding_is_reported, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_values_that_do_not_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_and_signatures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_metadata_rules, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_draft_files_come_in_pairs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flipped_bits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_base, set_up, tear_down),
        cmocka_unit_test(test_full_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
