/*
 * prep: rows of conversations to checked, rendered, split, packed tokens.
 */

#include <stddef.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"
#include "stages/kit/stage.h"
#include "stages/prep/prep.h"
#include "stages/prep/summary.h"
#include "stages/text/finding.h"
#include "stages/text/goldenset.h"
#include "stages/text/labels.h"
#include "stages/text/leak.h"
#include "stages/text/rules.h"
#include "stages/text/split.h"

static const char *const LONG_CHOICES[] = {"refuse", "cut", NULL};
static const char *const LEAK_CHOICES[] = {"refuse", "drop", NULL};
static const char *const SYSTEM_CHOICES[] = {"keep", "default", NULL};

static const struct param PARAMS[] = {
    {"valid_fraction", PARAM_FLOAT, offsetof(struct prep_config, valid_fraction), "0.1", 0, 0.9,
     NULL, "",
     "Share of the rows held out for validation, when there is no file of validation rows."},
    {"max_length", PARAM_INT, offsetof(struct prep_config, max_length), "4095", 8, 1048576, NULL,
     "tokens", "No sample may be longer; set it to what the model can hold."},
    {"pack", PARAM_BOOL, offsetof(struct prep_config, pack), "true", 0, 0, NULL, "",
     "Put several samples into one row, in order, so that one row is one unit of a batch."},
    {"pack_length", PARAM_INT, offsetof(struct prep_config, pack_length), "512", 8, 1048576, NULL,
     "tokens", "A packed row takes samples up to this length."},
    {"long_rows", PARAM_CHOICE, offsetof(struct prep_config, long_rows), "refuse", 0, 0,
     LONG_CHOICES, "", "What to do with rows above max_length."},
    {"leaks", PARAM_CHOICE, offsetof(struct prep_config, leaks), "refuse", 0, 0, LEAK_CHOICES, "",
     "Training rows with a turn of the golden set, its whole prompt or its question and answer: an "
     "error, or left out and said. Near repeats are kept and said."},
    {"system", PARAM_CHOICE, offsetof(struct prep_config, system), "keep", 0, 0, SYSTEM_CHOICES, "",
     "Rows without a system message stay so, or get the template's default one."},
    {"objects", PARAM_BOOL, offsetof(struct prep_config, objects), "false", 0, 0, NULL, "",
     "Also take rows written as {\"messages\": [...]}, with \"tools\" beside it or without."},
    {"seed", PARAM_INT, offsetof(struct prep_config, seed), "1", 0, 9007199254740991, NULL, "",
     "Seed of the split."},
};

static const struct stage_port INS[] = {
    {"raw", "rows", true, "Training rows, JSONL (or .jsonl.zst)."},
    {"valid", "rows", false, "Validation rows; without them a share of raw is held out."},
    {"golden", "golden", false, "A golden set that must not occur in the training rows."},
    {"tokenizer", "tokenizer", true, "The SentencePiece model."},
    {"template", "template", true, "The prompt format."},
};

static const struct stage_port OUTS[] = {
    {"train", "tokens", true, "Training tokens."},
    {"valid", "tokens", true, "Validation tokens; may hold no row."},
    {"report", "report", true, "Counts, lengths, findings, three samples with their labels."},
};

static const char *const LIBRARIES[] = {"libsentencepiece.so.0", NULL};

static const struct stage_without WITHOUT[] = {
    {"golden", "rows that are measured are not looked for among the training rows"},
    {NULL, NULL},
};

static const struct stage_spec SPEC = {
    .name = "prep",
    .summary = "Checks, renders, tokenises, splits and packs rows of conversations.",
    .portable = true,
    .without = WITHOUT,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct prep_config),
    .libraries = LIBRARIES,
};

/* Everything that lives as long as the run. */
struct prep {
    const struct prep_config *config;
    struct template template;
    struct spm *spm;
    struct render render;
    struct chat_list raw;
    struct chat_list valid;  /* no rows when there is no such input */
    struct goldenset golden; /* as well */
    uint64_t n_dropped;      /* rows of raw that are golden */
    bool *held_out;          /* by raw row */
    struct prep_sink train_sink, valid_sink;
    struct json *report;
    struct json *findings; /* rows of the table in the report; NULL: it has them */
};

