#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "stages/text/tokenizer_check.h"
#include "tests/unit/scratch.h"
#include "tests/unit/tiny_spm.h"

static char folder[SCRATCH_BYTES];
static char model[64], config[64];
static int n_pieces;

static int make_folder(void **state)
{
    struct err e = {0};
    struct buf bytes;
    struct spm *spm = tiny_spm_open();
    (void)state;
    if (scratch_open(folder) != 0)
        return -1;
    snprintf(model, sizeof model, "%s/tokenizer.model", folder);
    snprintf(config, sizeof config, "%s/tokenizer-config.json", folder);
    n_pieces = spm_size(spm);
    spm_close(spm);
    tiny_spm_model(&bytes);
    int rc = file_write(model, bytes.bytes, bytes.n_bytes, &e);
    buf_release(&bytes);
    return rc;
}

static int remove_folder(void **state)
{
    (void)state;
    return scratch_remove(folder);
}

static void ids_are_those_of_the_vocabulary(void **state)
{
    static const struct {
        const char *text;
        int n_ids;
        const char *message; /* NULL: taken */
    } cases[] = {
        {"{}", 0, NULL},
        {"[]", 0, NULL},
        {"{\"pad_id\": 0, \"eos_id\": 99, \"bos_id\": -1, \"x_id\": null, \"name\": 500}", 2, NULL},
        {"{\"vocab_size\": 100, \"a\": {\"extra_ids\": {\"<n>\": 4, \"more\": [5, [6]]}}}", 3,
         NULL},
        {"{\"model_id\": \"afm\", \"ids\": [\"x\", true]}", 0, NULL},
        {"{\"grid\": 500, \"idle\": 500, \"id_x\": 500}", 0, NULL},
        {"{\"id\": 100}", 0, "id: found 100, expected an id of the vocabulary, 0 to 99"},
        {"{\"a\": [0, {\"turn_end_id\": -2}]}", 0,
         "a: item 2: turn_end_id: found -2, expected an id"},
        {"{\"ids\": [1, 1.5]}", 0, "ids: item 2: found 1.5, expected an id"},
        {"{\"ids\": {\"<n>\": 1e300}}", 0, "ids: <n>: found 1e+300, expected an id"},
        {"{\"vocab_size\": 101}", 0,
         "vocab_size: found 101, expected the size of the vocabulary, 100"},
        {"{\"vocab_size\": 1e300}", 0, "vocab_size: found 1e+300, expected"},
        {"{\"t\": {\"vocab_size\": \"100\"}}", 0, "t: vocab_size: found a text, expected the size"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err e = {0};
        struct json *v = NULL;
        int64_t n_ids = -1;
        assert_int_equal(json_parse(cases[i].text, strlen(cases[i].text), &v, &e), 0);
        int rc = tokenizer_check_ids(v, 100, &n_ids, &e);
        json_free(v);
        if (!cases[i].message && rc != 0)
            fail_msg("%s: %s", cases[i].text, e.text);
        if (cases[i].message && (rc != ERR_CONFIG || !strstr(e.text, cases[i].message)))
            fail_msg("%s: expected \"%s\" in \"%s\"", cases[i].text, cases[i].message, e.text);
        if (!cases[i].message)
            assert_int_equal(n_ids, cases[i].n_ids);
    }
}

static void fails(const char *config_path, int vocab, enum err_code code, const char *message)
{
    struct tokenizer_facts facts;
    struct err e = {0};
    assert_int_equal(tokenizer_check(model, config_path, vocab, &facts, &e), code);
    if (!strstr(e.text, message))
        fail_msg("expected \"%s\" in \"%s\"", message, e.text);
}

static void a_tokenizer_of_another_size(void **state)
{
    struct tokenizer_facts facts;
    struct err e = {0};
    (void)state;
    assert_int_equal(tokenizer_check(model, NULL, n_pieces, &facts, &e), 0);
    assert_int_equal(facts.n_pieces, n_pieces);
    assert_int_equal(facts.n_ids, 0);
    fails(NULL, n_pieces + 1, ERR_CONFIG, "tokenizer.model: a tokenizer of another size than the");
    fails(NULL, n_pieces - 1, ERR_CONFIG, "another size than the vocabulary");
    fails(config, n_pieces, ERR_MISSING, "tokenizer-config.json");
    assert_int_equal(file_write(config, "{\"pad_id\": 0}", 13, &e), 0);
    assert_int_equal(tokenizer_check(model, config, n_pieces, &facts, &e), 0);
    assert_int_equal(facts.n_ids, 1);
    assert_int_equal(file_write(config, "{\"pad_id\": 0", 12, &e), 0);
    fails(config, n_pieces, ERR_FORMAT, "tokenizer-config.json");
    assert_int_equal(file_write(config, "{\"pad_id\": 1000000}", 19, &e), 0);
    fails(config, n_pieces, ERR_CONFIG, "tokenizer-config.json: pad_id: found 1000000, expected");
    assert_int_equal(file_write(model, "x", 1, &e), 0);
    fails(NULL, n_pieces, ERR_FORMAT, "tokenizer.model");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_those_of_the_vocabulary),
        cmocka_unit_test(a_tokenizer_of_another_size),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
