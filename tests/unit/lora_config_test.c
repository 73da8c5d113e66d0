/* adapter_config.json of PEFT and MLX: what is taken, what is refused and why, and that what is
 * written is read again to the last bit. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "stages/model/lora_config.h"

static int parse(enum lora_format format, const char *text, struct lora_config *out, struct err *e)
{
    struct json *root = NULL;
    int rc = json_parse(text, strlen(text), &root, e);
    if (rc == 0)
        rc = lora_config_parse(format, root, out, e);
    json_free(root);
    return rc;
}

static void assert_taken(enum lora_format format, const char *text, int rank, double alpha)
{
    struct lora_config c = {0};
    struct err e = {0};
    if (parse(format, text, &c, &e) != 0)
        fail_msg("%s: %s", text, e.text);
    assert_int_equal(c.rank, rank);
    assert_true(c.alpha == alpha);
}

static void assert_refused(enum lora_format format, const char *text, const char *reason)
{
    struct lora_config c = {77, 77};
    struct err e = {0};
    if (parse(format, text, &c, &e) == 0)
        fail_msg("taken: %s", text);
    if (!strstr(e.text, reason))
        fail_msg("%s: \"%s\" is not in \"%s\"", text, reason, e.text);
    assert_true(c.rank == 77 && c.alpha == 77);
}

#define PEFT(more) "{\"peft_type\":\"LORA\",\"r\":8,\"lora_alpha\":16" more "}"

static void peft_is_taken_where_it_is_plain(void **state)
{
    (void)state;
    assert_taken(LORA_PEFT, PEFT(""), 8, 16);
    assert_taken(LORA_PEFT, PEFT(",\"use_rslora\":false"), 8, 16);
    assert_taken(LORA_PEFT, PEFT(",\"use_rslora\":true"), 8, 16 / sqrt(8.0) * 8);
    assert_taken(LORA_PEFT, PEFT(",\"bias\":\"none\",\"use_dora\":false"), 8, 16);
    assert_taken(LORA_PEFT, PEFT(",\"rank_pattern\":{},\"alpha_pattern\":null"), 8, 16);
    assert_taken(LORA_PEFT, PEFT(",\"rank_pattern\":{\"q\":8},\"alpha_pattern\":{\"q\":16}"), 8,
                 16);
    assert_taken(LORA_PEFT, PEFT(",\"init_lora_weights\":\"gaussian\""), 8, 16);
    assert_taken(LORA_PEFT, PEFT(",\"target_modules\":[\"q_proj\"],\"lora_dropout\":0.1"), 8, 16);
    assert_taken(LORA_PEFT, PEFT(",\"a_key_of_2030\":null,\"another\":[]"), 8, 16);
}

static void peft_is_refused_where_it_is_more(void **state)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {PEFT(",\"use_dora\":true"), "use_dora: DoRA scales"},
        {PEFT(",\"bias\":\"lora_only\""), "bias is not \"none\""},
        {PEFT(",\"bias\":[]"), "bias is not \"none\""},
        {PEFT(",\"lora_bias\":true"), "lora_bias: it adds a bias"},
        {PEFT(",\"modules_to_save\":[\"lm_head\"]"), "modules_to_save: whole modules"},
        {PEFT(",\"rank_pattern\":{\"k\":8,\"q\":4}"), "rank_pattern: \"q\" differs from 8"},
        {PEFT(",\"rank_pattern\":7"), "rank_pattern: found a number, expected an object"},
        {PEFT(",\"alpha_pattern\":{\"q\":\"16\"}"), "alpha_pattern: \"q\" differs from 16"},
        {PEFT(",\"layer_replication\":[[0,2]]"), "layer_replication: it runs layers twice"},
        {PEFT(",\"init_lora_weights\":\"pissa_niter_4\""),
         "init_lora_weights is \"pissa_niter_4\""},
        {PEFT(",\"use_rslora\":1"), "use_rslora: expected true or false"},
        {PEFT(",\"a_key_of_2030\":1"), "a_key_of_2030: this key is not known"},
        {"{\"peft_type\":\"LORA\",\"lora_alpha\":16}", "\"r\""},
        {"{\"peft_type\":\"LORA\",\"r\":8}", "\"lora_alpha\""},
        {"{\"peft_type\":\"LORA\",\"r\":8.5,\"lora_alpha\":16}", "r"},
        {"{\"peft_type\":\"LORA\",\"r\":0,\"lora_alpha\":16}", "rank is 0"},
        {"{\"peft_type\":\"LORA\",\"r\":1025,\"lora_alpha\":16}", "LORA_RANK_MAX is 1024"},
        {"{\"peft_type\":\"LORA\",\"r\":8,\"lora_alpha\":0}", "the scale is 0"},
        {"{\"peft_type\":\"LORA\",\"r\":8,\"lora_alpha\":-1}", "the scale is -0.125"},
        {"{\"peft_type\":\"LORA\",\"r\":8,\"lora_alpha\":1e9}", "alpha 1e+09"},
        {"{\"peft_type\":\"LOHA\",\"r\":8,\"lora_alpha\":1}", "peft_type is \"LOHA\""},
        {"[1]", "found an array, expected an object"},
    };
    (void)state;
    assert_taken(LORA_PEFT, "{\"peft_type\":\"LORA\",\"r\":1024,\"lora_alpha\":1000000}", 1024,
                 1e6);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(LORA_PEFT, cases[i].text, cases[i].reason);
}

#define MLX(parameters) "{\"num_layers\":4,\"lora_parameters\":{" parameters "}}"

static void mlx_is_a_rank_and_a_scale(void **state)
{
    (void)state;
    assert_taken(LORA_MLX, MLX("\"rank\":32,\"scale\":0.5,\"dropout\":0.0"), 32, 16);
    assert_taken(LORA_MLX, MLX("\"rank\":8,\"scale\":20.0,\"alpha\":16"), 8, 160);
    assert_taken(LORA_MLX,
                 "{\"fine_tune_type\":\"lora\",\"batch_size\":4,\"lora_parameters\":"
                 "{\"rank\":6,\"scale\":1.2833333333333334}}",
                 6, 7.7);
    assert_refused(LORA_MLX, MLX("\"rank\":8"), "lora_parameters: scale is missing");
    assert_refused(LORA_MLX, MLX("\"scale\":8"), "lora_parameters");
    assert_refused(LORA_MLX, MLX("\"rank\":8,\"scale\":-1"), "the scale is -1");
    assert_refused(LORA_MLX, MLX("\"rank\":8,\"scale\":1e9"), "expected above 0 and an alpha to");
    assert_refused(LORA_MLX, "{\"num_layers\":4}", "\"lora_parameters\"");
    assert_refused(LORA_MLX, "{\"fine_tune_type\":\"full\"}", "fine_tune_type is full");
    assert_refused(LORA_MLX, "{\"fine_tune_type\":3}", "fine_tune_type is no text");
}

static void what_is_written_is_read_again(void **state)
{
    static const double alphas[] = {16, 7.7, 1.0 / 3, 0.1, 1e6, 1e-3};
    (void)state;
    for (int format = LORA_PEFT; format <= LORA_MLX; format++)
        for (int rank = 1; rank <= LORA_MLX * 50; rank++)
            for (size_t i = 0; i < sizeof alphas / sizeof alphas[0]; i++) {
                const struct lora_config c = {rank, alphas[i]};
                struct lora_config found = {0};
                struct err e = {0};
                struct buf text;
                buf_init(&text, 4096);
                lora_config_write((enum lora_format)format, &c, 4, &text);
                if (parse((enum lora_format)format, buf_text(&text), &found, &e) != 0)
                    fail_msg("%s", e.text);
                buf_release(&text);
                assert_int_equal(found.rank, rank);
                assert_true(found.alpha / rank == c.alpha / rank);
                assert_true(found.alpha == c.alpha || (format == LORA_MLX && i == 2));
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peft_is_taken_where_it_is_plain),
        cmocka_unit_test(peft_is_refused_where_it_is_more),
        cmocka_unit_test(mlx_is_a_rank_and_a_scale),
        cmocka_unit_test(what_is_written_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
