/*
 * import_tokenizer: takes a tokenizer as it is, after checking that it belongs to a vocabulary: its
 * size, and the extra ids that a training toolkit keeps beside it.
 */

#include <stddef.h>

#include "pipeline/base/file.h"
#include "stages/kit/blocks.h"
#include "stages/model/shape.h"
#include "stages/text/tokenizer_check.h"

static const struct stage_port INS[] = {
    {"model", "tokenizer", true, "The SentencePiece model."},
    {"config", "tokenizer_config", false, "JSON with extra ids, as tokenizer-config.json."},
    {"shape", "shape", true, "Dimensions of the model whose vocabulary it must be."},
};

static const struct stage_port OUTS[] = {
    {"tokenizer", "tokenizer", true, "The same bytes."},
    {"metrics", "metrics", true, "Pieces, and ids of the config that were checked."},
    {"report", "report", true, "The same."},
};

static const char *const LIBRARIES[] = {"libsentencepiece.so.0", NULL};

static const struct stage_spec SPEC = {
    .name = "import_tokenizer",
    .summary = "Takes a tokenizer that has the size and the ids of a vocabulary.",
    .portable = true,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .libraries = LIBRARIES,
};

static int run(const struct stage_run *r, struct err *e)
{
    struct shape shape;
    struct tokenizer_facts facts;
    int rc = shape_read(stage_in(r, "shape"), &shape, e);
    if (rc == 0)
        rc = tokenizer_check(stage_in(r, "model"), stage_in(r, "config"), shape.vocab, &facts, e);
    if (rc == 0 && stage_out(r, "tokenizer"))
        rc = file_copy_tree(stage_in(r, "model"), stage_out(r, "tokenizer"), e);
    if (rc != 0)
        return rc;
    struct json *metrics = json_new_object(), *report = blocks_new();
    json_put_i64(metrics, "pieces", facts.n_pieces);
    json_put_i64(metrics, "ids_checked", facts.n_ids);
    blocks_add_numbers(report, "Tokenizer", metrics);
    return blocks_publish(r, "metrics", metrics, report, 0, e);
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
