#!/usr/bin/env python3
"""Records what BBC's mediatimestamp answers, as the oracle of src/domain/timestamp.rs and timerange.rs.

    pip install mediatimestamp==5.2.0
    python3 tests/vectors/mediatimestamp.py     # rewrites tests/vectors/timeranges.json

The cases are seeded: the same script writes the same file. The library reads more than TAMS allows (decimals, spaces,
leading zeros) and clamps what is out of range; we refuse it. Such cases carry a verdict:

    same      our answer is the library's
    pattern   refused: not of the official text pattern
    meaning   refused: of the pattern, but it says nothing ("[]") or contradicts itself ("(5:0)")
    range     refused: a time beyond 48 bits of seconds, which the library would clamp
"""
import json
import random
import re
import sys
from importlib.metadata import version
from itertools import product
from pathlib import Path

# This file has the library's name: keep its own folder out of the import path.
sys.path = [folder for folder in sys.path if Path(folder or ".").resolve() != Path(__file__).resolve().parent]

from mediatimestamp import TimeRange, Timestamp

VERSION = "5.2.0"
SEED = 20260814
LIMIT = Timestamp.MAX_SECONDS * Timestamp.MAX_NANOSEC - 1

TIME = r"-?(?:0|[1-9][0-9]*):(?:0|[1-9][0-9]{0,8})"
TIMESTAMP = re.compile(TIME)
TIMERANGE = re.compile(rf"([\[(]?)({TIME})?(_(?:{TIME})?)?([\])]?)")

# Few times, so that equal and neighbouring ends are common.
TIMES = ["-2:0", "-1:500000000", "-1:0", "-0:5", "0:0", "0:1", "0:2", "1:0", "2:0", "10:0"]
FAR_TIMES = ["1694429247:40000000", "9223372036:854775808", "281474976710655:999999999", "-281474976710655:999999999"]
ODD_TIMES = ["-0:0", "01:0", "1:01", "1:1000000000", "1.5", "1", "+1:0", " 1:0", "1:", ":1", "281474976710656:0"]
MARKS = list(product(["[", "(", ""], ["]", ")", ""]))


def nanoseconds(text):
    """The exact value, without the library's clamp."""
    sign = -1 if text.startswith("-") else 1
    seconds, nanos = text.lstrip("-").split(":")
    return sign * (int(seconds) * 10**9 + int(nanos))


def out_of_range(text):
    return any(abs(nanoseconds(time)) > LIMIT for time in re.findall(TIME, text))


def timestamp_case(text):
    if not TIMESTAMP.fullmatch(text):
        return [text, "pattern", "", ""]
    if out_of_range(text):
        return [text, "range", "", ""]
    at = Timestamp.from_str(text)
    return [text, "same", at.to_sec_nsec(), str(at.to_nanosec())]


def timerange_case(text):
    match = TIMERANGE.fullmatch(text)
    if not match:
        return [text, "pattern", ""]
    opening, single, rest, closing = match.groups()
    if rest is None and text != "()":
        if single is None or "(" in opening or ")" in closing:
            return [text, "meaning", ""]
    if out_of_range(text):
        return [text, "range", ""]
    return [text, "same", TimeRange.from_str(text).to_sec_nsec_range()]


def sum_case(a, b):
    """Texts of a + b and a - b; empty where the exact result is out of range."""
    def checked(value, result):
        return result.to_sec_nsec() if abs(value) <= LIMIT else ""

    x, y = Timestamp.from_str(a), Timestamp.from_str(b)
    return [
        a,
        b,
        (x > y) - (x < y),
        checked(nanoseconds(a) + nanoseconds(b), x + y),
        checked(nanoseconds(a) - nanoseconds(b), x - y),
    ]


def pair_case(a, b):
    x, y = TimeRange.from_str(a), TimeRange.from_str(b)
    # The library lets never contain nothing, not even itself. For us all ranges contain never and themselves.
    contains = x.contains_subrange(y) or (x.is_empty() and y.is_empty())
    return [
        a,
        b,
        x.intersect_with(y).to_sec_nsec_range(),
        x.extend_to_encompass_timerange(y).to_sec_nsec_range(),
        int(x.overlaps_with_timerange(y)),
        int(contains),
        int(x.is_contiguous_with_timerange(y)),
        int(x.is_earlier_than_timerange(y)),
        int(x.starts_earlier_than_timerange(y)),
    ]


