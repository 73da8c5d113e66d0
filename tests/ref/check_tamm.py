"""fmforge against Apple's own library of the class: tamm's AFMTextV7, LoRA and KV quantisers.

    check_tamm.py            tamm.json; a small shape; the full width with 1 + 1 layers
    check_tamm.py --small    without the full width: a minute
    check_tamm.py --write    makes tests/ref/tamm.json, which tests/unit/parity_test.c compares with

Needs tamm, PyTorch and NumPy (README.md, "Apple's own library"); without tamm it says skipped. The
model is tamm's, unchanged and in fp32; its random state goes through torch.save, the import stage
and model_tool.c, so what is compared is what a user of the toolkit would have. Compared are logits,
loss (tamm's own layer) and all LoRA gradients (autograd), with KV quantisers and without, packed
samples with one sample at a time, tokens one by one with all at once. Then the adapter comes back
through the export_torch stage into a fresh model. Status 1: a figure is past its bound.
"""

import base64
import copy
import json
import os
import sys

try:
    import tamm
except ImportError:
    print("tamm: skipped: the package tamm is not here (README.md says how)")
    sys.exit(0)

import torch
from tamm.adapters import LoRAModelAdapter
from tamm.ao.arch_optimizers import KVQuantArchOptimizer
from tamm.ao.layers import FakeQuantize
from tamm.layers.transformer.kv_cache import VanillaKVCache
from tamm.models.afm_text import AFMTextV7

import ours
import parity

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tamm.json")
# norm_eps is so large that a misplaced one would show.
SMALL = {
    "vocab": 64, "hidden": 64, "layers_0": 3, "layers_1": 2, "heads": 4, "kv_heads": 2,
    "head_dim": 16, "ffn": 96, "rope_theta": 500000, "norm_eps": 0.01, "context": 4096,
}  # fmt: skip
WIDE = dict(
    SMALL, vocab=4096, hidden=2048, layers_0=1, layers_1=1, heads=16, head_dim=128, ffn=6656,
    norm_eps=1e-5,
)  # fmt: skip
FIXTURE = dict(SMALL, hidden=32, layers_0=2, head_dim=8, ffn=48, context=32)
# Asymmetric; so small that a tenth of the values is clipped.
KEY_RANGE, VALUE_RANGE = (-1.75, 1.5), (-1.5, 1.625)
# A value this close to the middle of two steps could be rounded the other way in fp32. Short samples
# are drawn until there is none; in 4,095 tokens there always are.
MARGIN, MARGIN_WIDE = 1e-4, 1.5e-4


class Case:
    def __init__(self, name, shape, rank, alpha, kv_quant, on_grid):
        self.name = "%s%s%s" % (name, ", KV quantised" if kv_quant else "", ", 2-bit" if on_grid else "")
        self.folder = os.path.join(ours.WORK, self.name.replace(" ", "_").replace(",", ""))
        self.shape = dict(shape, kv_quant=kv_quant)
        self.rank, self.alpha, self.on_grid = rank, alpha, on_grid

    def rounded(self, batch, precision):
        """May a KV quantiser round the other way?"""
        return self.shape["kv_quant"] and (precision == "int16" or len(batch.ids) == 4095)

    def fresh(self):
        s = self.shape
        quantisers = {"kv_quant": KVQuantArchOptimizer(freeze_qparams=True)}
        model = AFMTextV7.create(
            vocab_size=s["vocab"], hidden_dim=s["hidden"], num_layers=s["layers_0"] + s["layers_1"],
            num_kv_reuse_layers=s["layers_1"], num_heads=s["heads"], num_kv_heads=s["kv_heads"],
            hidden_dim_scale_factor=s["ffn"] / s["hidden"], rope_theta=s["rope_theta"],
            include_loss_layer=True, arch_optimizers=quantisers if s["kv_quant"] else None,
            adapters={"base_adapter": LoRAModelAdapter(rank=self.rank, alpha=self.alpha)},
            active_adapter="base_adapter",
        )  # fmt: skip
        for module in model.modules():
            if hasattr(module, "eps"):
                module.eps = s["norm_eps"]
        for name, p in model.named_parameters():
            p.requires_grad_("adapter" in name)
        return model.eval()

    def draw(self, seed):
        """A model with random values: bf16 ones, or such as lie on the grids of a packed base."""
        torch.manual_seed(seed)
        model = self.fresh()
        for name, t in model.state_dict().items():
            if name != "output_transform.weight" and t.is_floating_point():
                t.copy_(self.values(name, t.shape))
        return model

    def values(self, name, size):
        if name.endswith(".range"):
            return torch.tensor(KEY_RANGE if "key_quantizer" in name else VALUE_RANGE)
        if name.endswith(".a_transpose"):
            return torch.randn(size) / size[0] ** 0.5
        if name.endswith(".b_transpose"):
            return torch.randn(size) * 0.4 / self.rank**0.5
        if len(size) == 1:
            return 1 + 0.2 * torch.randn(size)
        if name == "embedding.weight" and self.on_grid:  # 16 levels, a scale for each row
            scale = 0.1 + 0.02 * torch.rand(size[0], 1)
            return scale * (torch.randint(0, 16, size).float() - 7.5)
        if self.on_grid:  # 4 levels, one scale
            return (0.9 / size[1] ** 0.5) * (torch.randint(0, 4, size).float() - 1.5)
        values = torch.randn(size) * (0.4 if name == "embedding.weight" else size[1] ** -0.5)
        return values.bfloat16().float()


