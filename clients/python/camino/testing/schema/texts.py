"""Candidates for strings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from camino.testing.schema import formats, patterns
from camino.testing.schema.candidates import Candidates, options
from camino.testing.schema.frames import Frame
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_LENGTHS = ("len", "min_len", "max_len")
_SIZES = ("len_bytes", "min_bytes", "max_bytes")
_AFFIXES = ("prefix", "contains", "suffix")
_OPTIONS = frozenset(
    {*_LENGTHS, *_SIZES, *_AFFIXES, "const", "pattern", "not_contains", "in", "not_in", "strict", *formats.FORMATS}
)
# Of one, two, three and four bytes, to tell characters from bytes.
_UNITS = ("x", "é", "界", "😀")
_LARGE = 1 << 13  # Strings that are longer are tried of fewer kinds of characters,
_HUGE = 1 << 24  # and those not at all.
_MORE = 12  # So many characters more than they must have, strings usually have at most.
_EDGES = ("", "x", "é", "😀", " ", "\n", "\x00", "\u202e", "null", "Ω≈ç√", "'\"<b>&")


def texts(rules: Any, name: str) -> Candidates:
    """By `buf.validate.StringRules`, for a field of this name."""
    given = options(rules, _OPTIONS)
    given.pop("strict", None)
    frame = Frame(*(given.get(affix, "") for affix in _AFFIXES))
    near = {option: [*_near(given, frame, option)] for option in given}
    known = [formats.FORMATS[option].example(given[option]) for option in given if option in formats.FORMATS]
    edges = [*given.get("in", ()), *([given["const"]] if "const" in given else []), *known, *map(frame.around, _EDGES)]
    edges += [value for values in near.values() for value in values]
    return Candidates(
        _usual(given, frame),
        sorted(dict.fromkeys(edges), key=len),
        near,
        [*dict.fromkeys((name, name.replace("_", "-"), name.replace("_", ""), frame.around(name)))],
    )


def _usual(given: dict[str, Any], frame: Frame[str]) -> SearchStrategy[str]:
    if "const" in given:
        return st.just(str(given["const"]))
    if "in" in given:
        return st.sampled_from(list(given["in"]))
    if "pattern" in given:
        return patterns.matching(given["pattern"])
    for option, value in given.items():
        if option in formats.FORMATS:
            return formats.FORMATS[option].values(value)
    fixed, fixed_bytes = len(frame.around("")), len(frame.around("").encode())
    fewest = max(_lowest(given, *_LENGTHS) - fixed, _lowest(given, *_SIZES) - fixed_bytes, 0)
    most = min(_highest(given, *_LENGTHS) - fixed, _highest(given, *_SIZES) - fixed_bytes, fewest + _MORE)
    space = _highest(given, *_SIZES) - fixed_bytes
    return st.text(min_size=fewest, max_size=max(most, fewest)).map(lambda text: frame.around(_cut(text, space)))


def _near(given: dict[str, Any], frame: Frame[str], option: str) -> Iterator[str]:
    value = given[option]
    if option in _LENGTHS or option in _SIZES:
        if value > _HUGE:
            return
        for unit in _UNITS if value <= _LARGE else _UNITS[:2]:
            for size in (value - 1, value + 1, value):
                yield from _sized(frame, size, unit, option in _SIZES)
        for unit in _UNITS[1:]:
            # What a count of the other kind would let pass.
            yield from _sized(frame, value, unit, option in _LENGTHS)
        for seed in _seeds(given):
            # Shorter or longer, but perhaps still of the format or the pattern.
            for size in (value - 1, value + 1, value):
                missing = max(size - len(seed), 0)
                yield from (seed[:size], seed + seed[-1:] * missing, seed[:1] * missing + seed)
    elif option in _AFFIXES:
        yield _fitting(given, replace(frame, **{option: ""}), "~")
        yield _fitting(given, replace(frame, **{option: value[:-1]}), "~")
    elif option == "not_contains":
        yield _fitting(given, replace(frame, contains=frame.contains + value), "x")
    elif option == "not_in":
        yield from value
    elif option in ("const", "in"):
        for each in [value] if option == "const" else value:
            yield from (each + "x", each[:-1], each.swapcase(), f"{each} ")
        yield _fitting(given, frame, "x")
    elif option == "pattern":
        yield from patterns.near(value)
    else:
        yield from formats.FORMATS[option].near(value)


def _seeds(given: dict[str, Any]) -> Iterator[str]:
    for option, value in given.items():
        if option in formats.FORMATS:
            yield formats.FORMATS[option].example(value)
        elif option == "pattern":
            yield from patterns.simplest_and_longest(value)


def _sized(frame: Frame[str], size: int, unit: str, in_bytes: bool) -> Iterator[str]:
    text = frame.sized(size, unit, "x", (lambda part: len(part.encode())) if in_bytes else len)
    if text is not None:
        yield text


def _fitting(given: dict[str, Any], frame: Frame[str], unit: str) -> str:
    """The shortest of this frame that is long enough."""
    fixed = frame.around("")
    missing = max(_lowest(given, *_LENGTHS) - len(fixed), _lowest(given, *_SIZES) - len(fixed.encode()), 0)
    return frame.around(unit * missing)


def _lowest(given: dict[str, Any], exact: str, least: str, _most: str) -> int:
    return int(given.get(exact, given.get(least, 0)))


def _highest(given: dict[str, Any], exact: str, _least: str, most: str) -> int:
    return int(given.get(exact, given.get(most, 1 << 32)))


def _cut(text: str, size: int) -> str:
    """As many of its characters as fit into so many bytes."""
    return text.encode()[: max(size, 0)].decode(errors="ignore") if len(text) * 4 > size else text
