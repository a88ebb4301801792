"""Candidates for bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from camino.testing.schema import patterns
from camino.testing.schema.candidates import Candidates, options
from camino.testing.schema.frames import Frame
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_LENGTHS = ("len", "min_len", "max_len")
_AFFIXES = ("prefix", "contains", "suffix")
# The formats, and how many bytes they have.
_FORMATS = {"ip": (4, 16), "ipv4": (4,), "ipv6": (16,), "uuid": (16,)}
_OPTIONS = frozenset({*_LENGTHS, *_AFFIXES, *_FORMATS, "const", "pattern", "in", "not_in"})
_HUGE = 1 << 24  # So many are not tried.
_MORE = 12  # So many more than they must have, they usually have at most.
_EDGES = (b"", b"x", b"\x00", b"\xff", "é".encode())


def binary(rules: Any, name: str) -> Candidates:
    """By `buf.validate.BytesRules`, for a field of this name."""
    given = options(rules, _OPTIONS)
    frame = Frame(*(given.get(affix, b"") for affix in _AFFIXES))
    near = {option: [*_near(given, frame, option)] for option in given}
    edges = [*given.get("in", ()), *([given["const"]] if "const" in given else []), *map(frame.around, _EDGES)]
    edges += [bytes(size) for option in given for size in _FORMATS.get(option, ())]
    edges += [value for values in near.values() for value in values]
    telling = name.encode()
    return Candidates(
        _usual(given, frame), sorted(dict.fromkeys(edges), key=len), near, [telling, frame.around(telling)]
    )


def _usual(given: dict[str, Any], frame: Frame[bytes]) -> SearchStrategy[bytes]:
    if "const" in given:
        return st.just(bytes(given["const"]))
    if "in" in given:
        return st.sampled_from(list(given["in"]))
    if "pattern" in given:
        return patterns.matching(given["pattern"]).map(str.encode)
    for option, sizes in _FORMATS.items():
        if option in given:
            return st.sampled_from(sizes).flatmap(lambda size: st.binary(min_size=size, max_size=size))
    fixed = len(frame.around(b""))
    fewest = max(_lowest(given) - fixed, 0)
    most = min(given.get("len", given.get("max_len", 1 << 32)) - fixed, fewest + _MORE)
    return st.binary(min_size=fewest, max_size=max(most, fewest)).map(frame.around)


def _near(given: dict[str, Any], frame: Frame[bytes], option: str) -> Iterator[bytes]:
    value = given[option]
    if option in _LENGTHS and value <= _HUGE:
        for size in (value - 1, value + 1, value):
            found = frame.sized(size, b"\xff", b"\xff", len)
            if found is not None:
                yield found
    elif option in _AFFIXES:
        for rest in (b"", value[:-1]):
            without = replace(frame, **{option: rest})
            yield without.around(b"~" * max(_lowest(given) - len(without.around(b"")), 0))
    elif option == "not_in":
        yield from value
    elif option in ("const", "in"):
        for each in [value] if option == "const" else value:
            yield from (each + b"x", each[:-1], each.swapcase())
        yield frame.around(b"x" * max(_lowest(given) - len(frame.around(b"")), 0))
    elif option == "pattern":
        yield from (text.encode() for text in patterns.near(value))
    elif option in _FORMATS:
        yield from (bytes(size + 1) for size in _FORMATS[option])


def _lowest(given: dict[str, Any]) -> int:
    return int(given.get("len", given.get("min_len", 0)))
