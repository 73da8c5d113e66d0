#ifndef FMFORGE_INSPECT_FOREIGN_H
#define FMFORGE_INSPECT_FOREIGN_H

/*
 * What other programs have saved, looked at without packing it: a file of torch.save, an adapter's
 * folder of PEFT or MLX, a base's folder of MLX. Names, dimensions and types are read; values only
 * of adapters and drafts.
 */

#include "pipeline/base/json.h"
#include "stages/model/shape.h"

struct foreign {
    const char *format;   /* as the stages' inputs are called: "pt", "peft", "mlx" */
    const char *what;     /* "base", "draft", "adapter"; "tensors": nothing that is known here */
    int rank;             /* of the adapter that it is or that is in it; 0 = there is none */
    double alpha;         /* of an adapter; 0 = it does not say */
    bool is_checked;      /* against the shape of its kind */
    struct json *tensors; /* as facts_tensors; the caller owns it */
};

/* NULL when the path is something else, else its format. */
const char *foreign_format(const char *path);
/* format: what foreign_format said. base, draft: shapes that it should have, NULL when they are not
 * known; then it is not checked. Errors: what the importing stage would say. */
int foreign_look(const char *path, const struct shape *base, const struct shape *draft,
                 struct foreign *out, struct err *e) MUST_USE;

#endif
