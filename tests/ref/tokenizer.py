"""Token ids of the shipped tokenizer by SentencePiece's own Python package.

    tokenizer.py           compares tests/ref/tokenizer.json with what the package gives now
    tokenizer.py --write   makes tests/ref/tokenizer.json from the texts below

From the repository root. It shares nothing with the project but the model file: the package brings
its own SentencePiece, of another version than Debian's library that the stages are linked with.
tests/unit/spm_ids_test.c compares the C code with the committed file, so that `make test` needs no
Python. Without the package (requirements-tokenizer.txt) it says so and exits with 0; with 1 when
something differs.
"""

import hashlib
import json
import os
import random
import struct
import sys

try:
    import sentencepiece
except ImportError:
    print("tokenizer: skipped: no sentencepiece (pip install -r tests/ref/requirements-tokenizer.txt)")
    sys.exit(0)

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizer.json")
MODEL = "configs/toolkits/nano-1.1/tokenizer.model"  # nano-1.0 has the same
SEED = 7
IDS_SHOWN = 400  # of more ids the file has their number and their SHA-256

TEXTS = [
    "",
    # Spaces, tabs and ends of lines.
    " ", "  ", "       ", " a", "a ", " a ", "  two  spaces   three  ", "\t", "a\tb", "\n", "\n\n",
    "a\nb\r\nc\r", " \n \t ", "no-break\u00a0space", "thin\u2009and\u3000wide",
    # Words, cases, marks, code.
    "a", "Hello", "hello", "HELLO", "Hello, world!", "I'd like to cancel my order, please.",
    "don't \u201cquote\u201d me \u2014 or\u2026", "e-mail@example.com https://example.org/a?b=c&d=%20#e",
    '{"team": "billing", "subject": "Refund for order 4711", "n": [1, 2.50, -3e7, null, true]}',
    "for (int i = 0; i < n; i++) { x[i] *= 2; } /* C */", "x\u00b2 + y\u00b2 = z\u00b2; \u221a2 \u2248 1.414",
    "supercalifragilisticexpialidocious antidisestablishmentarianism", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "!?!?...;;:--__", "\\n is not a newline", "A/B (C) [D] {E} <F> \"G\" 'H' `I` ~J ^K |L $M #N @O &P",
    # Digits are one piece each.
    "0", "12", "1234567890", "3.14159", "1,000,000.00", "2026-11-30 13:00", "+49 (0)30 123-45", "007 v1.2.3",
    "\u0661\u0662\u0663 \uff11\uff12\uff13 \u2460\u2461",
    # Other letters, marks that combine, other directions.
    "caf\u00e9", "cafe\u0301", "na\u00efve \u00dcbergr\u00f6\u00dfe \u1e9e", "\u0417\u0434\u0440\u0430\u0432\u0441\u0442\u0432\u0443\u0439",
    "\u03b1\u03b2\u03b3 \u03a9", "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627", "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\u4f60\u597d\uff0c\u4e16\u754c", "\u3053\u3093\u306b\u3061\u306f", "\uc548\ub155", "\ufb01 \uff21 \u2122 \u2167",
    # Emoji: alone, joined, with a tone, flags.
    "\U0001f642", "ok \U0001f44d\U0001f3fd!", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", "\u2764\ufe0f",
    # What has no piece is made of byte pieces.
    "\u0001\u0002\u001b[1m\u007f", "\u0080\u009f", "\ufeffmark", "\ufffd", "\ue000\uf8ff", "\ufffe\uffff",
    "\U00010000 \U0001d11e \U0010ffff", "a\u200bb\u200d\u200e\u202ec",
    # The mark of a space, written out; pieces and special pieces as text.
    "\u2581", "a\u2581b \u2581 c", "<0x41>", "<0x0A><0xFF>", "<pad></s><s><unk>", "<unk> <s>text</s>",
    "<turn_start>", "<turn_end>", "<n>", "<turn_start> user<n>Hello<turn_end><n>", " <turn_start> ",
    "a<n>b", "<n><n>", "<turn_start><turn_start><n><turn_end>", "<turn", "<turn_start", "turn_start>", "< n >", "<N>",
    "<executable_start>```function\n[{\"name\": \"f\", \"arguments\": {}}]\n```<executable_end>",
    "<turn_start> system<n>Route the ticket.<turn_end><n><turn_start> user<n>My  parcel\u2026<turn_end><n><turn_start> assistant<n>",
]  # fmt: skip

