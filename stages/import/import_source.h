#ifndef FMFORGE_IMPORT_IMPORT_SOURCE_H
#define FMFORGE_IMPORT_IMPORT_SOURCE_H

/*
 * Where a base comes from, and how it is named there: a file of torch.save with the toolkit's
 * names, or safetensors of MLX (stages/model/mlx_model.h). A folder of MLX may have its adapter in
 * files beside the base, as a converter of the toolkit's checkpoint writes it.
 */

#include "stages/import/import_run.h"

/* Opens the one input that is given, and compares a config.json with the shape. ERR_CONFIG when
 * none or both are given. */
int import_source_open(struct import_run *p, struct err *e) MUST_USE;
/* Opens and checks the adapter in the files beside, where there are any. */
int import_beside_open(struct import_run *p, struct err *e) MUST_USE;

#endif
