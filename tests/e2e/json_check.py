#!/usr/bin/env python3
"""Does a JSON text fit a JSON Schema? Of the standard library alone.

Usage: json_check.py [--lines] SCHEMA [FILE]      FILE is standard input by default
       json_check.py --suite FOLDER FILE...       the official tests: do we say what they say?

--lines: one JSON value a line. Exit status 0: it fits; 1: it does not, each place a line; 2: the
schema has a word that is not known here: it would check nothing, so it is no schema.
"""
import json
import os
import re
import sys
from fractions import Fraction

ANNOTATIONS = {"$schema", "$id", "$comment", "title", "description", "default", "examples",
               "format", "deprecated", "meta:enum", "contentEncoding", "contentMediaType",
               "definitions", "$defs"}
TYPES = {"null": lambda v: v is None, "boolean": lambda v: isinstance(v, bool),
         "object": lambda v: isinstance(v, dict), "array": lambda v: isinstance(v, list),
         "string": lambda v: isinstance(v, str),
         "number": lambda v: is_number(v),
         "integer": lambda v: is_number(v) and v == int(v)}


def is_number(v):
    return isinstance(v, (int, float)) and not isinstance(v, bool)


def same(a, b):
    """JSON's equality: 1 is 1.0, but true is not 1."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if is_number(a) and is_number(b):
        return a == b
    return type(a) is type(b) and a == b


def no_duplicates(pairs):
    keys = [k for k, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("a key stands twice in one object: " + ", ".join(keys))
    return dict(pairs)


def load(text):
    def no(name):
        raise ValueError(name + " is no JSON")
    return json.loads(text, object_pairs_hook=no_duplicates, parse_constant=no)


class Checker:
    def __init__(self, path, schema=None):
        self.folder = os.path.dirname(path)
        self.name = os.path.basename(path)
        self.files = {}
        if schema is not None:
            self.files[self.name] = schema

    def document(self, name):
        if name not in self.files:
            with open(os.path.join(self.folder, name), encoding="utf-8") as f:
                self.files[name] = json.load(f)
        return self.files[name]

    def refer(self, ref, here):
        name, _, pointer = ref.partition("#")
        if name.startswith("http"):
            name = name.rsplit("/", 1)[1]
        name = name or here
        node = self.document(name)
        for part in pointer.split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            node = node[int(part)] if isinstance(node, list) else node[part]
        return node, name

    def check(self, v, schema, at, here, out):
        """Appends "place: what" to out. here: the schema file that `schema` is of."""
        if isinstance(schema, bool):
            if not schema:
                out.append(f"{at}: nothing may be here")
            return
        if "$ref" in schema:
            target, name = self.refer(schema["$ref"], here)
            self.check(v, target, at, name, out)
        for word, value in schema.items():
            if word in ANNOTATIONS or word in ("$ref", "then", "else", "additionalItems"):
                continue
            rule = getattr(self, "on_" + word, None)
            if rule is None:
                raise KeyError(word)
            rule(v, value, schema, at, here, out)

    def fits(self, v, schema, at, here):
        out = []
        self.check(v, schema, at, here, out)
        return not out

    def on_type(self, v, value, schema, at, here, out):
        names = value if isinstance(value, list) else [value]
        if not any(TYPES[n](v) for n in names):
            out.append(f"{at}: expected {' or '.join(names)}, found {json.dumps(v)[:60]}")

    def on_enum(self, v, value, schema, at, here, out):
        if not any(same(v, w) for w in value):
            out.append(f"{at}: {json.dumps(v)[:60]} is none of {json.dumps(value)[:200]}")

    def on_const(self, v, value, schema, at, here, out):
        if not same(v, value):
            out.append(f"{at}: expected {json.dumps(value)}, found {json.dumps(v)[:60]}")

    def on_properties(self, v, value, schema, at, here, out):
        if isinstance(v, dict):
            for key in value:
                if key in v:
                    self.check(v[key], value[key], f"{at}/{key}", here, out)

    def on_patternProperties(self, v, value, schema, at, here, out):
        if isinstance(v, dict):
            for pattern in value:
                for key in v:
                    if re.search(pattern, key):
                        self.check(v[key], value[pattern], f"{at}/{key}", here, out)

    def on_additionalProperties(self, v, value, schema, at, here, out):
        if not isinstance(v, dict):
            return
        patterns = schema.get("patternProperties", {})
        for key in v:
            if key not in schema.get("properties", {}) and \
                    not any(re.search(p, key) for p in patterns):
                self.check(v[key], value, f"{at}/{key}", here, out)

    def on_propertyNames(self, v, value, schema, at, here, out):
        if isinstance(v, dict):
            for key in v:
                self.check(key, value, f"{at}/{key}", here, out)

    def on_required(self, v, value, schema, at, here, out):
        if isinstance(v, dict):
            out.extend(f"{at}: {key} is missing" for key in value if key not in v)

    def on_items(self, v, value, schema, at, here, out):
        if not isinstance(v, list):
            return
        if not isinstance(value, list):
            for i, item in enumerate(v):
                self.check(item, value, f"{at}/{i}", here, out)
            return
        rest = schema.get("additionalItems", True)
        for i, item in enumerate(v):
            self.check(item, value[i] if i < len(value) else rest, f"{at}/{i}", here, out)

    def on_minItems(self, v, value, schema, at, here, out):
        if isinstance(v, list) and len(v) < value:
            out.append(f"{at}: {len(v)} items, expected {value} or more")

    def on_maxItems(self, v, value, schema, at, here, out):
        if isinstance(v, list) and len(v) > value:
            out.append(f"{at}: {len(v)} items, expected {value} at most")

    def on_uniqueItems(self, v, value, schema, at, here, out):
        if value and isinstance(v, list):
            for i, item in enumerate(v):
                if any(same(item, other) for other in v[:i]):
                    out.append(f"{at}/{i}: stands there twice")

    def on_minProperties(self, v, value, schema, at, here, out):
        if isinstance(v, dict) and len(v) < value:
            out.append(f"{at}: {len(v)} members, expected {value} or more")

    def on_pattern(self, v, value, schema, at, here, out):
        if isinstance(v, str) and not re.search(value, v):
            out.append(f"{at}: {json.dumps(v)[:60]} does not fit {value}")

    def on_minLength(self, v, value, schema, at, here, out):
        if isinstance(v, str) and len(v) < value:
            out.append(f"{at}: {len(v)} characters, expected {value} or more")

    def on_maxLength(self, v, value, schema, at, here, out):
        if isinstance(v, str) and len(v) > value:
            out.append(f"{at}: {len(v)} characters, expected {value} at most")

    def on_minimum(self, v, value, schema, at, here, out):
        if is_number(v) and v < value:
            out.append(f"{at}: {v}, expected {value} or more")

    def on_maximum(self, v, value, schema, at, here, out):
        if is_number(v) and v > value:
            out.append(f"{at}: {v}, expected {value} at most")

    def on_exclusiveMinimum(self, v, value, schema, at, here, out):
        if is_number(v) and v <= value:
            out.append(f"{at}: {v}, expected more than {value}")

    def on_exclusiveMaximum(self, v, value, schema, at, here, out):
        if is_number(v) and v >= value:
            out.append(f"{at}: {v}, expected less than {value}")

    def on_multipleOf(self, v, value, schema, at, here, out):
        if is_number(v) and Fraction(str(v)) % Fraction(str(value)) != 0:
            out.append(f"{at}: {v} is no multiple of {value}")

    def on_allOf(self, v, value, schema, at, here, out):
        for one in value:
            self.check(v, one, at, here, out)

    def on_anyOf(self, v, value, schema, at, here, out):
        if not any(self.fits(v, one, at, here) for one in value):
            out.append(f"{at}: fits none of {len(value)} forms")

    def on_oneOf(self, v, value, schema, at, here, out):
        n = sum(self.fits(v, one, at, here) for one in value)
        if n != 1:
            out.append(f"{at}: fits {n} of {len(value)} forms, expected one")

    def on_not(self, v, value, schema, at, here, out):
        if self.fits(v, value, at, here):
            out.append(f"{at}: has a form that is excluded")

    def on_if(self, v, value, schema, at, here, out):
        branch = "then" if self.fits(v, value, at, here) else "else"
        if branch in schema:
            self.check(v, schema[branch], at, here, out)


def run_suite(folder, names):
    n = 0
    for name in names:
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            for group in json.load(f):
                checker = Checker(name, group["schema"])
                for test in group["tests"]:
                    n += 1
                    if checker.fits(test["data"], group["schema"], "", name) != test["valid"]:
                        sys.exit(f"{name}: {group['description']}: {test['description']}")
    print(f"{n} tests of the suite")


def main(args):
    lines = args[:1] == ["--lines"]
    if args[:1] == ["--suite"]:
        return run_suite(args[1], args[2:])
    args = args[1:] if lines else args
    checker = Checker(args[0])
    schema = checker.document(checker.name)
    if len(args) > 1:
        with open(args[1], encoding="utf-8") as f:
            text = f.read()
    else:
        text = sys.stdin.read()
    values = [load(line) for line in text.splitlines()] if lines else [load(text)]
    out = []
    for i, value in enumerate(values):
        checker.check(value, schema, f"line {i + 1}" if lines else "", checker.name, out)
    if not values:
        out.append("there is nothing")
    print("\n".join(out), end="\n" if out else "")
    return 1 if out else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyError as problem:
        print(f"the schema's word {problem} is not known here", file=sys.stderr)
        sys.exit(2)
    except ValueError as problem:
        print(problem)
        sys.exit(1)
