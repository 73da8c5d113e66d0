"""Adapters and bases of PEFT and MLX against stages import, import_adapter, export_peft, export_mlx.

    open_formats_check.py

From the repository root, after make all, with a Python that has peft (and PyTorch), or mlx and
mlx-lm, or all of them: README.md says how. What these libraries write is imported and compared with
what they hold, what we write is loaded by them, and what they can write and we cannot hold has to be
refused. Prints what was compared; exits with 1 when a case fails, with 0 and a line for each library
that is not there.
"""

import json
import os
import shutil
import subprocess
import sys

BIN = os.path.join("build", "bin")
FOLDER = os.path.join("build", "ref-open")
RANK, ALPHA = 6, 7.5
SHAPE = {
    "vocab": 64, "hidden": 32, "layers_0": 2, "layers_1": 2, "heads": 4, "kv_heads": 2, "head_dim": 8,
    "ffn": 48, "rope_theta": 500000, "norm_eps": 1e-5, "context": 64, "kv_quant": True,
}  # fmt: skip
LAYERS = SHAPE["layers_0"] + SHAPE["layers_1"]
Q, KV = SHAPE["heads"] * SHAPE["head_dim"], SHAPE["kv_heads"] * SHAPE["head_dim"]


def at(name):
    return os.path.join(FOLDER, name)


