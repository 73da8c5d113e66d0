"""A whole training run, by the train stage and by PyTorch, side by side.

    train_compare.py [--epochs N] [--rate PEAK] [--seeds N ...]

Same base, rows, order of rows and hyperparameters: clinc/domains, 8 epochs, rate 3e-3, batch 8, prompt dropout 0.1.
What PyTorch trains is written as an adapter file, so that both adapters are scored by the eval
stage. The PyTorch side is float32 and shares no code with C: it unpacks the base, draws the order
of the rows and the dropped prompt tokens from the seed, and trains plain LoRA modules with
torch.optim.AdamW.

Training multiplies rounding errors. How much is measured by a twin: the train stage once more, from
a recovery adapter that is changed by one part in 10^7. Prints a table of the stage and PyTorch, one
of the stage and its twin, and speeds; of two values in a cell the first is the stage's. Status 1:
losses more than 1 % apart in the first epoch. Start it with train_compare.sh. README.md has the
results.
"""

import argparse
import collections
import hashlib
import json
import math
import os
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

DATA = "../shared/data/clinc/domains"
TOOLKIT = "configs/toolkits/nano-1.0"
STAGES = "build/bin/stage-"
WORK = "build/ref-train"

PREP = {"max_length": 256, "pack": False}
TRAIN = {
    "rank": 32, "epochs": 8, "learning_rate": 3e-3, "batch_size": 8, "prompt_dropout": 0.1,
    "lead_tokens": 0, "lead_weight": 1,
    "keep": "last", "warmup_fraction": 0.05, "weight_decay": 0.01, "beta1": 0.9, "beta2": 0.999,
    "eps": 1e-8, "clip": 1.0,
}  # fmt: skip
EVAL = {"max_new_tokens": 16}
SMOOTH_STEPS = 50
BOUND = 0.01
NUDGE = 1e-7
VALID_BATCH = 16
PAD = 0

# --- random numbers: Philox4x32-10, key from SHA-256("<seed>/<stream>") --------------------------


def stream_key(seed, stream):
    return struct.unpack("<2I", hashlib.sha256(b"%d/%s" % (seed, stream.encode())).digest()[:8])


def philox(key, block):
    """The four 32-bit values of each block: (blocks, 4)."""
    low = np.uint64(0xFFFFFFFF)
    block = np.asarray(block, dtype=np.uint64)
    c = [block & low, block >> np.uint64(32), np.zeros_like(block), np.zeros_like(block)]
    k0, k1 = key
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [
            (b >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), b & low,
            (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), a & low,
        ]  # fmt: skip
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, -1)


