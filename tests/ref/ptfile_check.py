"""Files of torch.save and stages/model/ptfile.h against each other, with PyTorch itself.

    ptfile_check.py            every case below, both ways
    ptfile_check.py --large    also a file of 4.3 GB with one tensor past 4 GiB (zip64), not loaded
                               but read by Python's zipfile and by us

From the repository root after make all, with a Python that has PyTorch 1.13 or newer (Debian:
python3-torch); ptfile_tool.c is built by make. Files lie in build/ref-ptfile. Each case is saved by torch.save, listed by
our reader and compared value by value; then copied by our writer and loaded by
torch.load(weights_only=True). Hostile files have to be refused with their message. Without PyTorch
it says so and exits with 0; with 1 when a case fails.
"""

import collections
import os
import subprocess
import sys
import zipfile

try:
    import torch
except ImportError:
    print("ptfile: skipped: no PyTorch (Debian: python3-torch)")
    sys.exit(0)

FOLDER = os.path.join("build", "ref-ptfile")
TOOL = os.path.relpath(os.path.join(os.path.dirname(os.path.realpath("build/bin")), "ref", "ptfile_tool"))
DTYPES = {
    torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16",
    torch.float64: "float64", torch.int8: "int8", torch.uint8: "uint8", torch.int16: "int16",
    torch.int32: "int32", torch.int64: "int64", torch.bool: "bool",
}  # fmt: skip


def build():
    os.makedirs(FOLDER, exist_ok=True)
    subprocess.run(["make", "-s", TOOL], check=True)


def tool(*args):
    return subprocess.run([TOOL, *args], capture_output=True, text=True, check=False)


def values():
    return torch.arange(-6, 6, dtype=torch.float32).reshape(3, 4) / 8


class Hostile:
    def __reduce__(self):
        return (os.system, ("echo fmforge ran it",))


def cases():
    """Name, object, skipped leaves."""
    v = values()
    module = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
    yield "flat", {"a": v, "b": v + 1}, 0
    yield "ordered", collections.OrderedDict([("z", v), ("a", v * 2)]), 0
    yield "module", module.state_dict(), 0
    yield "nested", {"m": {"w": v, "n": {"b": v[0].clone()}}, "step": 7, "lr": 0.5, "none": None}, 3
    yield "lists", {"l": [v, "text", (v * 3, True)], 3: v}, 2
    yield "tied", {"a": v, "b": v, "c": v.view(2, 6)}, 0
    yield "parameter", {"p": torch.nn.Parameter(v), "q": torch.nn.Parameter(v.half(), False)}, 0
    yield "views", {"row": v[1], "rows": v[1:], "one": v[2, 3], "all": v}, 0
    yield "dtypes", {DTYPES[d]: v.to(d) for d in DTYPES}, 0
    yield "shapes", {"scalar": torch.tensor(3.0), "empty": torch.zeros(0, 3), "ones": v.view(1, 3, 1, 4)}, 0
    yield "size", {"shape": v.shape, "big": 1 << 40, "small": -5, "w": v}, 4
    yield "many", {"layer.%d.weight" % i: torch.full((2,), float(i)) for i in range(3000)}, 0
    yield "unicode", {"\u00e9\u4e2d": v}, 0
    yield "nothing", {}, 0


def refusals():
    v = values()
    yield "transposed", {"w": {"t": v.t()}}, "w.t: not contiguous: stride 4 of dimension 1"
    yield "hostile", {"w": v, "x": Hostile()}, "asks for posix.system: fmforge executes nothing"
    yield "device", {"d": v.device}, "asks for torch.device: "
    yield "module_object", torch.nn.Linear(2, 2), "asks for torch.nn.modules.linear.Linear: "
    yield "tensor", v, "data.pkl holds a tensor, expected a dict"


def flatten(value, name=""):
    if isinstance(value, torch.Tensor):
        yield name, value.detach()
    elif isinstance(value, dict):
        for key in value:
            yield from flatten(value[key], "%s.%s" % (name, key) if name else str(key))
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from flatten(item, "%s.%d" % (name, i))


def raw(tensor):
    flat = tensor.contiguous().reshape(-1)
    if flat.numel() == 0:
        return ""
    if tensor.dtype == torch.bfloat16:
        flat = flat.view(torch.int16)
    return flat.numpy().tobytes().hex()


