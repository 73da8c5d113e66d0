#include "tests/unit/tiny_spm.h"

#include <string.h>

#include "pipeline/base/check.h"

static const char *const LINES[] = {
    "The quick brown fox jumps over the lazy dog, and then the dog looks at the fox again.",
    "A user asks for help with an order; the assistant answers in a friendly way.",
    "The system routes the ticket to the team for billing, shipping or returns.",
    "She said that there were twelve apples and 34 pears in the old basket.",
    "Answer with the name of the team and a short subject for the ticket.",
    "My parcel has not come yet, where is it? It was sent on Monday the 12th.",
};

struct walk {
    size_t next;
};

static bool next_line(void *context, const char **line, size_t *n_bytes)
{
    struct walk *w = context;
    if (w->next == 4 * sizeof LINES / sizeof LINES[0])
        return false;
    *line = LINES[w->next++ % (sizeof LINES / sizeof LINES[0])];
    *n_bytes = strlen(*line);
    return true;
}

static void train(struct buf *model, const char *normalisation)
{
    struct err e = {0};
    struct walk walk = {0};
    struct spm_training t = {
        .vocab = 400,
        .character_coverage = 1,
        .split_digits = true,
        .normalisation = normalisation,
        .symbols = TEMPLATE_PIECES,
        .n_symbols = TEMPLATE_N_PIECES,
        .line_bytes_max = 90,
        .next = next_line,
        .context = &walk,
    };
    buf_init(model, BUF_MAX_DEFAULT);
    int status = spm_train(&t, model, &e);
    CHECK(status == 0);
}

void tiny_spm_model(struct buf *model)
{
    train(model, NULL);
}

static struct spm *open_trained(const char *normalisation)
{
    struct err e = {0};
    struct buf model;
    struct spm *s = NULL;
    train(&model, normalisation);
    int status = spm_open_bytes(model.bytes, model.n_bytes, &s, &e);
    CHECK(status == 0);
    buf_release(&model);
    return s;
}

struct spm *tiny_spm_open(void)
{
    return open_trained(NULL);
}

struct spm *tiny_spm_open_nfkc(void)
{
    return open_trained("nmt_nfkc");
}

void tiny_template(struct template *t)
{
    static const char text[] = "{\"turn_start\":\"<turn_start>\",\"turn_end\":\"<turn_end>\","
                               "\"newline\":\"<n>\",\"default_system\":\"Be kind.\"}";
    struct err e = {0};
    int status = template_parse(t, text, sizeof text - 1, &e);
    CHECK(status == 0);
}
