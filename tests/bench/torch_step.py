"""The time of one training step in PyTorch, for model.sh: AdamW, every token labelled.

    torch_step.py [--compile] [--full] BASE SEGMENTS LENGTH [RUNS]

The model is that of tests/ref/train_compare.py, which is compared with ours there. The base is
unpacked to float32. LoRA of rank 32, or with --full every parameter. --compile: through torch.compile, whose own time is not counted. Prints
milliseconds (median), tokens per second and the peak of resident memory.
"""

import collections
import os
import resource
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "ref"))
import torch  # noqa: E402
from train_compare import Linear, Model, read_base  # noqa: E402

RANK = 32
Row = collections.namedtuple("Row", "ids labels")


def adapter(base, shape):
    """A fresh adapter with the names that Model asks for."""
    tensors = {}

    def module(name, n_in, n_out):
        tensors[name + ".a_transpose"] = torch.randn(n_in, RANK) / n_in**0.5
        tensors[name + ".b_transpose"] = torch.zeros(RANK, n_out)

    hidden, q, kv = shape["hidden"], shape["heads"] * shape["head_dim"], shape["kv_heads"] * shape["head_dim"]
    for segment, n in ((0, shape["layers_0"]), (1, shape["layers_1"])):
        for i in range(n):
            at = "layers.segment_%d.layer_%d." % (segment, i)
            if segment == 0:
                for part, width in enumerate((q, kv, kv)):
                    module(at + "attention.qkv_transform.adapters.base_adapter.lora_%d" % part, hidden, width)
            else:
                module(at + "attention.q_transform.adapters.base_adapter", hidden, q)
            module(at + "attention.output_transform.adapters.base_adapter", q, hidden)
            module(at + "feed_forward.hidden_transform.linear_0.adapters.base_adapter", hidden, shape["ffn"])
            module(at + "feed_forward.hidden_transform.linear_1.adapters.base_adapter", hidden, shape["ffn"])
            module(at + "feed_forward.output_transform.adapters.base_adapter", shape["ffn"], hidden)
    return tensors


def main():
    args = [a for a in sys.argv[1:] if not a.startswith("--")]
    compiled, full = "--compile" in sys.argv, "--full" in sys.argv
    path, segments, length = args[0], int(args[1]), int(args[2])
    runs = int(args[3]) if len(args) > 3 else 5
    torch.manual_seed(1)
    base, shape = read_base(path)
    model = Model(base, adapter(base, shape), 0.5, shape)
    rows = []
    for s in range(segments):
        ids = [(i * 7919 + 13 + s) % shape["vocab"] for i in range(length)]
        rows.append(Row(ids, [i > 0 for i in range(length)]))
    parameters = list(model.parameters())
    if full:
        Linear.forward = lambda self, x: torch.nn.functional.linear(x, self.weight)
        parameters = [t.requires_grad_() for t in base.values() if t.is_floating_point()]
    if compiled:
        model.forward = torch.compile(model.forward)
    optimizer = torch.optim.AdamW(parameters, lr=0.0)
    took = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        for tensor in parameters:
            tensor.grad = None
        (model.loss_sum(rows) / (segments * (length - 1))).backward()
        optimizer.step()
        took.append(time.perf_counter() - start)
    median = statistics.median(took[2:])
    name = torch.__version__.split("+")[0] + (" compiled" if compiled else "")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1048576
    print(
        "%-28s %-5s %9.1f ms %9.2f tokens/s  peak %.2f GiB"
        % (("full step, PyTorch " if full else "LoRA step, PyTorch ") + name, "f32", 1e3 * median, segments * length / median, peak)
    )


main()
