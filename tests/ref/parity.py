"""The model class and AdamW in PyTorch, from the description of the class alone.

    parity.py           compares tests/ref/parity.json with what this program computes now
    parity.py --write   makes tests/ref/parity.json from the seeds below

It shares nothing with the C code but the names of tensors. Forward pass, gradients (autograd) and
torch.optim.AdamW run in float64 on values that are exact in BF16 or F32. tests/unit/parity_test.c
compares the C code with the committed file, so that `make test` needs no Python. Needs PyTorch 1.13
or newer (Debian: python3-torch).
"""

import base64
import json
import math
import os
import struct
import sys

import torch

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "parity.json")

# Every size differs from the others where the class allows it. The real class has norm_eps 1e-5;
# here it is so large that a forgotten or misplaced eps would show.
SHAPE = {
    "vocab": 64, "hidden": 32, "layers_0": 2, "layers_1": 2, "heads": 4, "kv_heads": 2,
    "head_dim": 16, "ffn": 48, "rope_theta": 500000, "norm_eps": 0.01, "context": 16,
    "kv_quant": True,
}  # fmt: skip
RANK, ALPHA = 2, 1.5
EOS = 1
# Both betas as fp32 holds them, for that is what the C code is given. With 0.999 itself the second
# moments would be 1.3e-5 larger (1 - beta2 loses digits); the bias correction takes it back, and the
# parameters are the same.
BETAS = [struct.unpack("<f", struct.pack("<f", b))[0] for b in (0.9, 0.999)]
ADAMW = {
    "lr": 1e-3, "beta1": BETAS[0], "beta2": BETAS[1], "eps": 1e-8, "weight_decay": 0.01,
    "steps": 3,
}  # fmt: skip
# One asymmetric range of each kind: in the first the minimum decides the scale, in the second the
# maximum. Both are small enough to clip some values.
KEY_RANGES = [(-1.75, 1.5), (-1.5, 1.625)]
VALUE_RANGES = [(-1.5, 1.375), (-1.0, 1.25)]
# A value this close to the middle of two steps of a quantiser could round differently in fp32.
ROUNDING_MARGIN = 1e-4

# --- safetensors ---------------------------------------------------------------------------------


def bytes_of(t):
    t = t.detach().contiguous().flatten().to(torch.float32)
    return struct.pack("<%df" % t.numel(), *t.tolist())


def bytes_of_bf16(t):
    raw = bytes_of(t)
    parts = [raw[i : i + 4] for i in range(0, len(raw), 4)]
    assert all(p[:2] == b"\0\0" for p in parts), "not exact in BF16"
    return b"".join(p[2:] for p in parts)


