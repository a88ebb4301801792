"""The rules of a schema (`buf.validate`) in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from buf.validate import validate_pb2
from google.protobuf.message import Message


class UnknownRule(Exception):
    """A rule that has no words here yet: give it some."""


def of_field(rules: validate_pb2.FieldRules, values: Mapping[int, str]) -> list[str]:
    """What a field's value holds to. `values` are the names of its enum's values, if it is one. Raises
    `UnknownRule`."""
    said: list[str] = []
    for kind, rule in rules.ListFields():
        if kind.name == "required":
            said.append("required")
        elif kind.name == "cel":
            said += [found.message for found in rule]
        elif kind.name == "enum":
            said += _enum(rule, values)
        elif kind.name == "repeated":
            said += _repeated(rule, values)
        elif kind.name in _KINDS:
            said += _KINDS[kind.name](rule)
        else:
            raise UnknownRule(kind.full_name)
    return said


def of_message(rules: validate_pb2.MessageRules) -> list[str]:
    """What a message holds to as a whole. Raises `UnknownRule`."""
    _known(rules, "cel")
    return [rule.message for rule in rules.cel]


def number(value: float) -> str:
    """A number for people: `1,000`, `0.5`."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,}"


def _known(rules: Message, *names: str) -> None:
    for kind, _ in rules.ListFields():
        if kind.name not in names:
            raise UnknownRule(kind.full_name)


def _span(rules: Any, least: str, most: str, unit: str) -> list[str]:
    """The bounds of a size: `1 to 64 bytes`."""
    low, high = rules.HasField(least), rules.HasField(most)
    if low and high:
        return [f"{number(getattr(rules, least))} to {number(getattr(rules, most))} {unit}"]
    if low:
        return [f"at least {_counted(getattr(rules, least), unit)}"]
    return [f"at most {_counted(getattr(rules, most), unit)}"] if high else []


def _counted(count: int, unit: str) -> str:
    one = {"entries": "entry"}.get(unit, unit.removesuffix("s"))
    return f"{number(count)} {one if count == 1 else unit}"


def _string(rules: validate_pb2.StringRules) -> list[str]:
    _known(rules, "min_bytes", "max_bytes", "pattern", "not_contains")
    pattern = [f"matches `{rules.pattern}`"] if rules.HasField("pattern") else []
    without = [f"without {_character(rules.not_contains)}"] if rules.HasField("not_contains") else []
    return _span(rules, "min_bytes", "max_bytes", "bytes") + pattern + without


def _character(text: str) -> str:
    """A text, or the name of a character that can't be seen."""
    return f"`{text}`" if text.isprintable() else " ".join(f"U+{ord(character):04X}" for character in text)


def _number(rules: Any) -> list[str]:
    _known(rules, "gte", "lte", "finite")
    finite = ["a finite number"] if "finite" in rules.DESCRIPTOR.fields_by_name and rules.finite else []
    return _bounds(rules, number) + finite


def _bool(rules: validate_pb2.BoolRules) -> list[str]:
    _known(rules, "const")
    return [f"`{str(rules.const).lower()}`"] if rules.HasField("const") else []


def _duration(rules: validate_pb2.DurationRules) -> list[str]:
    _known(rules, "gt", "gte", "lte")
    return _bounds(rules, _time)


def _timestamp(rules: validate_pb2.TimestampRules) -> list[str]:
    _known(rules, "gte", "lte")
    return _bounds(rules, lambda at: str(at.ToJsonString()))


def _bounds(rules: Any, said: Callable[[Any], str]) -> list[str]:
    if rules.HasField("gte") and rules.HasField("lte"):
        return [f"{said(rules.gte)} to {said(rules.lte)}"]
    words = {"gt": "more than", "gte": "at least", "lte": "at most"}
    return [f"{words[kind.name]} {said(bound)}" for kind, bound in rules.ListFields() if kind.name in words]


def _time(bound: Any) -> str:
    """A duration for people, in the largest unit of which it's a whole number: `365 days`."""
    for unit, seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if bound.seconds and bound.seconds % seconds == 0:
            count = bound.seconds // seconds
            return f"{number(count)} {unit}{'' if count == 1 else 's'}"
    return f"{number(bound.seconds)} second{'' if bound.seconds == 1 else 's'}" if bound.seconds else "0"


def _enum(rules: validate_pb2.EnumRules, values: Mapping[int, str]) -> list[str]:
    _known(rules, "defined_only", "not_in")
    declared = ["a declared value"] if rules.defined_only else []
    return declared + [f"not `{values[value]}`" for value in rules.not_in]


def _repeated(rules: validate_pb2.RepeatedRules, values: Mapping[int, str]) -> list[str]:
    _known(rules, "min_items", "max_items", "items")
    return _span(rules, "min_items", "max_items", "entries") + _each("each entry", rules.items, values)


def _map(rules: validate_pb2.MapRules) -> list[str]:
    _known(rules, "min_pairs", "max_pairs", "keys", "values")
    return (
        _span(rules, "min_pairs", "max_pairs", "entries")
        + _each("each key", rules.keys)
        + _each("each value", rules.values)
    )


def _each(what: str, rules: validate_pb2.FieldRules, values: Mapping[int, str] | None = None) -> list[str]:
    return [f"{what} {said}" for said in of_field(rules, values or {})]


_KINDS: Mapping[str, Callable[[Any], list[str]]] = {
    "string": _string,
    "bool": _bool,
    "int32": _number,
    "int64": _number,
    "double": _number,
    "duration": _duration,
    "timestamp": _timestamp,
    "map": _map,
}
