"""An independent reader of .fmadapter packages, from the format's description alone.

    read_fmadapter.py PACKAGE ADAPTER.safetensors --heads N --kv-heads N
    read_fmadapter.py PACKAGE ADAPTER.safetensors --base BASE.safetensors
    read_fmadapter.py PACKAGE                       (structure only)

It shares nothing with the C code and needs nothing but Python 3.8. It checks every rule of the
container, undoes the transposition and the permutation of Q and K rows, and compares every value
with the training checkpoint after its own rounding to fp16. Prints "N tensors, N values equal" and
exits 0, or says what differs and exits 1.
"""

import argparse
import json
import os
import re
import struct
import sys


class Broken(Exception):
    pass


def need(condition, text):
    if not condition:
        raise Broken(text)


def half_to_float(data):
    return struct.unpack("<%de" % (len(data) // 2), data)


def float_to_half(value, name):
    """Round to nearest even, as IEEE 754 says; struct does exactly that."""
    try:
        return struct.unpack("<e", struct.pack("<e", value))[0]
    except OverflowError:
        raise Broken("%s: %r does not fit fp16" % (name, value))


# --- safetensors -----------------------------------------------------------------------------


def read_safetensors(path):
    """-> ({name: (shape, [floats])} for F32, F16 and BF16, metadata)"""
    with open(path, "rb") as f:
        raw = f.read()
    (n,) = struct.unpack_from("<Q", raw, 0)
    header = json.loads(raw[8 : 8 + n])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        data = raw[8 + n + begin : 8 + n + end]
        if entry["dtype"] == "F32":
            values = struct.unpack("<%df" % (len(data) // 4), data)
        elif entry["dtype"] == "F16":
            values = half_to_float(data)
        elif entry["dtype"] == "BF16":
            words = struct.unpack("<%dH" % (len(data) // 2), data)
            values = struct.unpack("<%df" % len(words), b"".join(struct.pack("<I", w << 16) for w in words))
        else:
            continue
        tensors[name] = (entry["shape"], values)
    return tensors, metadata


# --- the package -----------------------------------------------------------------------------


def read_blob(path):
    """adapter_weights.bin -> list of records as tuples of floats."""
    with open(path, "rb") as f:
        raw = f.read()
    need(len(raw) >= 64, "shorter than its header")
    count, version = struct.unpack_from("<II", raw, 0)
    need(version == 2, "version %d, not 2" % version)
    need(raw[8:64] == bytes(56), "header padding is not zero")
    at = 64
    records = []
    for i in range(count):
        where = "record %d: " % i
        need(at + 64 <= len(raw), where + "its header is outside the file")
        sentinel, dtype, size, offset, padding = struct.unpack_from("<IIQQQ", raw, at)
        need(sentinel == 0xDEADBEEF, where + "no sentinel")
        need(dtype == 1, where + "dtype %d, not 1 (fp16)" % dtype)
        need(padding == 0 and raw[at + 32 : at + 64] == bytes(32), where + "padding is not zero")
        need(offset == at + 64, where + "data not behind its header")
        need(offset % 64 == 0 and size % 2 == 0, where + "misaligned")
        end = offset + size
        need(end <= len(raw), where + "data outside the file")
        values = half_to_float(raw[offset:end])
        need(all(v - v == 0 for v in values), where + "not finite")
        at = (end + 63) // 64 * 64
        need(raw[end:at] == bytes(at - end), where + "padding behind the data is not zero")
        records.append(values)
    need(at == len(raw), "%d bytes behind the last record" % (len(raw) - at))
    return records


METADATA = [
    ("adapterIdentifier", str),
    ("author", str),
    ("baseModelSignature", str),
    ("creatorDefined", dict),
    ("description", str),
    ("license", str),
    ("loraRank", int),
    ("speculativeDecodingDraftTokenCount", int),
]


def read_metadata(package):
    with open(os.path.join(package, "metadata.json"), encoding="utf-8") as f:
        text = f.read()
    meta = json.loads(text)
    need(sorted(meta) == [name for name, _ in METADATA], "metadata.json: fields are %s" % sorted(meta))
    for name, kind in METADATA:
        need(type(meta[name]) is kind, "metadata.json: %s is no %s" % (name, kind.__name__))
    need(
        text.rstrip("\n") == json.dumps(meta, indent=4, sort_keys=True, ensure_ascii=False),
        "metadata.json: keys are not sorted or not indented by 4",
    )
    signature = meta["baseModelSignature"]
    need(re.fullmatch(r"[0-9a-f]{40}", signature), "metadata.json: signature is not 40 hex digits")
    match = re.fullmatch(r"fmadapter-(\w+)-(\w+)", meta["adapterIdentifier"], re.ASCII)
    need(match, "metadata.json: identifier has not the form fmadapter-NAME-SIGNATURE")
    need(match.group(2) == signature[:7], "metadata.json: identifier and signature disagree")
    need(meta["loraRank"] > 0, "metadata.json: rank is not positive")
    return meta


# --- order and layout ------------------------------------------------------------------------

WITHIN_LAYER = [
    "attention.qkv_transform.adapters.base_adapter.lora_0.",
    "attention.qkv_transform.adapters.base_adapter.lora_1.",
    "attention.qkv_transform.adapters.base_adapter.lora_2.",
    "attention.q_transform.adapters.base_adapter.",
    "attention.output_transform.adapters.base_adapter.",
    "feed_forward.hidden_transform.linear_0.adapters.base_adapter.",
    "feed_forward.hidden_transform.linear_1.adapters.base_adapter.",
    "feed_forward.output_transform.adapters.base_adapter.",
]


def place(name):
    """Where a tensor of the checkpoint lies in the package: (segment, layer, module, A or B)."""
    match = re.fullmatch(r"layers\.segment_(\d+)\.layer_(\d+)\.(.*)([ab])_transpose", name)
    need(match and match.group(3) in WITHIN_LAYER, "%s: not a tensor of an adapter" % name)
    return int(match.group(1)), int(match.group(2)), WITHIN_LAYER.index(match.group(3)), match.group(4)


def unpermute_heads(rows, heads):
    """Half-split order inside each head back to interleaved: heads x 2 x d/2 -> heads x d/2 x 2."""
    d = len(rows) // heads
    out = []
    for h in range(heads):
        for i in range(d // 2):
            out.append(rows[h * d + i])
            out.append(rows[h * d + d // 2 + i])
    return out


def compare(records, tensors, rank, heads, kv_heads, factor):
    names = sorted(tensors, key=place)
    need(len(names) == len(records), "%d records for %d tensors" % (len(records), len(names)))
    n_values = 0
    for name, values in zip(names, records):
        shape, want = tensors[name]
        _, _, module, letter = place(name)
        inner = "adapters" in name and letter == "a"
        n_in, n_out = shape
        need((n_out if inner else n_in) == rank, "%s: shape %s for rank %d" % (name, shape, rank))
        need(len(values) == len(want), "%s: %d values, not %d" % (name, len(values), len(want)))
        # The package holds the transpose: n_out rows of n_in.
        rows = [values[r * n_in : (r + 1) * n_in] for r in range(n_out)]
        if letter == "b" and module in (0, 3):
            rows = unpermute_heads(rows, heads)
        elif letter == "b" and module == 1:
            rows = unpermute_heads(rows, kv_heads)
        scale = factor if letter == "b" else 1.0
        for r in range(n_out):
            for i in range(n_in):
                expected = float_to_half(want[i * n_out + r] * scale, name)
                need(
                    rows[r][i] == expected,
                    "%s[%d][%d]: %r in the package, %r expected" % (name, i, r, rows[r][i], expected),
                )
        n_values += len(values)
    return len(names), n_values


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("package")
    parser.add_argument("adapter", nargs="?")
    parser.add_argument("--heads", type=int)
    parser.add_argument("--kv-heads", type=int)
    parser.add_argument("--base")
    options = parser.parse_args()
    try:
        need(options.package.rstrip("/").endswith(".fmadapter"), "the name does not end in .fmadapter")
        meta = read_metadata(options.package)
        files = sorted(os.listdir(options.package))
        need(files == ["adapter_weights.bin", "metadata.json"], "files are %s" % files)
        records = read_blob(os.path.join(options.package, "adapter_weights.bin"))
        if not options.adapter:
            print("%d records" % len(records))
            return 0
        if options.base:
            shape = json.loads(read_safetensors(options.base)[1]["fmforge.shape"])
            options.heads, options.kv_heads = shape["heads"], shape["kv_heads"]
        need(options.heads and options.kv_heads, "--heads and --kv-heads, or --base, are needed")
        tensors, metadata = read_safetensors(options.adapter)
        # The runtime multiplies by 0.5; any other alpha / rank is folded into B.
        factor = float(metadata["fmforge.alpha"]) / float(metadata["fmforge.rank"]) / 0.5
        counts = compare(
            records, tensors, meta["loraRank"], options.heads, options.kv_heads, factor
        )
        print("%d tensors, %d values equal" % counts)
        return 0
    except Broken as problem:
        print("%s: %s" % (options.package, problem), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
