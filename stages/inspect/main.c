/*
 * inspect (a tool): says what a thing is: a toolkit's folder, a .fmadapter package, a tensor file
 * (base, draft, adapter or any other, of other programs too) or a shape. Counts, tensors, to which
 * base it belongs, the rules it keeps, and the memory that training and answering with it would
 * take, counted by the functions that the stages reserve by.
 */

#include <stddef.h>
#include <stdio.h>

#include "pipeline/base/buf.h"
#include "stages/inspect/sheet.h"
#include "stages/inspect/subject.h"
#include "stages/kit/stage.h"
#include "stages/model/lora.h"

#define AT(member) offsetof(struct inspect_config, member)

static const struct param PARAMS[] = {
    {"json", PARAM_BOOL, AT(json), "false", 0, 0, NULL, "", "Print JSON."},
    {"rank", PARAM_INT, AT(rank), "0", 0, LORA_RANK_MAX, NULL, "",
     "Rank of the adapter that is counted and planned; 0: its own, the toolkit's, or 32."},
    {"row_tokens", PARAM_INT, AT(row_tokens), "0", 0, 1048576, NULL, "tokens",
     "Longest row of the training that is planned; 0: no longer than a micro-batch."},
    {"rows", PARAM_INT, AT(rows), "10000", 1, 4294967295.0, NULL, "rows",
     "Rows of the training that is planned."},
    {"micro_batch_tokens", PARAM_INT, AT(micro_batch_tokens), "2048", 1, 1048576, NULL, "tokens",
     "Tokens at a time in the training that is planned: see train."},
    {"activation_checkpointing", PARAM_BOOL, AT(activation_checkpointing), "false", 0, 0, NULL, "",
     "Plan the training with it: see train."},
    {"precision", PARAM_CHOICE, AT(precision), COMPUTE_PRECISION_DEFAULT, 0, 0,
     compute_precision_names, "", "Plan the training with it: see train."},
    {"sequences", PARAM_INT, AT(sequences), "1", 1, 256, NULL, "",
     "Answers at the same time, when answering is planned."},
    {"positions", PARAM_INT, AT(positions), "0", 0, 1048576, NULL, "tokens",
     "Prompt and answer, when answering is planned; 0: the context."},
};

static const struct stage_port INS[] = {
    {"path", "path", true,
     "A toolkit's folder, a .fmadapter folder, a safetensors or .pt file, a folder of PEFT or MLX, "
     "or a shape (JSON)."},
    {"toolkit", "facets", false, "What the toolkit has that the thing is or belongs to."},
};

static const struct stage_spec SPEC = {
    .name = "inspect",
    .summary = "Says what a toolkit, a package, a tensor file or a shape is and what memory it "
               "takes.",
    .is_tool = true,
    .subject = "path",
    .portable = true,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct inspect_config),
};

static int run(const struct stage_run *r, struct err *e)
{
    const struct inspect_config *config = r->config;
    struct json *facts = NULL;
    struct buf text;
    int rc = subject_facts(r, &facts, e);
    buf_init(&text, BUF_MAX_DEFAULT);
    if (rc == 0 && config->json)
        json_write_pretty(facts, 2, &text);
    else if (rc == 0)
        sheet_write(facts, &text);
    if (rc == 0 &&
        (fwrite(text.bytes, 1, text.n_bytes, stdout) != text.n_bytes || fflush(stdout) != 0))
        rc = err_set(e, ERR_IO, "stdout: cannot write");
    buf_release(&text);
    json_free(facts);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
