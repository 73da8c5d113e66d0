#ifndef FMFORGE_MODEL_TORCH_CALL_H
#define FMFORGE_MODEL_TORCH_CALL_H

/*
 * What the names of torch_global.h make when a pickle calls them: values of pickle.h. Arguments are
 * checked as if PyTorch's functions had been called; nothing is called. Source of the arguments:
 * _rebuild_tensor_v2 and _rebuild_parameter in torch/_utils.py, persistent_id in
 * torch/serialization.py.
 */

#include <stdint.h>

#include "pipeline/base/err.h"
#include "stages/model/pickle.h"

/* REDUCE: g(*args), args a TUPLE. ERR_FORMAT, ERR_LIMIT. */
int torch_call(struct pickle *p, const struct torch_global *g, uint32_t args, uint32_t *out,
               struct err *e) MUST_USE;
/* BINPERSID: the storage that a TUPLE names. */
int torch_call_storage(struct pickle *p, uint32_t id, uint32_t *out, struct err *e) MUST_USE;

#endif