def shift_case(text, by):
    """The moved range (empty where it leaves the range) and the length of the unmoved one (empty if infinite)."""
    x = TimeRange.from_str(text)
    length = ""
    if x.finite():
        # Of the library's ends, not its `length`: that is clamped when the ends are further apart than a timestamp can say.
        length = str(x.end.to_nanosec() - x.start.to_nanosec())
        assert length == str(x.length.to_nanosec()) or int(length) > LIMIT
    ends = [end for end in (x.start, x.end) if end is not None]
    if not x.is_empty() and any(abs(end.to_nanosec() + nanoseconds(by)) > LIMIT for end in ends):
        return [text, by, "", length]
    start, end = (None if end is None else end + Timestamp.from_str(by) for end in (x.start, x.end))
    return [text, by, TimeRange(start, end, x.inclusivity).to_sec_nsec_range(), length]


def random_range(rng):
    shape = rng.random()
    times = TIMES if rng.random() < 0.95 else FAR_TIMES
    opening, closing = rng.choice(["[", "("]), rng.choice(["]", ")"])
    if shape < 0.05:
        return rng.choice(["()", "_"])
    if shape < 0.2:
        return f"[{rng.choice(times)}]"
    if shape < 0.3:
        return f"{opening}{rng.choice(times)}_"
    if shape < 0.4:
        return f"_{rng.choice(times)}{closing}"
    start, end = sorted((rng.choice(times), rng.choice(times)), key=nanoseconds)
    return f"{opening}{start}_{end}{closing}"


def random_text(rng):
    """Any valid form, damaged half of the time."""
    times = TIMES if rng.random() < 0.7 else FAR_TIMES + ODD_TIMES
    opening, closing = rng.choice(MARKS)
    middle = rng.choice(["{0}", "{0}_{1}", "{0}_{1}", "{0}_", "_{1}"])
    text = opening + middle.format(rng.choice(times), rng.choice(times)) + closing
    if rng.random() < 0.5:
        place = rng.randrange(len(text) + 1)
        text = text[:place] + rng.choice(["", "0", "1", "-", "_", ":", "[", ")", "."]) + text[place + rng.randrange(2) :]
    return text


def unique(count, make):
    """Keeps the order of the first appearance."""
    found = {}
    while len(found) < count:
        found.setdefault(make())
    return list(found)


def main():
    assert version("mediatimestamp") == VERSION, version("mediatimestamp")
    rng = random.Random(SEED)
    all_times = TIMES + FAR_TIMES
    texts = [a + middle + b for a, b in MARKS for middle in ("", "_", "5:0", "5:0_5:0", "1:0_2:0", "2:0_1:0", "_5:0", "5:0_")]
    texts += unique(700, lambda: random_text(rng))
    tables = {
        "timestamps": [timestamp_case(text) for text in all_times + ODD_TIMES + ["-281474976710656:0", "-01:0", "--1:0", ""]],
        "sums": [sum_case(a, b) for a, b in product(all_times, repeat=2)],
        "timeranges": [timerange_case(text) for text in dict.fromkeys(texts)],
        "pairs": [pair_case(a, b) for a, b in product(["()", "_", "[1:0]", "[1:0_", "_1:0)"], repeat=2)]
        + [pair_case(*pair) for pair in unique(1300, lambda: (random_range(rng), random_range(rng)))],
        "shifts": [shift_case(*pair) for pair in unique(300, lambda: (random_range(rng), rng.choice(all_times)))],
    }
    with open(Path(__file__).with_name("timeranges.json"), "w", encoding="utf-8") as out:
        out.write(f'{{"oracle": "mediatimestamp {VERSION}", "seed": {SEED}')
        for name, rows in tables.items():
            # One case a line, so that a change shows as the lines that changed.
            lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
            out.write(f',\n"{name}": [\n{lines}\n]')
        out.write("}\n")


if __name__ == "__main__":
    main()
