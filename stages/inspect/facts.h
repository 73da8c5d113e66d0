#ifndef FMFORGE_INSPECT_FACTS_H
#define FMFORGE_INSPECT_FACTS_H

/* The pieces of what is said about a thing, each a JSON node that the caller owns. */

#include "pipeline/base/json.h"
#include "stages/kit/stage.h"
#include "stages/model/model.h"
#include "stages/model/shape.h"
#include "stages/model/tensor_source.h"

/* Parameters by kind of layer; rank 0: without an adapter. */
struct json *facts_counts(const struct shape *s, int rank);
/* Tensors and bytes by data type or packed layout. */
struct json *facts_tensors(const struct tensorfile *f);
/* The same of what another program has saved; tied tensors count each. */
struct json *facts_source(const struct tensor_source *s);
/* All of the header's metadata but for layouts. */
struct json *facts_metadata(const struct tensorfile *f);

/* What a plan needs to know of a model that need not be there. */
struct facts_model {
    struct shape shape;
    uint64_t mapped_bytes;  /* of its file */
    uint64_t own_bytes;     /* beside it */
    uint64_t panel_bytes;   /* and, of a draft that answers, its matrices by panels */
    const char *planned_as; /* how it will be stored; NULL: it is there */
};
struct facts_model facts_model_open(const struct model *m);
/* Of a shape alone, as this program stores it: a base with 2-bit matrices and 4-bit embedding, a
 * draft in BF16. */
struct facts_model facts_model_planned(const struct shape *s, bool is_draft);

/* Training an adapter and answering with it; draft may be NULL. */
struct json *facts_memory(const struct stage_run *run, const struct facts_model *base,
                          const struct facts_model *draft, int rank);

/* The file that a facet's stage takes by this port, NULL when there is none. facet may be NULL. */
const char *facts_input_file(const struct json *facet, const char *port);
/* A facet `tokenizer` that import_tokenizer makes, as toolkit_dir_to_json has it: the check of that
 * stage, where its files are there. *is_checked: it was, and holds. */
int facts_check_tokenizer(const struct json *facet, int vocab, bool *is_checked,
                          struct err *e) MUST_USE;

#endif