def stage(name, config, ins, outs):
    """Runs a stage by hand with its defaults; what it said, or None and what it said."""
    program = os.path.join(BIN, "stage-" + name)
    described = json.loads(subprocess.run([program, "--describe"], capture_output=True, check=True).stdout)
    full = {p["name"]: p.get("default") for p in described["params"]}
    full.update(config)
    with open(at("config.json"), "w") as f:
        json.dump(full, f)
    line = [program, "--config", at("config.json")]
    for port, path in ins.items():
        line += ["--in", "%s=%s" % (port, path)]
    for port in described["outputs"]:
        path = outs.get(port["name"], at(name + "." + port["name"]))
        shutil.rmtree(path, ignore_errors=True)
        if os.path.exists(path):
            os.remove(path)
        line += ["--out", "%s=%s" % (port["name"], path)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def must(name, config, ins, outs):
    rc, said = stage(name, config, ins, outs)
    assert rc == 0, said
    return said


def refused(text, port, folder):
    out = at("refused.safetensors")
    rc, said = stage("import_adapter", {}, {"base": at("base.safetensors"), port: folder}, {"adapter": out})
    assert rc != 0 and text in said, said
    assert not os.path.exists(out)
    print("  refused: %s" % said.strip()[:150])


def read(path):
    with open(path, "rb") as f:
        return f.read()


# ---- PEFT ----


def torch_model(torch, fused):
    """Linears of the class under Llama's names, or under the toolkit's with one fused QKV."""
    nn = torch.nn
    hidden, ffn = SHAPE["hidden"], SHAPE["ffn"]

    def linears(**sizes):
        m = nn.Module()
        for name, (n_in, n_out) in sizes.items():
            setattr(m, name, nn.Linear(n_in, n_out, bias=False))
        return m

    def nested(module, path):
        for part in path.split("."):
            inner = nn.Module()
            setattr(module, part, inner)
            module = inner
        return module

    root = nn.Module()
    if not fused:
        root.model = nn.Module()
        root.model.layers = nn.ModuleList()
    for i in range(LAYERS):
        own = i < SHAPE["layers_0"]
        if fused:
            layer = nn.Module()
            segment = "segment_%d" % (not own)
            if not hasattr(root, "layers"):
                root.layers = nn.Module()
            if not hasattr(root.layers, segment):
                setattr(root.layers, segment, nn.Module())
            setattr(getattr(root.layers, segment), "layer_%d" % (i if own else i - SHAPE["layers_0"]), layer)
            layer.attention, layer.feed_forward = nn.Module(), nn.Module()
            if own:
                nested(layer.attention, "qkv_transform.wrapped").fused_linear = nn.Linear(hidden, Q + 2 * KV, bias=False)
            else:
                nested(layer.attention, "q_transform").wrapped = nn.Linear(hidden, Q, bias=False)
            nested(layer.attention, "output_transform").wrapped = nn.Linear(Q, hidden, bias=False)
            hidden_transform = nested(layer.feed_forward, "hidden_transform")
            nested(hidden_transform, "linear_0").wrapped = nn.Linear(hidden, ffn, bias=False)
            nested(hidden_transform, "linear_1").wrapped = nn.Linear(hidden, ffn, bias=False)
            nested(layer.feed_forward, "output_transform").wrapped = nn.Linear(ffn, hidden, bias=False)
            continue
        layer = nn.Module()
        sizes = {"q_proj": (hidden, Q), "o_proj": (Q, hidden)}
        if own:
            sizes.update(k_proj=(hidden, KV), v_proj=(hidden, KV))
        layer.self_attn = linears(**sizes)
        layer.mlp = linears(gate_proj=(hidden, ffn), up_proj=(hidden, ffn), down_proj=(ffn, hidden))
        root.model.layers.append(layer)
    return root


def check_peft():
    try:
        import peft
        import torch
    except ImportError as e:
        print("open formats: PEFT skipped: %s" % e)
        return
    every = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    folder, back, ours = at("peft"), at("peft_back"), at("adapter.safetensors")

    def save(fused=False, **options):
        torch.manual_seed(1)
        options = {"r": RANK, "lora_alpha": ALPHA, "target_modules": every, **options}
        model = peft.get_peft_model(torch_model(torch, fused), peft.LoraConfig(**options))
        for name, p in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(p)
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        return model

    def deltas(model):
        """What each adapted linear adds to its weights."""
        return {
            name: m.get_delta_weight("default").detach()
            for name, m in model.named_modules()
            if hasattr(m, "get_delta_weight")
        }

    def through_us(**config):
        must("import_adapter", config, {"base": at("base.safetensors"), "peft": folder}, {"adapter": ours})
        must("export_peft", {}, {"base": at("base.safetensors"), "adapter": ours}, {"peft": back})
        return deltas(peft.PeftModel.from_pretrained(torch_model(torch, False), back))

    for options in ({}, {"use_rslora": True}, {"lora_alpha": 16, "r": 8, "lora_dropout": 0.1}):
        expected, found = deltas(save(**options)), through_us()
        assert len(found) == 5 * LAYERS + 2 * SHAPE["layers_0"] and found.keys() == expected.keys()
        exact = sum(torch.equal(found[n], expected[n]) for n in found)
        error = max((found[n] - expected[n]).abs().max().item() for n in found)
        assert exact == len(found) or (options.get("use_rslora") and error < 1e-6), (exact, error)
        print("peft: %s: %d of %d linears exact, largest difference %.1g" % (options, exact, len(found), error))
    # Again out of what we wrote: the same adapter, to the byte.
    first = read(ours)
    must("import_adapter", {}, {"base": at("base.safetensors"), "peft": back}, {"adapter": ours})
    assert read(ours) == first
    print("peft: import(export(x)) == x, %d bytes" % len(first))

    expected = deltas(save(target_modules=["q_proj", "v_proj"]))
    refused("is missing", "peft", folder)
    found = through_us(missing="fresh")
    assert all(torch.equal(found[n], expected.get(n, torch.zeros_like(found[n]))) for n in found)
    print("peft: q_proj and v_proj alone: the rest adds nothing")

    names = r".*(fused_linear|q_transform.wrapped|output_transform.wrapped|linear_[01].wrapped)"
    expected, found = deltas(save(fused=True, target_modules=names)), through_us()
    for i in range(SHAPE["layers_0"]):
        whole = expected["base_model.model.layers.segment_0.layer_%d.attention.qkv_transform.wrapped.fused_linear" % i]
        parts = [found["base_model.model.model.layers.%d.self_attn.%s_proj" % (i, p)] for p in "qkv"]
        assert torch.equal(whole, torch.cat(parts))
    print("peft: one pair on a fused QKV is three, exactly")

    for options, text in (
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias is not"),
        ({"modules_to_save": ["down_proj"], "target_modules": every[:-1]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 2}}, "alpha_pattern"),
        ({"lora_bias": True}, "lora_bias"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"layers_to_transform": [0, 1]}, "is missing"),
    ):
        save(**options)
        refused(text, "peft", folder)
    print("peft: %s with PyTorch %s agrees" % (peft.__version__, torch.__version__))