def write_tensors(tensors, metadata, bf16=()):
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, t in tensors.items():
        raw = bytes_of_bf16(t) if name in bf16 else bytes_of(t)
        header[name] = {
            "dtype": "BF16" if name in bf16 else "F32",
            "shape": list(t.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + data


def read_tensors(raw):
    (n,) = struct.unpack_from("<Q", raw, 0)
    header = json.loads(raw[8 : 8 + n])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        part = raw[8 + n + begin : 8 + n + end]
        if entry["dtype"] == "BF16":
            part = b"".join(b"\0\0" + part[i : i + 2] for i in range(0, len(part), 2))
        values = struct.unpack("<%df" % (len(part) // 4), part)
        tensors[name] = torch.tensor(values, dtype=torch.float64).reshape(entry["shape"])
    return tensors


def lines(raw):
    text = base64.b64encode(raw).decode()
    return [text[i : i + 120] for i in range(0, len(text), 120)]


# --- names, in the order of a state dict ---------------------------------------------------------


def linears(layer):
    """(weight, rows, columns, [(adapter, rows)]) of a layer: (segment, number)."""
    s, segment = SHAPE, layer[0]
    q, kv = s["heads"] * s["head_dim"], s["kv_heads"] * s["head_dim"]
    p = "layers.segment_%d.layer_%d." % layer
    if segment == 0:
        at = p + "attention.qkv_transform."
        name = at + "wrapped.fused_linear.weight"
        parts = [(at + "adapters.base_adapter.lora_%d" % i, n) for i, n in enumerate([q, kv, kv])]
    else:
        at = p + "attention.q_transform."
        name = at + "wrapped.weight"
        parts = [(at + "adapters.base_adapter", q)]
    result = [(name, sum(n for _, n in parts), s["hidden"], parts)]
    for module, rows, columns in [
        ("attention.output_transform", s["hidden"], q),
        ("feed_forward.hidden_transform.linear_0", s["ffn"], s["hidden"]),
        ("feed_forward.hidden_transform.linear_1", s["ffn"], s["hidden"]),
        ("feed_forward.output_transform", s["hidden"], s["ffn"]),
    ]:
        at = p + module
        result.append((at + ".wrapped.weight", rows, columns, [(at + ".adapters.base_adapter", rows)]))
    return result


def layers():
    return [(0, i) for i in range(SHAPE["layers_0"])] + [(1, i) for i in range(SHAPE["layers_1"])]


def base_sizes():
    s = SHAPE
    yield "embedding.weight", (s["vocab"], s["hidden"])
    for layer in layers():
        p = "layers.segment_%d.layer_%d." % layer
        qkv, out, gate, up, down = [(n, (rows, columns)) for n, rows, columns, _ in linears(layer)]
        yield p + "attention.norm.weight", (s["hidden"],)
        yield qkv
        if layer[0] == 0:
            yield p + "attention.qk_norm.query_norm.weight", (s["head_dim"],)
            yield p + "attention.qk_norm.key_norm.weight", (s["head_dim"],)
        else:
            yield p + "attention.q_norm.query_norm.weight", (s["head_dim"],)
        yield out
        yield p + "feed_forward.norm.weight", (s["hidden"],)
        yield gate
        yield up
        yield down
    yield "output_norm.weight", (s["hidden"],)


def adapter_sizes():
    for layer in layers():
        for _, _, columns, parts in linears(layer):
            for name, rows in parts:
                yield name + ".a_transpose", (columns, RANK)
                yield name + ".b_transpose", (RANK, rows)


def range_name(layer, what):
    return (
        "layers.segment_%d.layer_%d.attention.kv_quantizer." % layer
        + what
        + "_quantizer.activation_post_process.range"
    )


# --- the model -----------------------------------------------------------------------------------


def rmsnorm(x, weight):
    return weight * x * torch.rsqrt((x * x).mean(-1, keepdim=True) + SHAPE["norm_eps"])


def rope(x, positions):
    """x: (tokens, heads, head_dim); pairs of neighbours."""
    d = x.shape[-1]
    frequency = SHAPE["rope_theta"] ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    angle = positions.to(torch.float64)[:, None, None] * frequency
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = [even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos()]
    return torch.stack(turned, -1).reshape(x.shape)


class Model:
    def __init__(self, base, adapter, kv_quant):
        self.base, self.adapter, self.kv_quant = base, adapter, kv_quant
        self.margin, self.clipped = 1.0, 0  # what the KV quantisers saw

    def linear(self, x, entry):
        name, _, _, parts = entry
        y = x @ self.base[name].T
        if self.adapter is None:
            return y
        return y + torch.cat(
            [
                (x @ self.adapter[at + ".a_transpose"] @ self.adapter[at + ".b_transpose"])
                * (ALPHA / RANK)
                for at, _ in parts
            ],
            -1,
        )

    def fake_quant(self, x, layer, what):
        low, high = self.base[range_name(layer, what)].to(torch.float32)
        scale = max(low / torch.tensor(-128.0), high / torch.tensor(127.0)).item()
        steps = x.detach() / scale
        self.margin = min(self.margin, ((steps - steps.floor()) - 0.5).abs().min().item())
        self.clipped += int(((steps.round() < -128) | (steps.round() > 127)).sum())
        # Straight-through, also where a value is clipped: tamm's gradient (check_tamm.py).
        found = torch.fake_quantize_per_tensor_affine(x.detach(), scale, 0, -128, 127)
        return found + (x - x.detach())

    def attention(self, q, k, v, allowed):
        group = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        scores = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(q.shape[-1])
        p = torch.softmax(scores.masked_fill(~allowed, -math.inf), -1)
        return torch.einsum("hij,jhd->ihd", p, v).reshape(q.shape[0], -1)

    def logits(self, ids):
        s, b, n = SHAPE, self.base, len(ids)
        # Segments: a running count of EOS; positions: earlier tokens of the same segment.
        segment = torch.cumsum(ids == EOS, 0)
        same = segment[:, None] == segment[None, :]
        order = torch.arange(n)
        allowed = same & (order[None, :] <= order[:, None])
        positions = (same & (order[None, :] < order[:, None])).sum(1)
        x = b["embedding.weight"][ids]
        k = v = None
        for layer in layers():
            p = "layers.segment_%d.layer_%d." % layer
            qkv, out, gate, up, down = linears(layer)
            y = self.linear(rmsnorm(x, b[p + "attention.norm.weight"]), qkv)
            y = y.reshape(n, -1, s["head_dim"])
            q = y[:, : s["heads"]]
            if layer[0] == 0:
                k, v = y[:, s["heads"] : s["heads"] + s["kv_heads"]], y[:, s["heads"] + s["kv_heads"] :]
                k = rmsnorm(rope(k, positions), b[p + "attention.qk_norm.key_norm.weight"])
                if self.kv_quant:
                    k, v = self.fake_quant(k, layer, "key"), self.fake_quant(v, layer, "value")
            # Segment 1 goes on with the k and v of the last layer of segment 0.
            norm = "attention.qk_norm." if layer[0] == 0 else "attention.q_norm."
            q = rmsnorm(rope(q, positions), b[p + norm + "query_norm.weight"])
            x = x + self.linear(self.attention(q, k, v, allowed), out)
            g = rmsnorm(x, b[p + "feed_forward.norm.weight"])
            g = self.linear(g, up) * torch.nn.functional.silu(self.linear(g, gate))
            x = x + self.linear(g, down)
        return rmsnorm(x, b["output_norm.weight"]) @ b["embedding.weight"].T

    def loss(self, ids, targets):
        return torch.nn.functional.cross_entropy(self.logits(ids), targets, ignore_index=-1)


# --- what is expected ----------------------------------------------------------------------------


def flat(tensors):
    return torch.cat([t.detach().flatten() for t in tensors])


def fingerprints(gradients, weights):
    """Norm and two projections of each tensor."""
    rows = []
    for g, w in zip(gradients, weights):
        g, w = g.detach().flatten(), w.detach().flatten()
        w = w / w.norm()
        rows.append(torch.stack([g.norm(), g @ w, g @ w.flip(0)]))
    return torch.stack(rows)


def train_base(base, ids, targets, kv_quant):
    """Loss and gradients of every parameter, without an adapter."""
    names = [name for name, _ in base_sizes()]
    leaves = dict(base, **{n: base[n].clone().requires_grad_() for n in names})
    model = Model(leaves, None, kv_quant)
    loss = model.loss(ids, targets)
    loss.backward()
    prints = fingerprints([leaves[n].grad for n in names], [base[n] for n in names])
    return loss.detach(), prints, model.margin


def train_adapter(base, adapter, ids, targets, kv_quant):
    leaves = {n: t.clone().requires_grad_() for n, t in adapter.items()}
    optimizer = torch.optim.AdamW(
        leaves.values(), lr=ADAMW["lr"], betas=(ADAMW["beta1"], ADAMW["beta2"]),
        eps=ADAMW["eps"], weight_decay=ADAMW["weight_decay"],
    )  # fmt: skip
    model = Model(base, leaves, kv_quant)
    result = {"logits": model.logits(ids).detach()}
    for step in range(ADAMW["steps"]):
        optimizer.zero_grad()
        loss = model.loss(ids, targets)
        loss.backward()
        if step == 0:
            result["loss"] = loss.detach().reshape(1)
            result["gradients"] = flat(t.grad for t in leaves.values())
        optimizer.step()
    result["after"] = flat(leaves.values())
    for key, name in ("exp_avg", "moment_1"), ("exp_avg_sq", "moment_2"):
        state = [optimizer.state[t][key] for t in leaves.values()]
        result[name] = fingerprints(state, adapter.values())
    return result, model


def check_packing(base, adapter, ids):
    """The description of the mask says: packed and alone are the same."""
    starts = (ids == EOS).nonzero().flatten().tolist() + [len(ids)]
    model = Model(base, adapter, True)
    packed = model.logits(ids)
    alone = torch.cat([model.logits(ids[a:b]) for a, b in zip(starts, starts[1:])])
    assert (packed - alone).abs().max() < 1e-12


def expect(base, adapter, ids, targets):
    """-> ({variant: tensors}, smallest rounding margin, values clipped)"""
    check_packing(base, adapter, ids)
    results, margin, clipped = {}, 1.0, 0
    for variant, kv_quant in ("off", False), ("on", True):
        tensors, model = train_adapter(base, adapter, ids, targets, kv_quant)
        loss, prints, base_margin = train_base(base, ids, targets, kv_quant)
        tensors["base_loss"], tensors["base_gradients"] = loss.reshape(1), prints
        margin, clipped = min(margin, model.margin, base_margin), clipped + model.clipped
        results[variant] = tensors
    return results, margin, clipped


# --- making and checking the file ----------------------------------------------------------------


def draw(seed):
    torch.manual_seed(seed)

    def normal(size, std):
        values = torch.randn(size, dtype=torch.float32) * std
        return values.to(torch.bfloat16).to(torch.float64)

    base = {}
    for name, size in base_sizes():
        if len(size) == 1:
            base[name] = (1 + normal(size, 0.2)).to(torch.float32).to(torch.float64)
        else:
            base[name] = normal(size, 0.4 if name == "embedding.weight" else size[1] ** -0.5)
    for i in range(SHAPE["layers_0"]):
        base[range_name((0, i), "key")] = torch.tensor(KEY_RANGES[i], dtype=torch.float64)
        base[range_name((0, i), "value")] = torch.tensor(VALUE_RANGES[i], dtype=torch.float64)
    adapter = {}
    for name, size in adapter_sizes():
        std = size[0] ** -0.5 if name.endswith(".a_transpose") else 0.3
        adapter[name] = (torch.randn(size, dtype=torch.float32) * std).to(torch.float64)
    # Three packed samples of 11, 4 and 9 tokens; the first tokens of each are a prompt.
    ids, targets = [], []
    for n, n_prompt in (11, 5), (4, 1), (9, 3):
        sample = [EOS] + torch.randint(4, SHAPE["vocab"], (n - 1,)).tolist()
        ids += sample
        targets += [t if i + 1 >= n_prompt else -1 for i, t in enumerate(sample[1:])] + [-1]
    return base, adapter, torch.tensor(ids), torch.tensor(targets)


def write():
    seed, margin = 0, 0.0
    while margin < ROUNDING_MARGIN:
        seed += 1
        base, adapter, ids, targets = draw(seed)
        results, margin, clipped = expect(base, adapter, ids, targets)
    shape = json.dumps(SHAPE, sort_keys=True, separators=(",", ":"))
    matrices = [n for n, size in base_sizes() if len(size) == 2]
    meta = {"fmforge.kind": "adapter", "fmforge.rank": str(RANK), "fmforge.alpha": "%g" % ALPHA}
    fixture = {
        "made_by": "tests/ref/parity.py with PyTorch %s, seed %d" % (torch.__version__, seed),
        "ids": ids.tolist(),
        "targets": targets.tolist(),
        "segment_starts": (ids == EOS).nonzero().flatten().tolist() + [len(ids)],
        "adamw": ADAMW,
        "base": lines(
            write_tensors(base, {"fmforge.kind": "base", "fmforge.shape": shape}, matrices)
        ),
        "adapter": lines(write_tensors(adapter, meta)),
    }
    for variant, tensors in results.items():
        fixture["expected_" + variant] = lines(write_tensors(tensors, None))
    with open(PATH, "w", newline="\n") as f:
        f.write(pretty(fixture))
    print("parity.json: seed %d, margin %.1e, %d values clipped" % (seed, margin, clipped))


def pretty(fixture):
    """JSON with short values on one line each and base64 as a column."""
    rows = []
    for key, value in fixture.items():
        column = isinstance(value, list) and isinstance(value[0], str)
        rows.append(json.dumps(key) + ": " + json.dumps(value, indent=0 if column else None))
    return "{\n" + ",\n".join(rows) + "\n}\n"


def check():
    with open(PATH) as f:
        fixture = json.load(f)

    def tensors(key):
        return read_tensors(base64.b64decode("".join(fixture[key])))

    ids, targets = torch.tensor(fixture["ids"]), torch.tensor(fixture["targets"])
    assert fixture["adamw"] == ADAMW
    results, margin, clipped = expect(tensors("base"), tensors("adapter"), ids, targets)
    assert margin >= ROUNDING_MARGIN / 2 and clipped > 0
    worst = 0.0
    for variant, found in results.items():
        stored = tensors("expected_" + variant)
        assert sorted(stored) == sorted(found)
        for name, value in found.items():
            worst = max(worst, ((value - stored[name]).norm() / value.norm()).item())
    print("parity.json: PyTorch %s, largest relative difference %.1e" % (torch.__version__, worst))
    return 0 if worst < 1e-6 else 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] == ["--write"]:
        write()
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        sys.exit(check())
