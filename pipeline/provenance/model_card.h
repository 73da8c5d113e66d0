#ifndef FMFORGE_PROVENANCE_MODEL_CARD_H
#define FMFORGE_PROVENANCE_MODEL_CARD_H

/*
 * A model card: Markdown with a YAML header as the Hugging Face Hub reads it
 * (https://huggingface.co/docs/hub/model-cards): base_model, base_model_relation, library_name,
 * pipeline_tag, datasets, model-index with the metrics of golden sets, license only when the
 * manifest names one. A view of the record; the same record gives the same bytes. Texts in the
 * header are JSON strings, which YAML reads as they are.
 */

#include "pipeline/provenance/origin.h"

/* ERR_CONFIG when it is no adapter and no package of one. */
int model_card_write(const struct origin *o, struct buf *out, struct err *e) MUST_USE;

#endif