def watch(model, margin):
    """What the KV quantisers see from now on: values near a middle, values clipped, all."""
    seen = {"near": 0, "clipped": 0, "all": 0}

    def hook(module, args):
        scale, _ = module.activation_post_process.calculate_qparams()
        steps = args[0].detach().double() / scale.double()
        seen["near"] += int(((steps - steps.floor() - 0.5).abs() < margin).sum())
        seen["clipped"] += int(((steps.round() < -128) | (steps.round() > 127)).sum())
        seen["all"] += steps.numel()

    for module in model.modules():
        if isinstance(module, FakeQuantize):
            module.register_forward_pre_hook(hook)
    return seen


def clear_batch(model, seen, lengths, vocab):
    """The first samples whose keys and values all keep away from the middles of steps."""
    for seed in range(1, 2000):
        batch = ours.Batch(lengths, vocab, seed)
        seen["near"] = 0
        run(model, batch, False)
        if seen["near"] == 0:
            return batch
    raise AssertionError("no such samples")


def run(model, batch, backward):
    """-> logits (T, V), loss, gradients by name"""
    model.zero_grad()
    ids, labels = torch.tensor([batch.ids]), torch.tensor([batch.targets])
    labels[labels < 0] = -100
    with torch.set_grad_enabled(backward):
        out = model(ids, labels=labels, segment_ids=torch.cumsum(ids == ours.EOS, 1))
    if backward:
        out.loss.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return out.logits.detach()[0], out.loss.detach(), gradients


def one_by_one(model, batch, shape, n_prompt):
    """Logits with a cache: n_prompt tokens, then each alone."""
    n = len(batch.ids)
    cache = VanillaKVCache(
        shape["layers_0"], 1, n, shape["kv_heads"] * shape["head_dim"], dtype=torch.float32
    )
    rows, ids = [], torch.tensor([batch.ids])
    with torch.no_grad():
        for a, b in [(0, n_prompt)] + [(i, i + 1) for i in range(n_prompt, n)]:
            view = cache.up_to_index(b)
            rows.append(model(ids[:, a:b], kv_cache=view).logits[0])
    return torch.cat(rows)


def errors_of(found, logits, loss, gradients):
    return {
        "logits": ours.by_token(found["logits"], logits),
        "loss": ours.relative(found["loss"], loss),
        "gradients": ours.by_tensor(found, gradients),
    }


def twin_of(figures, name, model, batch, precision, expected):
    """What tamm itself makes of an error like that of the precision, in an embedding."""
    nudge = 1e-6 if precision == "f32" else 1e-4
    twin = copy.deepcopy(model)
    torch.manual_seed(1)
    weight = twin.embedding.weight
    weight.data *= 1 + nudge * torch.randn(weight.shape)
    logits, loss, gradients = run(twin, batch, True)
    errors = errors_of(dict(gradients, logits=logits, loss=loss), *expected)
    figures.say("%s; tamm and tamm with an embedding %g apart" % (name, nudge), errors)
    return errors


