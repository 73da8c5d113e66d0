#ifndef FMFORGE_MODEL_ADAPTED_H
#define FMFORGE_MODEL_ADAPTED_H

/* A base and, maybe, the adapter made for it: what answers. */

#include "stages/model/lora.h"
#include "stages/model/model.h"

struct adapted {
    struct model model;
    struct adapter own;            /* private: use adapter */
    const struct adapter *adapter; /* NULL = the base alone */
};

/* adapter_path and package_path: NULL, or an adapter file and a .fmadapter folder (adapter_path may
 * be such a folder too); ERR_CONFIG when both are given, or when they were made for another base.
 */
int adapted_open(struct adapted *a, const char *base_path, const char *adapter_path,
                 const char *package_path, struct err *e) MUST_USE;
/* For what only answers: see adapter_halve. */
void adapted_halve(struct adapted *a);
/* Opens a draft for it, by panels: ERR_CONFIG when their vocabularies differ. The caller releases
 * the draft. */
int adapted_open_draft(const struct adapted *a, const char *path, struct model *draft,
                       struct err *e) MUST_USE;
/* What both have taken, by parts. */
void adapted_memory(const struct adapted *a, struct plan_mem *out);
/* Says what an export of it takes, with `unpacked` (a base's path, or NULL) as a trainable model
 * beside it. */
int adapted_say_export(const struct adapted *a, const struct stage_run *run, const char *unpacked,
                       struct err *e) MUST_USE;
void adapted_release(struct adapted *a); /* safe on zeroed, safe twice */

#endif
