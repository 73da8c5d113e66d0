/*
 * lookup: answers each golden row with the answer of the nearest training row. The baseline that an
 * adapter must beat to have learned anything.
 */

#include <stddef.h>
#include <string.h>

#include "pipeline/base/xalloc.h"
#include "stages/kit/stage.h"
#include "stages/text/answers.h"
#include "stages/text/textindex.h"

struct lookup_config {
    bool objects;
};

static const struct param PARAMS[] = {
    {"objects", PARAM_BOOL, offsetof(struct lookup_config, objects), "false", 0, 0, NULL, "",
     "Also take rows written as {\"messages\": [...]}."},
};

static const struct stage_port INS[] = {
    {"rows", "rows", true, "Training rows, JSONL."},
    {"golden", "golden", true, "The golden set to answer."},
    {"against", "answers", false, "Other answers to the same set, to put beside these."},
};

static const struct stage_port OUTS[] = {
    {"answers", "answers", true, "One line per golden row."},
    {"metrics", "metrics", true, "The set's metrics, and how alike the nearest rows are."},
    {"report", "report", true, "Metrics and answers for people."},
};

static const struct stage_spec SPEC = {
    .name = "lookup",
    .summary = "Answers a golden set with the answers of the nearest training rows.",
    .portable = true,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct lookup_config),
};

/* How near two texts must be to count as nearly the same in the metrics. */
#define NEAR_SIMILARITY 0.9

enum { EXTRA_MEAN, EXTRA_MAX, EXTRA_NEAR, N_EXTRAS };

static void answer_all(const struct chat_list *rows, const struct goldenset *g, char **answers,
                       struct answers_extra *extras)
{
    struct textindex index = {0};
    for (size_t i = 0; i < rows->n_rows; i++) {
        const char *text = chat_last_user(&rows->rows[i]);
        textindex_add(&index, text, strlen(text));
    }
    textindex_finish(&index);
    for (size_t i = 0; i < g->rows.n_rows; i++) {
        const char *text = chat_last_user(&g->rows.rows[i]);
        struct textindex_match match = textindex_nearest(&index, text, strlen(text));
        answers[i] = xstrdup(chat_answer(&rows->rows[match.text]));
        extras[EXTRA_MEAN].value += match.value / (double)g->rows.n_rows;
        extras[EXTRA_NEAR].value += match.value >= NEAR_SIMILARITY;
        if (match.value > extras[EXTRA_MAX].value)
            extras[EXTRA_MAX].value = match.value;
    }
    textindex_release(&index);
}

static int run(const struct stage_run *r, struct err *e)
{
    const struct lookup_config *config = r->config;
    struct chat_list rows = {0};
    struct goldenset golden = {0};
    char **answers = NULL;
    struct answers_extra extras[N_EXTRAS] = {
        {"similarity_mean", 0}, {"similarity_max", 0}, {"similar_rows", 0}};
    int status = chat_list_read(&rows, stage_in(r, "rows"), config->objects, e);
    if (status == 0)
        status = goldenset_open(&golden, stage_in(r, "golden"), e);
    if (status == 0) {
        answers = xalloc_array(golden.rows.n_rows, sizeof *answers);
        answer_all(&rows, &golden, answers, extras);
        struct answers_job job = {
            .golden = &golden,
            .answers = answers,
            .against_path = stage_in(r, "against"),
            .extras = extras,
            .n_extras = N_EXTRAS,
            .answers_path = stage_out(r, "answers"),
            .metrics_path = stage_out(r, "metrics"),
            .report_path = stage_out(r, "report"),
        };
        status = answers_write(&job, e);
    }
    answers_free(answers, golden.rows.n_rows);
    goldenset_close(&golden);
    chat_list_release(&rows);
    return status;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
