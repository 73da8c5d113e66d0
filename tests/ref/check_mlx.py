"""The model of parity.py against Apple's own public port of the class, mlx_lm.models.afm7.

    check_mlx.py

Needs PyTorch, mlx[cpu] and mlx-lm in one interpreter (README.md says how) and is no part of `make
ref`. afm7 has no packing, fixes head_dim = hidden / heads and always quantises keys and values: so
one sample, another shape than parity.json, and the KV quantisers on. Compares logits with the LoRA
of every linear, in fp32.
"""

import math
import sys

import mlx.core as mx
import torch
from mlx_lm.models import afm7
from mlx_lm.tuner.lora import LoRALinear

import parity

BOUND = 1e-5


def to_mlx(t):
    return mx.array(t.to(torch.float32).tolist())


def with_lora(linear, parts, adapter):
    scale = parity.ALPHA / parity.RANK
    linear.freeze()
    if isinstance(linear, afm7.FusedLinear):
        lora = linear.to_lora(r=parity.RANK, scale=scale)
        lora.lora_a = [to_mlx(adapter[name + ".a_transpose"]) for name, _ in parts]
        lora.lora_b = [to_mlx(adapter[name + ".b_transpose"]) for name, _ in parts]
    else:
        lora = LoRALinear.from_base(linear, r=parity.RANK, scale=scale)
        lora.lora_a = to_mlx(adapter[parts[0][0] + ".a_transpose"])
        lora.lora_b = to_mlx(adapter[parts[0][0] + ".b_transpose"])
    return lora


def scale_of(ranges):
    low, high = ranges.to(torch.float32)
    return mx.array(max(low / torch.tensor(-128.0), high / torch.tensor(127.0)).item())


def fill(block, layer, base, adapter):
    p = "layers.segment_%d.layer_%d." % layer
    attention, mlp = block.self_attn, block.mlp
    places = [
        (attention, "qkv_proj" if layer[0] == 0 else "q_proj"),
        (attention, "out_proj"),
        (mlp, "gate_proj"),
        (mlp, "up_proj"),
        (mlp, "down_proj"),
    ]
    for (owner, at), (name, rows, columns, parts) in zip(places, parity.linears(layer)):
        linear = getattr(owner, at)
        assert linear.weight.shape == (rows, columns)
        linear.weight = to_mlx(base[name])
        setattr(owner, at, with_lora(linear, parts, adapter))
    norm = p + ("attention.qk_norm." if layer[0] == 0 else "attention.q_norm.")
    attention.q_norm.weight = to_mlx(base[norm + "query_norm.weight"])
    if layer[0] == 0:
        attention.k_norm.weight = to_mlx(base[norm + "key_norm.weight"])
        attention.quant_key_scale = scale_of(base[parity.range_name(layer, "key")])
        attention.quant_value_scale = scale_of(base[parity.range_name(layer, "value")])
    block.input_layernorm.weight = to_mlx(base[p + "attention.norm.weight"])
    block.post_attention_layernorm.weight = to_mlx(base[p + "feed_forward.norm.weight"])


def mlx_logits(base, adapter, ids):
    s = parity.SHAPE
    args = afm7.ModelArgs(
        model_type="afm7", vocab_size=s["vocab"], hidden_dim=s["hidden"],
        num_layers=s["layers_0"] + s["layers_1"], num_kv_reuse_layers=s["layers_1"],
        num_heads=s["heads"], num_kv_heads=s["kv_heads"],
        hidden_dim_scale_factor=s["ffn"] / s["hidden"], rope_theta=s["rope_theta"],
        rms_norm_eps=s["norm_eps"],
    )  # fmt: skip
    model = afm7.Model(args)
    for layer, block in zip(parity.layers(), model.layers):
        fill(block, layer, base, adapter)
    model.model.embedding.weight = to_mlx(base["embedding.weight"])
    model.model.output_norm.weight = to_mlx(base["output_norm.weight"])
    logits = model(mx.array([ids.tolist()]))[0]
    return torch.tensor(logits.tolist(), dtype=torch.float64)


def main():
    mx.set_default_device(mx.cpu)
    # afm7's head norms have eps 1e-5 whatever rms_norm_eps says.
    parity.SHAPE.update(head_dim=8, norm_eps=1e-5)
    margin, seed = 0.0, 100
    while margin < parity.ROUNDING_MARGIN:
        seed += 1
        base, adapter, ids, _ = parity.draw(seed)
        ids = ids[:11]
        model = parity.Model(base, adapter, True)
        expected = model.logits(ids)
        margin = model.margin
    found = mlx_logits(base, adapter, ids)
    error = ((found - expected).norm(dim=1) / expected.norm(dim=1)).max().item()
    print("afm7: seed %d, largest relative difference of a token's logits %.1e" % (seed, error))
    return 0 if error < BOUND and math.isfinite(error) else 1


if __name__ == "__main__":
    sys.exit(main())
