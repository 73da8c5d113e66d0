"""Reads adapter_weights.bin with Core ML's own blob reader and writes it again with its writer.

    check_coremltools.py PACKAGE

coremltools brings Apple's implementation of the MIL blob storage, also on Linux. Every record is
read through it and compared with our independent reader; then the records are written with its
writer, and the file must come out byte for byte as ours.
"""

import os
import sys
import tempfile

import numpy
from coremltools.libmilstoragepython import _BlobStorageReader, _BlobStorageWriter

import read_fmadapter


def main():
    path = os.path.join(sys.argv[1], "adapter_weights.bin")
    records = read_fmadapter.read_blob(path)
    reader = _BlobStorageReader(path)
    offset = 64
    n_values = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "again.bin")
        writer = _BlobStorageWriter(copy)
        for i, ours in enumerate(records):
            theirs = reader.read_fp16_data(offset)
            if theirs.view(numpy.float16).tolist() != list(ours):
                print("%s: record %d: Core ML's reader has other values" % (path, i), file=sys.stderr)
                return 1
            if writer.write_fp16_data(theirs) != offset:
                print("%s: record %d: Core ML's writer puts it elsewhere" % (path, i), file=sys.stderr)
                return 1
            n_values += len(ours)
            offset += 64 + (2 * len(ours) + 63) // 64 * 64
        del writer
        with open(copy, "rb") as a, open(path, "rb") as b:
            again, ours = a.read(), b.read()
            # Core ML's writer leaves out the padding behind the last record.
            if again + bytes(-len(again) % 64) != ours:
                print("%s: Core ML's writer makes another file" % path, file=sys.stderr)
                return 1
    print("%d records, %d values: read and written alike by coremltools" % (len(records), n_values))
    return 0


if __name__ == "__main__":
    sys.exit(main())
