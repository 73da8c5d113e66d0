#ifndef FMFORGE_TESTS_TINY_SPM_H
#define FMFORGE_TESTS_TINY_SPM_H

/* A small tokenizer for tests, trained in place (a tenth of a second), and the usual template. */

#include "pipeline/base/buf.h"
#include "stages/text/spm.h"
#include "stages/text/template.h"

/* The bytes of the model; buf is initialised here, the caller releases it. */
void tiny_spm_model(struct buf *model);
struct spm *tiny_spm_open(void);      /* spm_close */
struct spm *tiny_spm_open_nfkc(void); /* one that normalises, as SentencePiece's own default does */
void tiny_template(struct template *t); /* template_release */

#endif