def compare(figures, case, files, model, batch, what, precisions):
    expected = run(model, batch, True)
    for precision in precisions:
        found = ours.compute(*files, batch, precision)
        rounded = case.rounded(batch, precision)
        name = "%s, %s, %s" % (case.name, what, precision)
        twin = twin_of(figures, name, model, batch, precision, expected) if rounded else None
        figures.add(name, errors_of(found, *expected), precision, rounded, twin)


def check_packing(figures, case, files, model, batch):
    """Packed by one side, a sample at a time by the other."""
    found = ours.compute(*files, batch)["logits"]
    alone = torch.cat([run(model, sample, False)[0] for sample in batch.samples()])
    figures.add(case.name + ", packed by us, alone by tamm", {"logits": ours.by_token(found, alone)})
    packed = run(model, batch, False)[0]
    found = torch.cat([ours.compute(*files, sample)["logits"] for sample in batch.samples()])
    figures.add(case.name + ", packed by tamm, alone by us", {"logits": ours.by_token(found, packed)})


def check_generation(figures, case, files, model, batch, precisions):
    whole = run(model, batch, True)
    expected, cached = whole[0], one_by_one(model, batch, case.shape, 9)
    for precision in precisions:
        found = ours.compute(*files, batch, precision, 9)["logits"]
        errors = {
            "logits": ours.by_token(found, cached),
            "and tamm's prefill": ours.by_token(found, expected),
        }
        what = "%s, 9 tokens and %d one by one, %s" % (case.name, len(batch.ids) - 9, precision)
        rounded = case.rounded(batch, precision)
        twin = twin_of(figures, what, model, batch, precision, whole)["logits"] if rounded else 0.0
        figures.add(what, errors, precision, rounded, dict.fromkeys(errors, twin))


def check_export(figures, case, files, model, batch):
    """The adapter's file by its keys and values, into a fresh model: nothing may be different."""
    state = model.state_dict()
    adapter = torch.load(ours.exported(case.folder, *files, "adapter", case.alpha), weights_only=True)
    assert list(adapter) == [n for n in state if "adapter" in n], list(adapter)[:4]
    assert all(torch.equal(adapter[n], state[n]) for n in adapter)
    whole = torch.load(ours.exported(case.folder, *files, "base", case.alpha), weights_only=True)
    assert all(torch.equal(whole[n], state[n]) for n in whole)
    again = case.fresh()
    missing, unexpected = again.load_state_dict(whole, strict=False)
    # The embedding's second name, and what no one reads while the ranges are frozen.
    missing = [n for n in missing if n != "output_transform.weight" and not n.endswith("num_samples")]
    assert not missing and not unexpected, (missing, unexpected)
    for name in adapter:
        torch.nn.init.zeros_(again.get_parameter(name))
    missing, unexpected = again.load_state_dict(adapter, strict=False)
    assert not unexpected and sorted(missing) == sorted(n for n in state if "adapter" not in n)
    error = ours.by_token(run(again, batch, False)[0], run(model, batch, False)[0])
    what = "%s, %d + %d tensors back by export_torch" % (case.name, len(adapter), len(whole) - len(adapter))
    figures.add(what, {"logits": error}, "exact")


def check_case(figures, case, precisions):
    vocab, wide = case.shape["vocab"], case.shape["hidden"] == WIDE["hidden"]
    margin = MARGIN_WIDE if wide else MARGIN
    model = case.draw(1)
    seen = watch(model, margin)
    one, some, packed, more = (
        clear_batch(model, seen, lengths, vocab)
        for lengths in ([1], [17], [6, 1, 4, 5] if wide else [11, 1, 17, 4], [24 if wide else 64])
    )
    files = ours.imported(case.folder, model.state_dict(), case.shape, case.alpha)
    compare(figures, case, files, model, one, "1 token", precisions)
    compare(figures, case, files, model, some, "17 tokens", precisions)
    compare(figures, case, files, model, packed, "4 samples", precisions)
    check_packing(figures, case, files, model, packed)
    check_generation(figures, case, files, model, more, precisions)
    check_export(figures, case, files, model, packed)
    seen.update(near=0, clipped=0, all=0)
    long = ours.Batch([4095], vocab, 4095)
    run(model, long, False)
    if seen["all"]:
        print("tamm: %s, 4,095 tokens: of %d keys and values %d within %g of a middle, %d clipped"
              % (case.name, seen["all"], seen["near"], margin, seen["clipped"]))  # fmt: skip
    compare(figures, case, files, model, long, "4,095 tokens", precisions)