# ---- MLX ----


def check_mlx():
    try:
        import mlx.core as mx
        import mlx.nn as nn
        import mlx_lm
        from mlx.utils import tree_flatten
        from mlx_lm.models import afm7
        from mlx_lm.tuner import utils
    except ImportError as e:
        print("open formats: MLX skipped: %s" % e)
        return
    mx.set_default_device(mx.cpu)
    folder, back = at("mlx"), at("mlx_back")
    base, ours = at("base.safetensors"), at("adapter.safetensors")

    def model_of(path):
        with open(os.path.join(path, "config.json")) as f:
            model = afm7.Model(afm7.ModelArgs.from_dict(json.load(f)))
        model.load_weights(os.path.join(path, "model.safetensors"), strict=True)
        return model

    def logits(model):
        return model(mx.array([[5, 9, 2, 33, 60, 7, 7, 1]])).astype(mx.float32)

    # Ours is loaded strictly; theirs comes back; both ways round nothing is lost.
    must("export_mlx", {"what": "base"}, {"base": base}, {"mlx": folder})
    model = model_of(folder)
    expected = logits(model)
    assert mx.isfinite(expected).all().item()
    shutil.rmtree(back, ignore_errors=True)
    os.makedirs(back)
    shutil.copy(os.path.join(folder, "config.json"), back)
    ins = {"mlx": back, "shape": at("shape.json")}
    weights = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(os.path.join(back, "model.safetensors"), weights)
    must("import", {}, ins, {"base": at("mlx_base.safetensors")})
    must("export_mlx", {"what": "base"}, {"base": at("mlx_base.safetensors")}, {"mlx": folder})
    assert mx.array_equal(logits(model_of(folder)), expected).item()
    first = read(at("mlx_base.safetensors"))
    names = sorted(weights)
    os.remove(os.path.join(back, "model.safetensors"))
    for i in range(2):
        part = {n: weights[n] for n in names[i::2]}
        mx.save_safetensors(os.path.join(back, "model-%05d-of-00002.safetensors" % (i + 1)), part)
    must("import", {}, ins, {"base": at("mlx_base.safetensors")})
    assert read(at("mlx_base.safetensors")) == first
    print("mlx: a base of %d tensors, strict loading, in one file and in two: same logits, same bytes" % len(names))
    for n in os.listdir(back):
        if n.startswith("model-"):
            os.remove(os.path.join(back, n))
    half = {n: w.astype(mx.bfloat16) for n, w in weights.items()}
    mx.save_safetensors(os.path.join(back, "model.safetensors"), half)
    said = must("import", {}, ins, {"base": at("mlx_base.safetensors")})
    print("mlx: the same in bfloat16: %s" % said.strip())

    def lora(parameters):
        model = model_of(folder)
        model.freeze()
        utils.linear_to_lora_layers(model, LAYERS, parameters)
        mx.random.seed(3)
        fresh = tree_flatten(model.trainable_parameters())
        model.load_weights([(n, mx.random.normal(p.shape)) for n, p in fresh], strict=False)
        return model

    def save(model, path, config):
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        tensors = dict(tree_flatten(model.trainable_parameters()))
        mx.save_safetensors(os.path.join(path, "adapters.safetensors"), tensors)
        with open(os.path.join(path, "adapter_config.json"), "w") as f:
            json.dump(config, f)
        return tensors

    keys = ["self_attn.qkv_proj", "self_attn.q_proj", "self_attn.out_proj"]
    keys += ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    parameters = {"rank": RANK, "scale": 1.3, "dropout": 0.0, "keys": keys}
    config = {"fine_tune_type": "lora", "num_layers": LAYERS, "lora_parameters": parameters, "batch_size": 4}
    adapted, there = lora(parameters), at("mlx_adapter")
    tensors = save(adapted, there, config)
    must("import_adapter", {}, {"base": base, "mlx": there}, {"adapter": ours})
    must("export_mlx", {}, {"base": base, "adapter": ours}, {"mlx": back})
    found = mx.load(os.path.join(back, "adapters.safetensors"))
    assert found.keys() == tensors.keys()
    assert all(mx.array_equal(found[n], tensors[n]).item() for n in tensors)
    with open(os.path.join(back, "adapter_config.json")) as f:
        written = json.load(f)
    assert written["lora_parameters"]["scale"] == 1.3 and written["num_layers"] == LAYERS
    again = model_of(folder)
    utils.linear_to_lora_layers(again, written["num_layers"], written["lora_parameters"])
    again.load_weights(list(found.items()), strict=False)
    assert mx.array_equal(logits(again), logits(adapted)).item()
    first = read(ours)
    must("import_adapter", {}, {"base": base, "mlx": back}, {"adapter": ours})
    assert read(ours) == first
    print("mlx: an adapter of %d tensors, exact, same logits; import(export(x)) == x" % len(tensors))
    try:
        utils.load_adapters(model_of(folder), back)
        print("mlx: load_adapters takes it")
    except ValueError as e:
        assert "qkv_proj.lora_a.0" in str(e)
        try:
            utils.load_adapters(model_of(folder), there)
            raise AssertionError("load_adapters refuses ours alone: %s" % e)
        except ValueError:
            print("mlx: load_adapters of this mlx-lm refuses the lists of a fused QKV, also its own")

    # The adapter inside a model's file, and in files beside it, as a converter of the toolkit's writes it.
    for n in os.listdir(there):
        shutil.copy(os.path.join(there, n), folder)
    outs = {"base": at("whole.safetensors"), "adapter": at("whole_adapter.safetensors")}
    said = must("import", {}, {"mlx": folder, "shape": at("shape.json")}, outs)
    assert "its adapter is kept" in said
    beside = read(outs["base"])
    inside = dict(tree_flatten(adapted.parameters()))
    mx.save_safetensors(at("inside.safetensors"), inside)
    said = must("import", {"alpha": 7.8}, {"mlx": at("inside.safetensors"), "shape": at("shape.json")},
                {"base": at("inside_base.safetensors"), "adapter": at("inside_adapter.safetensors")})  # fmt: skip
    assert "its adapter is kept" in said
    assert read(at("inside_base.safetensors")) == beside
    assert read(at("inside_adapter.safetensors")) == read(outs["adapter"])
    print("mlx: an adapter in the base's file and one beside it: the same")

    last = lora({**parameters, "keys": keys[1:3]})
    save(last, there, config)
    refused("is missing", "mlx", there)
    save(adapted, there, {**config, "fine_tune_type": "dora"})
    refused("fine_tune_type is dora", "mlx", there)
    save(adapted, there, {**config, "lora_parameters": {"rank": 8, "scale": 1.0}})
    refused("expected [32, 8]", "mlx", there)
    quantised = model_of(folder)
    # Not the fused ones: their to_quantized does not know nn.quantize's argument "mode".
    nn.quantize(quantised, 32, 4, class_predicate=lambda _, m: isinstance(m, nn.Embedding))
    shutil.rmtree(there)
    os.makedirs(there)
    mx.save_safetensors(os.path.join(there, "model.safetensors"), dict(tree_flatten(quantised.parameters())))
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    config["quantization"] = {"group_size": 32, "bits": 4}
    with open(os.path.join(there, "config.json"), "w") as f:
        json.dump(config, f)
    rc, said = stage("import", {}, {"mlx": there, "shape": at("shape.json")}, {})
    assert rc == 1 and "quantization: MLX has rounded" in said, said
    print("  refused: %s" % said.strip()[:150])
    ins = {"mlx": os.path.join(there, "model.safetensors"), "shape": at("shape.json")}
    rc, said = stage("import", {}, ins, {})
    assert rc == 1 and 'dtype is "U32"' in said, said
    print("  refused: %s" % said.strip()[:150])
    print("mlx: mlx-lm %s on mlx %s agrees" % (mlx_lm.__version__, mx.__version__))


def main():
    os.makedirs(FOLDER, exist_ok=True)
    with open(at("shape.json"), "w") as f:
        json.dump(SHAPE, f)
    must("pretrain", {"mode": "random", "seed": 5}, {"shape": at("shape.json")}, {"base": at("base.safetensors")})
    check_peft()
    check_mlx()


if __name__ == "__main__":
    sys.exit(main())
