#include "stages/model/problems.h"

#include <stdio.h>

void problems_init(struct problems *p)
{
    p->n = 0;
    buf_init(&p->text, BUF_MAX_DEFAULT);
}

void problems_add(struct problems *p, const char *name, const char *what)
{
    if (p->n++ < PROBLEMS_LISTED)
        buf_printf(&p->text, "%s%.200s %s", p->n > 1 ? "; " : "", name, what);
}

void problems_add_misfit(struct problems *p, const char *name, const struct tensor *found,
                         const char *expected)
{
    char dims[96], what[256];
    snprintf(what, sizeof what, "is %s %s, expected %s", tensor_dtype_name(found->dtype),
             tensor_format_dims(found, dims), expected);
    problems_add(p, name, what);
}

int problems_end(struct problems *p, const char *what, struct err *e)
{
    int rc = p->n == 0 ? 0
                       : err_set(e, ERR_FORMAT, "%d %s not fit %s: %s%s", p->n,
                                 p->n == 1 ? "tensor does" : "tensors do", what, buf_text(&p->text),
                                 p->n > PROBLEMS_LISTED ? "; ..." : "");
    buf_release(&p->text);
    return rc;
}