def values_at(key, first, n):
    """Values [first, first + n) of a stream."""
    blocks = np.arange(first // 4, (first + n + 3) // 4)
    return philox(key, blocks).reshape(-1)[first % 4 :][:n]


def stream_values(key):
    first = 0
    while True:
        yield from (int(v) for v in values_at(key, first, 1024))
        first += 1024


def row_order(seed, epoch, n_rows):
    """Fisher-Yates from the end; a value past the largest multiple of the range is drawn again."""
    order, values = list(range(n_rows)), stream_values(stream_key(seed, "rows/%d" % epoch))
    for i in range(n_rows, 1, -1):
        v = next(v for v in values if v < 2**32 - 2**32 % i)
        order[i - 1], order[v % i] = order[v % i], order[i - 1]
    return order


# --- files ---------------------------------------------------------------------------------------

Row = collections.namedtuple("Row", "ids labels")  # labels[i]: there is loss on predicting ids[i]


def read_rows(path):
    with open(path, "rb") as f:
        raw = f.read()
    assert raw[:8] == b"FMTOKS01"
    n_rows, _, n_tokens = struct.unpack_from("<3Q", raw, 16)
    starts = np.frombuffer(raw, "<u8", n_rows + 1, 96).astype(int)
    tokens = np.frombuffer(raw, "<u4", n_tokens, 96 + 8 * (n_rows + 1))
    ids, labels = (tokens & 0x7FFFFFFF).astype(np.int64), tokens >> 31 == 1
    rows = [Row(ids[a:b], labels[a:b]) for a, b in zip(starts, starts[1:])]
    assert all((row.ids == row.ids[0]).sum() == 1 for row in rows), "packed rows"
    return rows


def read_tensors(path):
    """-> ({name: array as stored}, metadata)"""
    with open(path, "rb") as f:
        raw = f.read()
    (n,) = struct.unpack_from("<Q", raw, 0)
    header = json.loads(raw[8 : 8 + n])
    metadata, tensors = header.pop("__metadata__", {}), {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        part = raw[8 + n + begin : 8 + n + end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(part, "<u2").astype("<u4") << 16).view("<f4")
        else:
            values = np.frombuffer(part, {"U8": "u1", "F16": "<f2", "F32": "<f4"}[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors, metadata


def write_adapter(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, t in tensors.items():
        raw = t.numpy().astype("<f4").tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def unpack(stored, scale, layout):
    """Codes of 2 or 4 bits in lanes of 32 -> the matrix. A group is 16 outputs x one lane each."""
    form, rows, columns = layout.split()
    bits = {"q2-16x16-v1": 2, "q4-16x8-v1": 4}[form]
    rows, columns, per_lane = int(rows), int(columns), 32 // bits
    lanes = stored.view("<u4").reshape(rows // 16, columns // per_lane, 16, 1)
    codes = lanes >> (bits * np.arange(per_lane, dtype=np.uint32)) & (2**bits - 1)
    codes = codes.transpose(0, 2, 1, 3).reshape(rows, columns).astype(np.float32)
    return scale.reshape(-1, 1) * (codes - np.float32((2**bits - 1) / 2))


def read_base(path):
    """-> ({name: dense float32}, shape)"""
    stored, metadata = read_tensors(path)
    base = {}
    for name, values in stored.items():
        layout = metadata.get("layout:" + name)
        if layout:
            values = unpack(values, stored[name + ".scale"], layout)
        base[name] = torch.from_numpy(values.astype(np.float32))
    return base, json.loads(metadata["fmforge.shape"])


def read_adapter(path):
    stored, metadata = read_tensors(path)
    tensors = {n: torch.from_numpy(v.astype(np.float32)) for n, v in stored.items()}
    return tensors, metadata


# --- the model -----------------------------------------------------------------------------------


class Lora(nn.Module):
    def __init__(self, name, tensors, scale):
        super().__init__()
        self.name, self.scale = name, scale
        self.a = nn.Parameter(tensors[name + ".a_transpose"].clone())
        self.b = nn.Parameter(tensors[name + ".b_transpose"].clone())

    def forward(self, x):
        return (x @ self.a * self.scale) @ self.b


class Linear(nn.Module):
    """A frozen matrix and one LoRA module, or one for each of Q, K and V."""

    def __init__(self, weight, loras):
        super().__init__()
        self.weight, self.loras = weight, nn.ModuleList(loras)

    def forward(self, x):
        added = [lora(x) for lora in self.loras]
        added = torch.cat(added, -1) if len(added) > 1 else added[0]
        return functional.linear(x, self.weight) + added


class KvQuantizer(nn.Module):
    """Symmetric int8 by a fixed range; the gradient passes, also where a value is clipped."""

    def __init__(self, limits):
        super().__init__()
        low, high = limits
        self.scale = max(low / -128, high / 127).item()

    def forward(self, x):
        found = torch.fake_quantize_per_tensor_affine(x.detach(), self.scale, 0, -128, 127)
        return found + (x - x.detach())


def norm(x, weight, eps):
    return weight * x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps)


def rotate(x, angle):
    """RoPE on pairs of neighbours. x: (rows, tokens, heads, width)."""
    cos, sin = angle.cos().float()[:, None], angle.sin().float()[:, None]
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).reshape(x.shape)


class Layer(nn.Module):
    """Segment 0 makes keys and values; segment 1 takes those of segment 0's last layer."""

    def __init__(self, segment, number, base, adapter, scale, shape):
        super().__init__()
        at = "layers.segment_%d.layer_%d." % (segment, number)
        self.makes_kv, self.shape = segment == 0, shape

        def lora(name):
            return Lora(at + name, adapter, scale)

        def linear(name):
            weight = base[at + name + ".wrapped.weight"]
            return Linear(weight, [lora(name + ".adapters.base_adapter")])

        if self.makes_kv:
            name = "attention.qkv_transform."
            parts = [lora(name + "adapters.base_adapter.lora_%d" % i) for i in range(3)]
            self.qkv = Linear(base[at + name + "wrapped.fused_linear.weight"], parts)
            self.query_norm = base[at + "attention.qk_norm.query_norm.weight"]
            self.key_norm = base[at + "attention.qk_norm.key_norm.weight"]
            name = at + "attention.kv_quantizer.%s_quantizer.activation_post_process.range"
            self.quantize_k = KvQuantizer(base[name % "key"])
            self.quantize_v = KvQuantizer(base[name % "value"])
        else:
            self.qkv = linear("attention.q_transform")
            self.query_norm = base[at + "attention.q_norm.query_norm.weight"]
        self.attention_norm = base[at + "attention.norm.weight"]
        self.feed_forward_norm = base[at + "feed_forward.norm.weight"]
        self.output = linear("attention.output_transform")
        self.gate = linear("feed_forward.hidden_transform.linear_0")
        self.up = linear("feed_forward.hidden_transform.linear_1")
        self.down = linear("feed_forward.output_transform")

    def attend(self, x, kv, angle, mask):
        s, eps = self.shape, self.shape["norm_eps"]
        y = self.qkv(norm(x, self.attention_norm, eps))
        y = y.reshape(*x.shape[:2], -1, s["head_dim"])
        q = norm(rotate(y[:, :, : s["heads"]], angle), self.query_norm, eps)
        if self.makes_kv:
            k, v = y[:, :, s["heads"] :].split(s["kv_heads"], 2)
            k = self.quantize_k(norm(rotate(k, angle), self.key_norm, eps))
            group = s["heads"] // s["kv_heads"]
            kv = [t.repeat_interleave(group, 2).transpose(1, 2) for t in (k, self.quantize_v(v))]
        k, v = kv
        scores = q.transpose(1, 2) @ k.transpose(2, 3) / math.sqrt(s["head_dim"]) + mask
        found = (torch.softmax(scores, -1) @ v).transpose(1, 2)
        return self.output(found.reshape(*x.shape[:2], -1)), kv

    def forward(self, x, kv, angle, mask):
        attended, kv = self.attend(x, kv, angle, mask)
        x = x + attended
        y = norm(x, self.feed_forward_norm, self.shape["norm_eps"])
        return x + self.down(functional.silu(self.gate(y)) * self.up(y)), kv


class Model(nn.Module):
    def __init__(self, base, adapter, scale, shape):
        super().__init__()
        self.shape = shape
        self.embedding, self.output_norm = base["embedding.weight"], base["output_norm.weight"]
        numbers = [(0, i) for i in range(shape["layers_0"])]
        numbers += [(1, i) for i in range(shape["layers_1"])]
        self.layers = nn.ModuleList(
            Layer(segment, i, base, adapter, scale, shape) for segment, i in numbers
        )

    def forward(self, ids, wanted):
        """Logits where `wanted`. Rows are padded at their end, which no earlier token sees."""
        d, n = self.shape["head_dim"], ids.shape[1]
        frequency = self.shape["rope_theta"] ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
        angle = torch.arange(n, dtype=torch.float64)[:, None] * frequency
        mask = torch.full((n, n), -math.inf).triu(1)
        x, kv = functional.embedding(ids, self.embedding), None
        for layer in self.layers:
            x, kv = layer(x, kv, angle, mask)
        x = norm(x[wanted], self.output_norm, self.shape["norm_eps"])
        return functional.linear(x, self.embedding)

    def loss_sum(self, rows):
        ids, labels = padded(rows)
        wanted = functional.pad(labels[:, 1:], (0, 1))
        return functional.cross_entropy(self(ids, wanted), ids[labels], reduction="sum")

    def adapter(self):
        tensors = {}
        for module in self.modules():
            if isinstance(module, Lora):
                tensors[module.name + ".a_transpose"] = module.a.detach().clone()
                tensors[module.name + ".b_transpose"] = module.b.detach().clone()
        return tensors


# --- training ------------------------------------------------------------------------------------


def padded(rows):
    n = max(len(row.ids) for row in rows)
    ids = np.full((len(rows), n), PAD, np.int64)
    labels = np.zeros((len(rows), n), bool)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)], labels[i, : len(row.ids)] = row.ids, row.labels
    return torch.from_numpy(ids), torch.from_numpy(labels)


def drop_prompt(row, share, key, first):
    """Token i becomes padding where value first + i is small: neither a target nor what predicts
    one, nor the row's first token."""
    predicts = np.append(row.labels[1:], False)
    is_prompt = ~row.labels & ~predicts
    is_prompt[0] = False
    drawn = values_at(key, first, len(row.ids)) < int(share * 2**32)
    return Row(np.where(is_prompt & drawn, PAD, row.ids), row.labels)


def batches(rows, config):
    """The rows of each step: an epoch's permutation, dealt to its steps as evenly as it goes."""
    n, share = len(rows), config["prompt_dropout"]
    per_epoch = -(-n // config["batch_size"])
    longest, key = max(len(row.ids) for row in rows), stream_key(config["seed"], "prompt_dropout")
    for epoch in range(config["epochs"]):
        order = row_order(config["seed"], epoch, n)
        for i in range(per_epoch):
            chosen = order[n * i // per_epoch : n * (i + 1) // per_epoch]
            yield [
                drop_prompt(rows[r], share, key, (epoch * n + r) * longest) if share else rows[r]
                for r in chosen
            ]


def rate(config, step, n_steps):
    """Linear warmup to the peak, then half a cosine to 0. Steps count from 1."""
    warmup = min(math.ceil(config["warmup_fraction"] * n_steps), n_steps)
    if step <= warmup:
        return config["learning_rate"] * step / warmup
    part = (step - warmup - 1) / (n_steps - warmup)
    return config["learning_rate"] * 0.5 * (1 + math.cos(math.pi * part))


def n_labels(rows):
    return int(sum(row.labels.sum() for row in rows))


def evaluate(model, rows):
    with torch.no_grad():
        parts = [rows[i : i + VALID_BATCH] for i in range(0, len(rows), VALID_BATCH)]
        return sum(model.loss_sum(part).item() for part in parts) / n_labels(rows)


def train_torch(model, rows, valid, config):
    """-> [(step, loss sum, labels)], [(step, loss on the valid rows)]"""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=0, betas=(config["beta1"], config["beta2"]), eps=config["eps"],
        weight_decay=config["weight_decay"],
    )  # fmt: skip
    per_epoch = -(-len(rows) // config["batch_size"])
    losses, watched = [], [(0, evaluate(model, valid))]
    for step, batch in enumerate(batches(rows, config), 1):
        optimizer.param_groups[0]["lr"] = rate(config, step, per_epoch * config["epochs"])
        optimizer.zero_grad()
        loss, labels = model.loss_sum(batch), n_labels(batch)
        (loss / labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), config["clip"])
        optimizer.step()
        losses.append((step, loss.item(), labels))
        if step % per_epoch == 0:
            watched.append((step, evaluate(model, valid)))
    return losses, watched


# --- the stages ----------------------------------------------------------------------------------


def run_stage(name, config, folder, inputs):
    """Runs a stage on one thread; its outputs are folder/<port>. -> CPU seconds"""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    described = json.loads(subprocess.check_output([STAGES + name, "--describe"]))
    complete = {p["name"]: p["default"] for p in described["params"]}
    assert set(config) <= set(complete)
    path = os.path.join(folder, "config.json")
    with open(path, "w") as f:
        json.dump(dict(complete, **config), f)
    command = [STAGES + name, "--threads", "1", "--config", path]
    for port, source in inputs.items():
        command += ["--in", port + "=" + source]
    for port in described["outputs"]:
        command += ["--out", "%s=%s/%s" % (port["name"], folder, port["name"])]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def facet(name):
    return os.path.join(TOOLKIT, name)


TEXT = {"tokenizer": facet("tokenizer.model"), "template": facet("template.json")}


def prepare():
    inputs = {"raw": DATA + "/train.jsonl", "valid": DATA + "/valid.jsonl"}
    inputs = dict(inputs, golden=DATA + "/golden.jsonl", **TEXT)
    run_stage("prep", PREP, WORK + "/data", inputs)


def score(folder, adapter):
    inputs = {"base": facet("base.safetensors"), "adapter": adapter}
    run_stage("eval", EVAL, folder, dict(inputs, golden=DATA + "/golden.jsonl", **TEXT))
    with open(folder + "/answers") as f:
        answers = [json.loads(line) for line in f]
    with open(folder + "/metrics") as f:
        return json.load(f)["exact_match"], answers


def recovery(config):
    return facet("recovery-r%d.safetensors" % config["rank"])


def nudge(path, config):
    """The recovery adapter, changed by no more than the rounding of fp32."""
    tensors, metadata = read_adapter(recovery(config))
    generator = torch.Generator().manual_seed(config["seed"])
    for t in tensors.values():
        t *= 1 + NUDGE * torch.randn(t.shape, generator=generator)
    write_adapter(path, tensors, metadata)


def by_stage(folder, config, init):
    """-> curve, losses on the valid rows, CPU seconds, and where the adapter is"""
    inputs = {"train": WORK + "/data/train", "valid": WORK + "/data/valid"}
    inputs = dict(inputs, base=facet("base.safetensors"), init=init)
    seconds = run_stage("train", config, folder, inputs)
    with open(folder + "/report") as f:
        blocks = json.load(f)["blocks"]
    lines = next(block["lines"] for block in blocks if block["type"] == "series")
    curve, watched = [list(zip(line["x"], line["y"])) for line in lines]
    return curve, watched, seconds, folder + "/checkpoint"


def by_pytorch(folder, config):
    """The same. Its curve has every step: (step, sum of the losses, labels)."""
    tensors, metadata = read_adapter(recovery(config))
    base, shape = read_base(facet("base.safetensors"))
    model = Model(base, tensors, float(metadata["fmforge.alpha"]) / config["rank"], shape)
    rows, valid = read_rows(WORK + "/data/train"), read_rows(WORK + "/data/valid")
    started = time.process_time()
    curve, watched = train_torch(model, rows, valid, config)
    seconds = time.process_time() - started
    # As the train stage does: what is scored is what a package holds.
    rounded = {name: t.half().float() for name, t in model.adapter().items()}
    path = folder + "/checkpoint"
    write_adapter(path, rounded, metadata)
    return curve, watched, seconds, path


# --- one training and its record -----------------------------------------------------------------

FMFORGE, TWIN, PYTORCH = "fmforge", "twin", "pytorch"


def make(who, folder, config):
    os.makedirs(folder)
    if who == PYTORCH:
        made = by_pytorch(folder, config)
    elif who == TWIN:
        nudge(folder + "/init", config)
        made = by_stage(folder + "/train", config, folder + "/init")
    else:
        made = by_stage(folder + "/train", config, recovery(config))
    exact_match, answers = score(folder + "/eval", made[3])
    return {
        "curve": made[0], "watched": made[1], "seconds": made[2], "adapter": made[3],
        "exact_match": exact_match, "expected": [a["expected"] for a in answers],
        "answers": [a["answer"] for a in answers],
    }  # fmt: skip


def identity(config):
    """What a record depends on, but for this file."""
    found = {"config": config}
    for name in "train", "eval":
        with open(STAGES + name, "rb") as f:
            found[name] = hashlib.sha256(f.read()).hexdigest()
    return found


def record(who, config):
    """Trains and scores, or takes what an earlier call has found."""
    name = "%s-%d-epochs-%g-seed-%d"
    name %= (who, config["epochs"], config["learning_rate"], config["seed"])
    folder, of = os.path.join(WORK, name), identity(config)
    path = folder + "/record.json"
    if os.path.exists(path):
        with open(path) as f:
            found = json.load(f)
        if found["of"] == of:
            return found
    shutil.rmtree(folder, ignore_errors=True)
    found = dict(make(who, folder, config), of=of)
    with open(path, "w") as f:
        json.dump(found, f)
    return found


# --- the comparison ------------------------------------------------------------------------------


class Pair:
    """The train stage's record and another of the same config."""

    def __init__(self, one, other, config):
        self.one, self.other, self.config = one, other, config
        self.steps = [step for step, _ in one["curve"]]
        self.curves = self.points(one), self.points(other)

    def points(self, found):
        """A point of the stage's curve is the mean since the point before."""
        if len(found["curve"][0]) == 2:
            return [loss for _, loss in found["curve"]]
        curve, first = [], 0
        for step in self.steps:
            part = found["curve"][first:step]
            curve.append(sum(loss for _, loss, _ in part) / sum(n for _, _, n in part))
            first = step
        return curve

    def smoothed(self, last=None):
        """Means over SMOOTH_STEPS steps, as (one, other), up to step `last`."""
        n = max(1, SMOOTH_STEPS // self.steps[0])
        ends = [i for i in range(n, len(self.steps) + 1) if not last or self.steps[i - 1] <= last]
        return [[sum(curve[i - n : i]) / n for i in ends] for curve in self.curves]

    def first_epoch(self):
        return self.smoothed(self.one["watched"][1][0])

    def watched(self, epoch):
        return self.one["watched"][epoch][1], self.other["watched"][epoch][1]

    def same_answers(self):
        return sum(a == b for a, b in zip(self.one["answers"], self.other["answers"]))

    def right_alone(self):
        both = list(zip(self.one["answers"], self.other["answers"], self.one["expected"]))
        return sum(a == e != b for a, b, e in both), sum(b == e != a for a, b, e in both)

    def apart(self):
        """How far the adapters are from each other, by how far the stage's came."""
        paths = recovery(self.config), self.one["adapter"], self.other["adapter"]
        init, one, other = [read_adapter(path)[0] for path in paths]
        apart = sum((one[name] - other[name]).double().square().sum() for name in init)
        moved = sum((one[name] - init[name]).double().square().sum() for name in init)
        return math.sqrt(apart / moved)


def differences(one, other):
    return [abs(x - y) / abs(x) for x, y in zip(one, other)]


def percents(curves):
    found = differences(*curves)
    return "%.2f, %.2f" % (100 * max(found), 100 * statistics.mean(found))


def percent(one, other):
    return "%+.2f" % (100 * (other / one - 1))


# Heads of the columns, and what stands there.
COLUMNS = [
    ("epoch 1: max, mean %", lambda p: percents(p.first_epoch())),
    ("held-out %", lambda p: percent(*p.watched(1))),
    ("whole run: max, mean %", lambda p: percents(p.smoothed())),
    ("held-out at the end", lambda p: "%.4f, %.4f" % p.watched(-1)),
    ("exact_match", lambda p: "%.3f, %.3f" % (p.one["exact_match"], p.other["exact_match"])),
    ("same answer", lambda p: "%d" % p.same_answers()),
    ("right alone", lambda p: "%d, %d" % p.right_alone()),
    ("apart", lambda p: "%.3f" % p.apart()),
]


def show(title, pairs):
    print("| seed, %s | %s |" % (title, " | ".join(head for head, _ in COLUMNS)))
    print("|" + "---|" * (1 + len(COLUMNS)))
    for pair in pairs:
        cells = [cell(pair) for _, cell in COLUMNS]
        print("| %d | %s |" % (pair.config["seed"], " | ".join(cells)))
    scores = [[p.one["exact_match"] for p in pairs], [p.other["exact_match"] for p in pairs]]
    print("\nmean exact_match %.4f, %.4f\n" % tuple(map(statistics.mean, scores)))


def show_speed(pairs):
    tokens = sum(len(row.ids) for row in read_rows(WORK + "/data/train"))
    ratios = []
    for p in pairs:
        speeds = [tokens * p.config["epochs"] / found["seconds"] for found in (p.one, p.other)]
        ratios.append(speeds[0] / speeds[1])
        print("seed %d: tokens per CPU second %.0f, %.0f" % (p.config["seed"], *speeds))
    print("the train stage by PyTorch: %.2f (median)" % statistics.median(ratios))


def agree(pairs):
    """The first epoch within BOUND. Later rounding decides, for the score too: see the twin."""
    watched = [differences(*[[loss] for loss in p.watched(1)]) for p in pairs]
    found = watched + [differences(*p.first_epoch()) for p in pairs]
    return max(map(max, found)) <= BOUND


def main():
    parser = argparse.ArgumentParser(description="See the text at the top of the file.")
    parser.add_argument("--epochs", type=int, default=TRAIN["epochs"])
    parser.add_argument("--rate", type=float, default=TRAIN["learning_rate"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    a = parser.parse_args()
    torch.set_num_threads(1)
    prepare()
    configs = [dict(TRAIN, epochs=a.epochs, learning_rate=a.rate, seed=s) for s in a.seeds]
    found = [[record(who, c) for who in (FMFORGE, TWIN, PYTORCH)] for c in configs]
    pairs = [Pair(one, other, c) for (one, _, other), c in zip(found, configs)]
    show("PyTorch", pairs)
    show("twin", [Pair(one, twin, c) for (one, twin, _), c in zip(found, configs)])
    show_speed(pairs)
    return 0 if agree(pairs) else 1


if __name__ == "__main__":
    sys.exit(main())