# Very long ones: a text and how often it stands there.
LONG = [("a", 3000), (" ", 3000), ("The quick brown fox 123 ", 1500), ("\U0001f642\u4f60", 800),
        ("<n>", 1000), ("x<turn_end>", 700), ("0123456789", 500)]  # fmt: skip

# Characters of the random texts, by kind.
KINDS = ["abcdefghijklmnopqrstuvwxyz", "  ETAOIN", "0123456789", ".,;:!?'\"-()[]{}<>/\\=+*&%$#@",
         "\u00e4\u00f6\u00fc\u00df\u00e9\u0439\u03bb\u4e2d\u6587\u3042", "\U0001f600\U0001f680\u200d\ufe0f\u2581\t\n"]  # fmt: skip

# Ids back to text: pieces that are no text, halves of a character, a space in front.
IDS = [[], [0], [1], [2], [3], [0, 1, 2], [1, 3, 1]]


def random_texts(rng):
    for _ in range(60):
        kinds = rng.sample(KINDS, rng.randint(1, 3))
        yield "".join(rng.choice(rng.choice(kinds)) for _ in range(rng.randint(1, 40)))


def ids_of(processor, text):
    ids = processor.encode(text, out_type=int)
    if len(ids) <= IDS_SHOWN:
        return {"ids": ids}
    packed = struct.pack("<%di" % len(ids), *ids)
    return {"n_ids": len(ids), "ids_sha256": hashlib.sha256(packed).hexdigest()}


def compute():
    processor = sentencepiece.SentencePieceProcessor(model_file=MODEL)
    rng = random.Random(SEED)
    texts = [{"text": t, "times": 1} for t in TEXTS + list(random_texts(rng))]
    texts += [{"text": t, "times": n} for t, n in LONG]
    for t in texts:
        t.update(ids_of(processor, t["text"] * t["times"]))
    first = processor.piece_to_id("<0x00>")
    n = processor.get_piece_size()
    lists = IDS + [[first + b for b in "\u20ac".encode()], [first + 0xE2, first + 0x82], [first + 0x80],
                   [first + 0xFF, first + 0x41], [n - 1], [first - 1]]  # fmt: skip
    lists += [[rng.randrange(n) for _ in range(rng.randint(1, 24))] for _ in range(40)]
    decoded = [{"ids": ids, "text": processor.decode(ids)} for ids in lists]
    with open(MODEL, "rb") as f:
        model = hashlib.sha256(f.read()).hexdigest()
    return {"model": MODEL, "model_sha256": model, "pieces": n, "texts": texts, "decoded": decoded}


def pretty(fixture):
    rows = []
    for key, value in fixture.items():
        if isinstance(value, list):
            value = "[\n" + ",\n".join(json.dumps(v) for v in value) + "\n]"
        else:
            value = json.dumps(value)
        rows.append(json.dumps(key) + ": " + value)
    return "{\n" + ",\n".join(rows) + "\n}\n"


def check():
    with open(PATH) as f:
        stored = json.load(f)
    found = compute()
    wrong = [k for k in ("model", "model_sha256", "pieces") if stored[k] != found[k]]
    for kind in ("texts", "decoded"):
        same = len(stored[kind]) == len(found[kind])
        wrong += [] if same else ["number of " + kind]
        wrong += [json.dumps(b) for a, b in zip(stored[kind], found[kind]) if a != b]
    for text in wrong:
        print("tokenizer.json: differs: %s" % text)
    print("tokenizer.json: sentencepiece %s, %d texts and %d lists of ids, %d differ"
          % (sentencepiece.__version__, len(found["texts"]), len(found["decoded"]), len(wrong)))  # fmt: skip
    return 1 if wrong else 0


def write():
    made_by = "tests/ref/tokenizer.py with sentencepiece %s" % sentencepiece.__version__
    with open(PATH, "w", newline="\n") as f:
        f.write(pretty({"made_by": made_by, **compute()}))


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        sys.exit(check())
