#ifndef FMFORGE_MODEL_LORA_CONFIG_H
#define FMFORGE_MODEL_LORA_CONFIG_H

/*
 * adapter_config.json: what PEFT and MLX write beside an adapter's tensors.
 * Sources: peft/tuners/lora/config.py of peft 0.21.2 (LoraConfig); mlx_lm/tuner/utils.py and
 * lora.py of mlx-lm 0.32.2.
 *
 * An adapter here has one rank and one scale for all modules and nothing else: y += scale (x A) B.
 *   PEFT  scale = lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora
 *   MLX   lora_parameters.scale, whatever the rank. mlx-lm once took 20 where it is absent, and now
 *         refuses; so does this
 *
 * Refused, with the key and the reason: what changes the result in a way that this cannot hold
 * (DoRA, biases, whole modules, ranks or alphas of single modules, a base whose weights were
 * changed at the start), and any key of PEFT that is not known and not empty. Which modules are
 * adapted is not read: the tensors say it.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

enum lora_format {
    LORA_TOOLKIT, /* adapter-final.pt: has no config */
    LORA_PEFT,
    LORA_MLX,
};

struct lora_config {
    int rank;
    double alpha; /* scale * rank */
};

/* format: PEFT or MLX. ERR_FORMAT, ERR_LIMIT for a rank above LORA_RANK_MAX. */
int lora_config_parse(enum lora_format format, const struct json *root, struct lora_config *out,
                      struct err *e) MUST_USE;
/* The same from a file; the message begins with its path. */
int lora_config_read(enum lora_format format, const char *path, struct lora_config *out,
                     struct err *e) MUST_USE;
/* Appends the file's text for an adapter on every linear of a model with n_layers. Parsing it gives
 * the same rank and the same scale to the last bit, and the same alpha where it has at most six
 * decimals or the format is PEFT. */
void lora_config_write(enum lora_format format, const struct lora_config *c, int n_layers,
                       struct buf *out);

#endif