# --- tamm.json -----------------------------------------------------------------------------------


def fixture_case(kv_quant):
    return Case("fixture", FIXTURE, 2, 1.5, kv_quant, False)


def expect(state, batch):
    """-> {variant: tensors}; state: with the KV quantisers"""
    results = {}
    for variant, kv_quant in ("off", False), ("on", True):
        model = fixture_case(kv_quant).fresh()
        model.load_state_dict({n: state[n] for n in model.state_dict()})
        seen = watch(model, MARGIN)
        logits, loss, gradients = run(model, batch, True)
        assert seen["near"] == 0 and (seen["clipped"] > 0) == kv_quant
        flat = torch.cat([gradients[n].flatten() for n in gradients])
        results[variant] = {"logits": logits, "loss": loss.reshape(1), "gradients": flat}
    return results


def write():
    case = fixture_case(True)
    model = case.draw(1)
    batch = clear_batch(model, watch(model, MARGIN), [11, 4, 9], FIXTURE["vocab"])
    state = model.state_dict()
    adapter = {n: t for n, t in state.items() if "adapter" in n}
    second = ("output_transform.weight", "num_samples")
    base = {n: t for n, t in state.items() if n not in adapter and not n.endswith(second)}
    matrices = [n for n, t in base.items() if t.dim() == 2]
    meta = {"fmforge.kind": "adapter", "fmforge.rank": "2", "fmforge.alpha": "1.5"}
    shape = {"fmforge.kind": "base", "fmforge.shape": json.dumps(case.shape, sort_keys=True)}
    fixture = {
        "made_by": "tests/ref/check_tamm.py with tamm %s, PyTorch %s" % (tamm.__version__, torch.__version__),
        "ids": batch.ids, "targets": batch.targets, "segment_starts": batch.starts,
        "base": parity.lines(parity.write_tensors(base, shape, matrices)),
        "adapter": parity.lines(parity.write_tensors(adapter, meta)),
    }  # fmt: skip
    for variant, tensors in expect(state, batch).items():
        fixture["expected_" + variant] = parity.lines(parity.write_tensors(tensors, None))
    with open(PATH, "w", newline="\n") as f:
        f.write(parity.pretty(fixture))
    print("tamm.json: written")


def check_fixture(figures):
    with open(PATH) as f:
        fixture = json.load(f)

    def tensors(key):
        return parity.read_tensors(base64.b64decode("".join(fixture[key])))

    state = {n: t.float() for n, t in {**tensors("base"), **tensors("adapter")}.items()}
    for name, t in fixture_case(True).fresh().state_dict().items():
        state.setdefault(name, state["embedding.weight"] if name == "output_transform.weight" else t)
    batch = ours.Batch([], 0, 0)
    batch.ids, batch.targets, batch.starts = (fixture[k] for k in ("ids", "targets", "segment_starts"))
    for variant, found in expect(state, batch).items():
        stored = tensors("expected_" + variant)
        errors = {n: ours.relative(found[n], stored[n]) for n in found}
        figures.add("tamm.json, KV quantisers %s, made again" % variant, errors)


def main():
    if sys.argv[1:] == ["--write"]:
        return write()
    if sys.argv[1:] not in ([], ["--small"]):
        sys.exit(__doc__)
    ours.build()
    figures = ours.Figures("tamm")
    check_fixture(figures)
    for kv_quant in False, True:
        check_case(figures, Case("small", SMALL, 2, 1.5, kv_quant, False), ["f32"])
        check_case(figures, Case("small", SMALL, 2, 1.5, kv_quant, True), ["f32", "int16"])
    if "--small" not in sys.argv[1:]:
        for kv_quant in False, True:
            check_case(figures, Case("wide", WIDE, 32, 16, kv_quant, True), ["f32", "int16"])
    return figures.close("tamm %s, PyTorch %s" % (tamm.__version__, torch.__version__))


if __name__ == "__main__":
    sys.exit(main())
