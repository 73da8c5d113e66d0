#ifndef FMFORGE_MODEL_MLX_MODEL_H
#define FMFORGE_MODEL_MLX_MODEL_H

/*
 * The model class as MLX has it: names of tensors, and config.json.
 * Source: mlx_lm/models/afm7.py of mlx-lm 0.32.2 (MIT): its modules and ModelArgs; run beside this
 * by tests/ref/open_formats_check.py.
 *
 *   model.embedding.weight, model.output_norm.weight
 *   model.layers.{0..layers_0 - 1}.self_attn.qkv_proj.weight      fused, rows Q, K, V, as here
 *     .self_attn.{out_proj,q_norm,k_norm}.weight, .self_attn.{quant_key_scale,quant_value_scale}
 *     .mlp.{gate_proj,up_proj,down_proj}.weight, .input_layernorm.weight,
 *     .post_attention_layernorm.weight
 *   model.kv_reuse_layers.{0..layers_1 - 1}: the same with .self_attn.q_proj, without k_norm
 *
 * An adapter's tensors are MODULE.lora_a [in][rank] and MODULE.lora_b [rank][out], the toolkit's
 * own orientation; the fused qkv_proj has three of each, MODULE.lora_a.{0,1,2} = Q, K, V. Where a
 * model is saved with its adapter in it, the linear itself is MODULE.linear.weight.
 *
 * afm7 has no field for a head's width (it is hidden / heads), and always quantises keys and
 * values, each layer with one scale; a range that has that scale is all that can be had back.
 */

#include "stages/model/model.h"
#include "stages/model/shape.h"

void mlx_tensor_name(const struct shape *s, const struct shape_tensor *t,
                     char out[SHAPE_NAME_BYTES]);
/* The same inside a model with an adapter: false for what no adapter is on. */
bool mlx_wrapped_name(const struct shape *s, const struct shape_tensor *t,
                      char out[SHAPE_NAME_BYTES]);
/* The scale of a layer's key or value quantiser; a scalar. */
void mlx_scale_name(int layer, bool value, char out[SHAPE_NAME_BYTES]);
void mlx_lora_name(const struct shape *s, const struct shape_module *m, bool b,
                   char out[SHAPE_NAME_BYTES]);

/* A range whose scale (kv_range_scale) is exactly this positive one. */
struct kv_range mlx_range_of_scale(float scale);

/* ERR_FORMAT with every field of config.json that is not what the shape says (absent ones count as
 * afm7's defaults: rope_theta 50000!), for another model_type, and for a model that MLX has
 * quantised. */
int mlx_config_check(const struct json *config, const struct shape *s, struct err *e) MUST_USE;
/* The config.json of a model of this shape, appended. ERR_CONFIG names what afm7 cannot be. */
int mlx_config_write(const struct shape *s, struct buf *out, struct err *e) MUST_USE;

#endif
