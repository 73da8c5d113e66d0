"""fmforge's side of check_tamm.py and check_mlx.py: its stages and model_tool.c on files, and figures.

Needs NumPy and PyTorch (train_compare.py, which reads and writes the files) and, before, make all;
model_tool.c is built by make.
"""

import json
import math
import os
import subprocess
import tempfile

import torch
from train_compare import read_tensors, run_stage

WORK = os.path.join("build", "ref-parity")
EOS = 1
# Relative errors by norms: of all logits or gradients, and of the worst token or tensor. Rounded: a KV
# quantiser may round a value the other way, which changes it by a whole step. It takes a value near
# the middle of two: with the errors of fp32 one in tens of thousands is, with those of int16 one in a
# hundred.
BOUND = {"exact": (0.0, 0.0), "f32": (1e-4, 1e-4), "int16": (2e-3, 2e-3)}
BOUND_ROUNDED = {"f32": (1e-4, 1e-3), "int16": (2e-3, 1e-2), "int16 gradients": (4e-3, 1e-2)}


TOOL = os.path.relpath(os.path.join(os.path.dirname(os.path.realpath("build/bin")), "ref", "model_tool"))


def build():
    os.makedirs(WORK, exist_ok=True)
    subprocess.run(["make", "-s", TOOL], check=True)


def imported(folder, state, shape, alpha):
    """A model's state, saved by torch.save, through the import stage. -> files of base and adapter"""
    os.makedirs(folder, exist_ok=True)
    pt, shape_path = os.path.join(folder, "model.pt"), os.path.join(folder, "shape.json")
    torch.save(state, pt)
    with open(shape_path, "w") as f:
        json.dump(shape, f)
    run_stage("import", {"alpha": alpha}, folder + "/import", {"pt": pt, "shape": shape_path})
    os.remove(pt)
    return folder + "/import/base", folder + "/import/adapter"


def exported(folder, base, adapter, what, alpha):
    """-> the file that the export_torch stage writes for a reader who takes this alpha"""
    folder = folder + "/export_" + what
    run_stage("export_torch", {"alpha": alpha, "what": what}, folder, {"base": base, "adapter": adapter})
    return folder + "/pt"


class Batch:
    """Samples of these lengths, packed; the first third of each is a prompt without loss."""

    def __init__(self, lengths, vocab, seed):
        generator = torch.Generator().manual_seed(seed)
        self.ids, self.targets, self.starts = [], [], [0]
        for n in lengths:
            sample = torch.randint(4, vocab, (n + 1,), generator=generator).tolist()
            sample[0] = EOS
            self.ids += sample[:n]
            self.targets += [t if i + 1 > n // 3 else -1 for i, t in enumerate(sample[1:])]
            self.starts.append(len(self.ids))

    def unlabelled(self):
        """For logits alone: no gradients are computed."""
        self.targets = [-1] * len(self.ids)
        return self

    def sample(self, i):
        one = Batch([], 0, 0)
        a, b = self.starts[i : i + 2]
        one.ids, one.targets, one.starts = self.ids[a:b], self.targets[a:b], [0, b - a]
        return one

    def samples(self):
        return [self.sample(i) for i in range(len(self.starts) - 1)]


def compute(base, adapter, batch, precision="f32", n_prompt=0):
    """What model_tool finds: {"logits", "loss", gradients by name}; n_prompt: by the decoder."""
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        batch_path, out = folder + "/batch.json", folder + "/found"
        with open(batch_path, "w") as f:
            json.dump({"ids": batch.ids, "targets": batch.targets, "segment_starts": batch.starts}, f)
        what = ["decode" if n_prompt else "pass", precision, base, adapter, batch_path, out]
        subprocess.run([TOOL, *what, *([str(n_prompt)] if n_prompt else [])], check=True)
        tensors, _ = read_tensors(out)
    return {name: torch.from_numpy(t.copy()) for name, t in tensors.items()}


def relative(found, expected):
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


def by_token(found, expected):
    """-> of all logits, of the worst token"""
    found, expected = found.double(), expected.double()
    assert found.shape == expected.shape, (found.shape, expected.shape)
    worst = ((found - expected).norm(dim=1) / expected.norm(dim=1)).max().item()
    return relative(found, expected), worst


def by_tensor(found, expected):
    """-> of all gradients as one vector, of the worst tensor. Of one token Q and K have none: a tensor
    that is less than a hundred-thousandth of the largest has to be so on both sides, and that is all."""
    names = sorted(n for n in found if n not in ("logits", "loss"))
    assert names == sorted(expected), (names[:3], sorted(expected)[:3])
    nothing = 1e-5 * max(t.norm().item() for t in expected.values())
    worst = 0.0
    for n in names:
        if expected[n].norm() >= nothing or found[n].norm() >= nothing:
            worst = max(worst, relative(found[n], expected[n]))

    def flat(tensors):
        return torch.cat([tensors[n].flatten() for n in names])

    return relative(flat(found), flat(expected)), worst


def text_of(errors):
    def one(error):
        return " worst ".join("%.1e" % e for e in (error if isinstance(error, tuple) else (error,)))

    return ", ".join("%s %s" % (name, one(error)) for name, error in errors.items())


class Figures:
    """Prints errors and holds them to their bounds; close() gives the exit status."""

    def __init__(self, name):
        self.name, self.n_bad, self.n = name, 0, 0

    def say(self, what, errors):
        print("%s: %s: %s" % (self.name, what, text_of(errors)), flush=True)

    def add(self, what, errors, precision="f32", rounded=False, twin=None):
        """errors: {"logits": error}, or pairs: of all, of the worst token or tensor. twin: the same of a
        reference beside which nothing but its rounding is another: up to twice as much is allowed."""
        table, held = BOUND_ROUNDED if rounded else BOUND, True
        for name, error in errors.items():
            bounds = table.get("%s %s" % (precision, name), table[precision])
            pair, apart = (e if isinstance(e, tuple) else (e,) for e in (error, (twin or {}).get(name, 0.0)))
            bounds = [max(b, 2 * t) for b, t in zip(bounds, apart + (0.0,) * len(pair))]
            held = held and all(math.isfinite(e) and e <= b for e, b in zip(pair, bounds))
        self.say(what + ("" if held else ", PAST ITS BOUND %g, %g" % table[precision]), errors)
        self.n += len(errors)
        self.n_bad += not held

    def close(self, versions):
        bad = "%d PAST THEIR BOUND" % self.n_bad if self.n_bad else "all within their bounds"
        print("%s: %d figures, %s; %s" % (self.name, self.n, bad, versions))
        return 1 if self.n_bad or not self.n else 0
