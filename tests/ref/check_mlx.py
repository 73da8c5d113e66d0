"""fmforge and the model of parity.py against Apple's own public port, mlx_lm.models.afm7.

    check_mlx.py            a small shape, and the full width with 1 + 1 layers
    check_mlx.py --small    the small shape alone: a quarter of a minute

Needs PyTorch, NumPy, mlx[cpu] and mlx-lm in one interpreter (README.md says how); without mlx-lm it
says skipped. afm7 has no packing, fixes head_dim = hidden / heads and always quantises keys and
values: so one sample, and the KV quantisers on. Compares logits with the LoRA of every linear, in
fp32: all tokens at once, and one by one with mlx-lm's cache. Status 1: a figure is past its bound.
"""

import os
import sys

try:
    import mlx.core as mx
    from mlx_lm.models import afm7
    from mlx_lm.tuner.lora import LoRALinear
except ImportError:
    print("afm7: skipped: the package mlx-lm is not here (README.md says how)")
    sys.exit(0)

from importlib.metadata import version

import ours
import parity
import torch

# afm7's head norms have eps 1e-5 whatever rms_norm_eps says.
SMALL = dict(parity.SHAPE, head_dim=8, norm_eps=1e-5, context=4096)
WIDE = dict(
    SMALL, vocab=4096, hidden=2048, layers_0=1, layers_1=1, heads=16, head_dim=128, ffn=6656
)  # fmt: skip


def to_mlx(t):
    return mx.array(t.to(torch.float32).numpy())


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


def mlx_model(base, adapter):
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
    return model


def rows_of(logits):
    return torch.tensor(memoryview(logits.astype(mx.float32)).tolist(), dtype=torch.float64)[0]


def at_once(model, batch):
    return rows_of(model(mx.array([batch.ids])))


def one_by_one(model, batch, n_prompt):
    cache, n = model.make_cache(), len(batch.ids)
    pieces = [batch.ids[:n_prompt]] + [batch.ids[i : i + 1] for i in range(n_prompt, n)]
    return torch.cat([rows_of(model(mx.array([piece]), cache=cache)) for piece in pieces])


def clear_batch(base, adapter, n):
    """A sample whose keys and values keep away from the middles of steps, and parity.py's logits."""
    for seed in range(1, 2000):
        batch = ours.Batch([n], parity.SHAPE["vocab"], seed).unlabelled()
        reference = parity.Model(base, adapter, True)
        expected = reference.logits(torch.tensor(batch.ids))
        if reference.margin >= parity.ROUNDING_MARGIN:
            return batch, expected
    raise AssertionError("no such sample")


def check_shape(figures, name, shape, n_generated):
    parity.SHAPE.update(shape)
    base, adapter, _, _ = parity.draw(100)
    folder = os.path.join(ours.WORK, "mlx_" + name)
    state = {n: t.to(torch.float32) for n, t in {**base, **adapter}.items()}
    files = ours.imported(folder, state, parity.SHAPE, parity.ALPHA)
    model = mlx_model(base, adapter)
    for n in 1, 17:
        batch, expected = clear_batch(base, adapter, n)
        found, theirs = ours.compute(*files, batch)["logits"], at_once(model, batch)
        figures.add("%s, %d tokens" % (name, n), {"logits": ours.by_token(found, theirs)})
        error = ours.by_token(expected, theirs)
        figures.add("%s, %d tokens, parity.py" % (name, n), {"logits": error})
    batch, _ = clear_batch(base, adapter, n_generated)
    found = ours.compute(*files, batch, n_prompt=9)["logits"]
    errors = {
        "logits": ours.by_token(found, one_by_one(model, batch, 9)),
        "and afm7's prefill": ours.by_token(found, at_once(model, batch)),
    }
    figures.add("%s, 9 tokens and %d one by one" % (name, n_generated - 9), errors)
    if shape["hidden"] == WIDE["hidden"]:
        return  # 4,095 tokens of this width take mlx many minutes on a CPU
    batch = ours.Batch([4095], shape["vocab"], 4095).unlabelled()
    found, theirs = ours.compute(*files, batch)["logits"], at_once(model, batch)
    figures.add("%s, 4,095 tokens" % name, {"logits": ours.by_token(found, theirs)}, rounded=True)


def main():
    if sys.argv[1:] not in ([], ["--small"]):
        sys.exit(__doc__)
    ours.build()
    mx.set_default_device(mx.cpu)
    figures = ours.Figures("afm7")
    check_shape(figures, "small", SMALL, 40)
    if not sys.argv[1:]:
        check_shape(figures, "wide", WIDE, 17)
    return figures.close("mlx-lm %s, mlx %s" % (version("mlx-lm"), version("mlx")))


if __name__ == "__main__":
    sys.exit(main())