static int open_inputs(struct prep *p, const struct stage_run *r, struct err *e)
{
    int status = template_read(&p->template, stage_in(r, "template"), e);
    if (status == 0)
        status = spm_open(stage_in(r, "tokenizer"), &p->spm, e);
    if (status == 0)
        status = render_init(&p->render, p->spm, &p->template, e);
    if (status == 0)
        status = chat_list_read(&p->raw, stage_in(r, "raw"), p->config->objects, e);
    if (status == 0 && stage_in(r, "valid"))
        status = chat_list_read(&p->valid, stage_in(r, "valid"), p->config->objects, e);
    if (status == 0 && stage_in(r, "golden"))
        status = goldenset_open(&p->golden, stage_in(r, "golden"), e);
    return status;
}

/* The training rows as a list of their own, borrowed from raw: what held-out rows are compared
 * with. Caller xfrees rows. */
static struct chat_list training_rows(const struct prep *p, bool held_out)
{
    struct chat_list list = {.rows = xalloc_array(p->raw.n_rows, sizeof *list.rows)};
    for (size_t i = 0; i < p->raw.n_rows; i++)
        if (p->held_out[i] == held_out)
            list.rows[list.n_rows++] = p->raw.rows[i];
    return list;
}

static int check_golden(struct prep *p, struct err *e)
{
    const struct chat_list *golden = &p->golden.rows;
    const struct leak trained = {&p->raw, "training", "raw", golden, "golden", "golden", true};
    const struct leak chosen_by = {&p->valid, "validation", "valid", golden,
                                   "golden",  "golden",     false};
    int status = rules_check(golden, "golden", &p->template, p->findings, e);
    if (status == 0 && p->config->leaks == PREP_LEAKS_DROP)
        p->n_dropped = leak_drop(&trained, &p->raw, p->findings);
    if (status == 0 && p->raw.n_rows == 0)
        status =
            err_set(e, ERR_FORMAT, "raw: every training row (%llu) has a prompt of the golden set",
                    (unsigned long long)p->n_dropped);
    if (status == 0)
        status = leak_check(&trained, p->findings, e);
    if (status == 0 && p->valid.n_rows > 0)
        status = leak_check(&chosen_by, p->findings, e);
    return status;
}

static void find_no_valid(struct prep *p)
{
    struct buf where;
    buf_init(&where, BUF_MAX_DEFAULT);
    buf_add_text(&where, "valid_fraction ");
    json_add_number(&where, p->config->valid_fraction);
    buf_printf(&where, " of %zu rows", p->raw.n_rows);
    finding_put(p->findings, "valid", "no row was held out: nothing will show overfitting", 0,
                buf_text(&where));
    buf_release(&where);
}

static int check_split(struct prep *p, const struct chat_list *train, const struct chat_list *valid,
                       struct err *e)
{
    const char *held_in = valid == &p->valid ? "valid" : "raw";
    const struct leak leak = {train, "training", "raw", valid, "valid", held_in, false};
    const struct goldenset *set = p->golden.rows.n_rows > 0 ? &p->golden : NULL;
    if (train->n_rows == 0)
        return err_set(e, ERR_FORMAT,
                       "raw: no training row is left: all %zu were held out; lower valid_fraction "
                       "or add rows",
                       p->raw.n_rows);
    if (set && p->config->system == PREP_SYSTEM_KEEP)
        rules_check_systems(train, &set->rows, "golden", p->findings);
    if (set)
        labels_check(train, &set->rows, set, "golden", p->findings);
    if (valid->n_rows == 0) {
        find_no_valid(p);
        return 0;
    }
    labels_check(train, valid, set, "valid", p->findings);
    return leak_check(&leak, p->findings, e);
}

static int check_rows(struct prep *p, struct err *e)
{
    int status = 0;
    if (p->valid.n_rows > 0)
        status = rules_check(&p->valid, "valid", &p->template, p->findings, e);
    if (status < 0)
        return status;
    struct chat_list train = training_rows(p, false);
    struct chat_list held = training_rows(p, true);
    status = check_split(p, &train, p->valid.n_rows > 0 ? &p->valid : &held, e);
    xfree(train.rows);
    xfree(held.rows);
    return status;
}

