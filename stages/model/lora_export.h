#ifndef FMFORGE_MODEL_LORA_EXPORT_H
#define FMFORGE_MODEL_LORA_EXPORT_H

/*
 * An adapter as the folder that PEFT or MLX reads (lora_import.h has their files): fp32, the scale
 * in adapter_config.json, the base's content id as fmforge.base in the metadata of the tensors,
 * which these programs leave alone. lora_import_read gives back the same values and the same scale.
 */

#include "stages/model/lora.h"
#include "stages/model/lora_config.h"

/* Makes the folder, or writes into one that is there. */
int lora_export_save(const struct adapter *a, enum lora_format format, const char *folder,
                     struct err *e) MUST_USE;
/* Bytes that it reserves: PEFT's matrices are transposed, all at once. */
size_t lora_export_bytes(const struct shape *s, int rank, enum lora_format format);

#endif