def place(t):
    """Where its storage begins; PyTorch 2 and 1."""
    return (t.untyped_storage() if hasattr(t, "untyped_storage") else t.storage()).data_ptr()


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and raw(a) == raw(b)


def check_list(path, tensors, skipped):
    """Our reader's lines; returns the name of each tensor's storage."""
    done = tool("list", path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")[:-1]
    assert lines.pop() == "skipped %d" % skipped, lines
    assert len(lines) == len(tensors), lines
    places = {}
    for line in lines:
        name, dtype, dims, storage, offset, data = line.split(" ")
        tensor = tensors[name]
        assert dtype == DTYPES[tensor.dtype], line
        assert dims == ",".join(str(n) for n in tensor.shape), line
        assert data == raw(tensor), line
        assert int(offset) == tensor.storage_offset(), line
        places[name] = (storage, tensor)
    for first, a in places.values():
        for second, b in places.values():
            tied = place(a) == place(b) and a.numel() > 0 < b.numel()
            assert len(places) > 100 or (first == second) == tied or a is b, (first, second)


def check_case(name, value, skipped):
    tensors = dict(flatten(value))
    path, copy = (os.path.join(FOLDER, n) for n in (name + ".pt", name + ".copy.pt"))
    torch.save(value, path)
    check_list(path, tensors, skipped)
    done = tool("copy", path, copy)
    assert done.returncode == 0, done.stderr
    loaded = torch.load(copy, weights_only=True)
    assert list(loaded) == sorted(tensors, key=lambda n: n.encode()), list(loaded)
    assert all(same(loaded[n], tensors[n]) for n in tensors)
    assert zipfile.ZipFile(copy).testzip() is None
    if all(t.is_floating_point() and t.dtype != torch.float64 for t in tensors.values()):
        done = tool("half", path, copy)
        assert done.returncode == 0, done.stderr
        loaded = torch.load(copy, weights_only=True)
        assert all(same(loaded[n], tensors[n].half()) for n in tensors)
    print("%s: %d tensors, both ways" % (name, len(tensors)))


def check_refusal(name, value, message):
    path = os.path.join(FOLDER, name + ".pt")
    torch.save(value, path)
    done = tool("list", path)
    assert done.returncode == 1 and message in done.stderr, done.stderr
    assert "ran it" not in done.stdout
    print("%s: refused: %s" % (name, done.stderr.strip()))


def check_forms():
    """Not a dict's fault: the old form, another protocol, a compressed copy."""
    path = os.path.join(FOLDER, "form.pt")
    torch.save({"w": values()}, path, _use_new_zipfile_serialization=False)
    assert "before PyTorch 1.6" in tool("list", path).stderr
    torch.save({"w": values()}, path, pickle_protocol=4)
    assert "pickle protocol 4, expected 2" in tool("list", path).stderr
    torch.save({"w": values()}, path)
    packed = os.path.join(FOLDER, "packed.pt")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as to:
        for entry in source.infolist():
            to.writestr(entry.filename, source.read(entry))
    assert "compressed (method 8)" in tool("list", packed).stderr
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w") as to:
        for entry in source.infolist():
            to.writestr(entry.filename, source.read(entry))
    check_list(packed, {"w": values()}, 0)
    print("forms: legacy, protocol 4 and deflate refused, stored again by zipfile taken")


def check_large():
    path, n = os.path.join(FOLDER, "large.pt"), (1 << 32) + 5
    done = tool("large", path, str(n))
    assert done.returncode == 0, done.stderr
    entries = {i.filename: i for i in zipfile.ZipFile(path).infolist()}
    assert entries["archive/data/0"].file_size == n
    assert entries["archive/data/1"].header_offset > 1 << 32
    assert zipfile.ZipFile(path).read("archive/data/1") == b"\1\2\3"
    done = tool("list", path)
    assert "small uint8 3 archive/data/1 0 010203\n" in done.stdout, done.stderr
    assert "large uint8 %d archive/data/0 0 00" % n in done.stdout
    os.remove(path)
    print("large: %d bytes, read by zipfile and by us" % n)


def main():
    build()
    for case in cases():
        check_case(*case)
    for refusal in refusals():
        check_refusal(*refusal)
    check_forms()
    if "--large" in sys.argv[1:]:
        check_large()
    print("ptfile: all cases agree, PyTorch %s" % torch.__version__)


main()