static void split(struct prep *p)
{
    p->held_out = xalloc_array(p->raw.n_rows, sizeof *p->held_out);
    if (p->valid.n_rows > 0)
        return;
    for (size_t i = 0; i < p->raw.n_rows; i++)
        p->held_out[i] =
            split_is_held_out(&p->raw.rows[i], p->config->valid_fraction, p->config->seed);
}

static int write_tokens(struct prep *p, const struct stage_run *r, struct err *e)
{
    const struct prep_config *config = p->config;
    int status = prep_add_rows(&p->train_sink, &p->raw, p->held_out, false, &p->render, config, e);
    if (status < 0)
        return err_wrap(e, "raw");
    if (p->valid.n_rows > 0)
        status = prep_add_rows(&p->valid_sink, &p->valid, NULL, false, &p->render, config, e);
    else
        status = prep_add_rows(&p->valid_sink, &p->raw, p->held_out, true, &p->render, config, e);
    if (status < 0)
        return err_wrap(e, "valid");
    static const char changed[] = "answer that the tokenizer changes: it cannot be learned exactly";
    finding_close(&p->train_sink.changed, "raw", changed, p->findings);
    finding_close(&p->valid_sink.changed, "valid", changed, p->findings);
    if (p->train_sink.counts.samples == 0)
        return err_set(e, ERR_FORMAT,
                       "raw: no training row is left after cutting to max_length %lld",
                       (long long)config->max_length);
    if (p->valid_sink.counts.rows > 0 && p->valid_sink.counts.samples == 0)
        finding_put(p->findings, "valid", "no row is left after the cut to max_length",
                    p->valid_sink.counts.rows, "all of them");
    status = tokfile_writer_save(&p->train_sink.writer, stage_out(r, "train"), e);
    if (status == 0)
        status = tokfile_writer_save(&p->valid_sink.writer, stage_out(r, "valid"), e);
    return status;
}

static int write_report(struct prep *p, const struct stage_run *r, struct err *e)
{
    size_t n_findings = json_count(p->findings);
    finding_add_table(p->report, p->findings);
    p->findings = NULL;
    summary_add_counts(p->report, &p->train_sink, &p->valid_sink, p->n_dropped,
                       p->raw.blank_lines + p->valid.blank_lines);
    summary_add_lengths(p->report, &p->train_sink.counts, &p->valid_sink.counts);
    int status = summary_add_samples(p->report, &p->raw, p->held_out, &p->render, p->config, e);
    if (status == 0)
        status = blocks_save(p->report, stage_out(r, "report"), e);
    stage_say(r, "%llu training and %llu validation samples, %llu and %llu tokens, %zu finding%s",
              (unsigned long long)p->train_sink.counts.samples,
              (unsigned long long)p->valid_sink.counts.samples,
              (unsigned long long)p->train_sink.writer.counts.tokens,
              (unsigned long long)p->valid_sink.writer.counts.tokens, n_findings,
              n_findings == 1 ? "" : "s");
    return status;
}

static void release(struct prep *p)
{
    tokfile_writer_release(&p->train_sink.writer);
    tokfile_writer_release(&p->valid_sink.writer);
    finding_release(&p->train_sink.changed);
    finding_release(&p->valid_sink.changed);
    chat_list_release(&p->raw);
    chat_list_release(&p->valid);
    goldenset_close(&p->golden);
    xfree(p->held_out);
    json_free(p->report);
    json_free(p->findings);
    spm_close(p->spm);
    template_release(&p->template);
}

static int run(const struct stage_run *r, struct err *e)
{
    struct prep p = {.config = r->config};
    tokfile_writer_init(&p.train_sink.writer, SPM_EOS);
    tokfile_writer_init(&p.valid_sink.writer, SPM_EOS);
    p.report = blocks_new();
    p.findings = json_new_array();
    int status = open_inputs(&p, r, e);
    if (status == 0)
        status = rules_check(&p.raw, "raw", &p.template, p.findings, e);
    if (status == 0 && stage_in(r, "golden"))
        status = check_golden(&p, e);
    if (status == 0) {
        split(&p);
        status = check_rows(&p, e);
    }
    if (status == 0)
        status = write_tokens(&p, r, e);
    if (status == 0)
        status = write_report(&p, r, e);
    release(&p);
    return status;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
