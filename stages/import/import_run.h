#ifndef FMFORGE_IMPORT_IMPORT_RUN_H
#define FMFORGE_IMPORT_IMPORT_RUN_H

/* One run of the import stage: a base saved by PyTorch or MLX becomes a packed one and its adapter.
 */

#include "stages/kit/stage.h"
#include "stages/model/base_source.h"
#include "stages/model/compute.h"
#include "stages/model/lora.h"
#include "stages/model/lora_import.h"
#include "stages/model/model.h"

enum import_quantise { IMPORT_QUANTISE_NEVER, IMPORT_QUANTISE_LINEARS };

struct import_config {
    int quantise; /* enum import_quantise */
    int64_t seed;
    double alpha;
};

#define IMPORT_FORMS 4 /* of enum weight_form */

struct import_run {
    const struct stage_run *run;
    const struct import_config *config;
    struct compute compute;
    struct base_source from;
    const char *port;          /* "pt" or "mlx", for messages */
    struct lora_import beside; /* MLX: the adapter in a file beside the base, if there is one */
    struct model model;
    void **owned; /* packed bytes and scales, two for each tensor of the shape */
    struct adapter adapter;
    bool adapter_is_zero; /* every B is 0: it does nothing yet */
    int64_t n_tensors[IMPORT_FORMS], n_bytes[IMPORT_FORMS];
    int64_t n_rounded; /* linears that were not on a grid and were put on it */
    struct json *rows; /* of the report's table of tensors */
};

/* Opens the source and checks names and dimensions of every tensor: ERR_FORMAT with the list of
 * what is missing, too much or of another shape. */
int import_run_open(struct import_run *p, const struct stage_run *run, struct err *e) MUST_USE;
/* Finds each tensor's form and packs it. */
int import_run_pack(struct import_run *p, struct err *e) MUST_USE;
/* Writes the outputs. */
int import_run_publish(struct import_run *p, struct err *e) MUST_USE;
void import_run_release(struct import_run *p); /* safe on zeroed */

#endif
