#include "stages/text/prompt_format.h"

#include "pipeline/base/xalloc.h"

int prompt_format_open(struct prompt_format *f, const char *tokenizer_path,
                       const char *template_path, struct err *e)
{
    int rc = template_read(&f->template, template_path, e);
    if (rc == 0)
        rc = spm_open(tokenizer_path, &f->spm, e);
    if (rc == 0)
        rc = render_init(&f->render, f->spm, &f->template, e);
    f->stop_ids[0] = SPM_EOS;
    f->stop_ids[1] = f->render.ids[TEMPLATE_TURN_END];
    return rc;
}

int prompt_format_golden(const struct prompt_format *f, const struct goldenset *g,
                         bool default_system, int context, struct sample **prompts, struct err *e)
{
    *prompts = xalloc_array(g->rows.n_rows, sizeof **prompts);
    for (size_t i = 0; i < g->rows.n_rows; i++) {
        const struct chat *c = &g->rows.rows[i];
        struct sample *s = &(*prompts)[i];
        int rc = render_prompt(&f->render, c->messages, c->n_messages - 1, default_system, s, e);
        if (rc != 0)
            return err_wrap(e, "golden row %zu", i + 1);
        if (s->n_ids >= (size_t)context)
            return err_set(e, ERR_LIMIT,
                           "golden row %zu: the prompt has %zu tokens, the model's context is %d",
                           i + 1, s->n_ids, context);
    }
    return 0;
}

void prompt_format_close(struct prompt_format *f)
{
    spm_close(f->spm);
    f->spm = NULL;
    template_release(&f->template);
}
