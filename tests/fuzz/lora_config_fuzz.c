/* stages/model/lora_config.h: adapter_config.json of PEFT and MLX, the same bytes as either. What
 * is taken is within its limits, is written again, and is then taken with the same rank and scale.
 */

#include "pipeline/base/check.h"
#include "stages/model/lora.h"
#include "stages/model/lora_config.h"
#include "tests/fuzz/fuzz.h"

static void check_written(enum lora_format format, const struct lora_config *c)
{
    struct lora_config again = {0};
    struct json *root = NULL;
    struct err e = {0};
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    lora_config_write(format, c, 3, &text);
    CHECK(json_parse(buf_text(&text), text.n_bytes, &root, &e) == 0);
    CHECK(lora_config_parse(format, root, &again, &e) == 0);
    CHECK(again.rank == c->rank && again.alpha / again.rank == c->alpha / c->rank);
    json_free(root);
    buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct json *root = NULL;
    struct err bad = {0};
    fuzz_taken = false;
    if (json_parse((const char *)data, n_bytes, &root, &bad) != 0)
        return 0;
    for (int format = LORA_PEFT; format <= LORA_MLX; format++) {
        struct lora_config c = {0};
        struct err e = {0};
        if (lora_config_parse((enum lora_format)format, root, &c, &e) != 0) {
            CHECK(e.text[0] != '\0' && c.rank == 0);
            continue;
        }
        fuzz_taken = true;
        CHECK(c.rank >= 1 && c.rank <= LORA_RANK_MAX && c.alpha > 0 && c.alpha <= 1e6);
        check_written((enum lora_format)format, &c);
    }
    json_free(root);
    return 0;
}
