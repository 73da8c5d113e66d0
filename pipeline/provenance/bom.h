#ifndef FMFORGE_PROVENANCE_BOM_H
#define FMFORGE_PROVENANCE_BOM_H

/*
 * A bill of materials in CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/): a view of the
 * record, never the record. The same record gives the same bytes: the serial number is a UUID
 * (version 8) of the thing's digest, the time is that of the run.
 *
 *   metadata.component      the package or adapter, type machine-learning-model, its files, its
 *                           model card (data, metrics of golden sets), pedigree.ancestors: the base
 *   components              the base, data (type data), tokenizer and other sources (type file)
 *   dependencies            what it was made from
 *   formulation             a workflow with one task per stage: program, config, times
 *
 * What CycloneDX has no word for is a property fmforge:NAME: run, key, statement, audit (proven or
 * cannot tell), source_commit. A folder's SHA-256 is that of its sorted sha256sum lines; its
 * component has fmforge:folder true.
 */

#include "pipeline/provenance/origin.h"

/* Caller frees. version: of fmforge. */
struct json *bom_make(const struct origin *o, const char *version);

#endif
