#ifndef FMFORGE_MODEL_LORA_NAMES_H
#define FMFORGE_MODEL_LORA_NAMES_H

/*
 * Which LoRA module a tensor's name means. Three programs name them; a file may mix the ways that
 * its format knows:
 *
 *   toolkit  the names of shape_module, with .a_transpose [in][rank] and .b_transpose [rank][out]
 *   PEFT     base_model.model.MODULE.lora_A.weight [rank][in] and .lora_B.weight [out][rank]
 *   MLX      MODULE.lora_a [in][rank], MODULE.lora_b [rank][out]; .lora_a.{0,1,2} of a fused QKV
 *
 * MODULE, with or without "model." in front, is a layer and a linear:
 *   layers.{0..L-1}., kv_reuse_layers.{0..}. (MLX), layers.segment_{0,1}.layer_{..}. (toolkit)
 *   self_attn.{q,k,v}_proj, self_attn.qkv_proj (fused), self_attn.{o,out}_proj,
 *   mlp.{gate,up,down}_proj, or the toolkit's linears
 * (attention.qkv_transform.wrapped.fused_linear)
 *
 * A split QKV is three modules here. One pair on a fused QKV is too, without loss: all three have
 * its A, and each has its own part of B. The way back is not: three A's are no single one.
 */

#include "stages/model/lora_config.h"
#include "stages/model/shape.h"

struct lora_name {
    int module;    /* index (shape_module) of the first one */
    int n_modules; /* 1; 3 for one pair on a fused QKV */
    bool b;
};

/* False for a name that is no LoRA tensor of this shape. */
bool lora_name_parse(enum lora_format format, const struct shape *s, const char *name,
                     struct lora_name *out);
/* The name that this program writes, as PEFT: base_model.model.model.layers.{0..L-1}. with the
 * linears of Llama, Q, K and V split; as MLX: mlx_lora_name; as the toolkit: adapter_tensor_name.
 */
#define LORA_NAME_BYTES (SHAPE_NAME_BYTES + 16)
void lora_name_of(enum lora_format format, const struct shape *s, const struct shape_module *m,
                  bool b, char out[LORA_NAME_BYTES]);

#endif
