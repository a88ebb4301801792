"""What a slot may hold by its rules, and what breaks each of them: candidates, sorted by protovalidate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import Any

from camino.testing.schema.binary import binary
from camino.testing.schema.candidates import Candidates, UnknownOption, options
from camino.testing.schema.enums import booleans, enums
from camino.testing.schema.judge import BOUNDS, UnsupportedRule
from camino.testing.schema.lines import Line, doubles, integers, singles
from camino.testing.schema.numbers import OPTIONS, numbers
from camino.testing.schema.simplest import simplest
from camino.testing.schema.slots import Slot
from camino.testing.schema.texts import texts
from camino.testing.schema.times import durations, timestamps
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample, Unsatisfiable
from hypothesis.strategies import SearchStrategy

_SIGNED_32, _SIGNED_64 = integers(-(1 << 31), (1 << 31) - 1), integers(-(1 << 63), (1 << 63) - 1)
_UNSIGNED_32, _UNSIGNED_64 = integers(0, (1 << 32) - 1), integers(0, (1 << 64) - 1)
_LINES: Mapping[int, tuple[str, Line]] = {
    FieldDescriptor.TYPE_DOUBLE: ("double", doubles()),
    FieldDescriptor.TYPE_FLOAT: ("float", singles()),
    FieldDescriptor.TYPE_INT32: ("int32", _SIGNED_32),
    FieldDescriptor.TYPE_SINT32: ("sint32", _SIGNED_32),
    FieldDescriptor.TYPE_SFIXED32: ("sfixed32", _SIGNED_32),
    FieldDescriptor.TYPE_INT64: ("int64", _SIGNED_64),
    FieldDescriptor.TYPE_SINT64: ("sint64", _SIGNED_64),
    FieldDescriptor.TYPE_SFIXED64: ("sfixed64", _SIGNED_64),
    FieldDescriptor.TYPE_UINT32: ("uint32", _UNSIGNED_32),
    FieldDescriptor.TYPE_FIXED32: ("fixed32", _UNSIGNED_32),
    FieldDescriptor.TYPE_UINT64: ("uint64", _UNSIGNED_64),
    FieldDescriptor.TYPE_FIXED64: ("fixed64", _UNSIGNED_64),
}
_TIMES = {"google.protobuf.Duration": durations, "google.protobuf.Timestamp": timestamps}
_ANY = "google.protobuf.Any"
_SINGLE = frozenset({*_TIMES, _ANY})
HUGE = 1 << 20
"""So many items are too many to try."""
_LARGE = 64  # A text or bytes longer than this is drawn but rarely.


@dataclass(frozen=True, slots=True)
class Domain:
    valid: SearchStrategy[Any]
    edges: tuple[Any, ...]
    """Valid values about where the rules begin and end to hold, the simplest first; at least one."""
    telling: Any
    """A valid value that tells the field if one does."""


def is_single(kind: Descriptor | None) -> bool:
    """Whether a field's type is held to rules as one value: a scalar, or a message that stands for one."""
    return kind is None or kind.full_name in _SINGLE or _is_wrapper(kind)


@cache
def domain(slot: Slot) -> Domain:
    """Raises `UnsupportedRule` if there's a rule that valid values can't be derived from."""
    candidates = _candidates(slot)
    edges = tuple(filter(slot.allows, candidates.edges))
    usual = candidates.usual.filter(slot.allows)
    if not edges:
        try:
            edges = (simplest(usual),)
        except (NoSuchExample, Unsatisfiable) as error:
            raise UnsupportedRule(slot.name, "all together", "no valid value was found") from error
    telling = next(filter(slot.allows, candidates.telling), next(filter(None, edges), edges[0]))
    return Domain(_mixed(usual, edges), edges, telling)


def near_misses(slot: Slot) -> Mapping[str, list[Any]]:
    """By option, the values that break this rule of the slot and no other."""
    near = _candidates(slot).near
    return {option: [value for value in values if _breaks_only(slot, option, value)] for option, values in near.items()}


@cache
def distinct(slot: Slot, count: int) -> tuple[Any, ...]:
    """So many different valid values. Raises `UnsupportedRule` if they aren't found."""
    known = domain(slot).edges
    found = tuple(islice(filter(slot.allows, dict.fromkeys(chain(known, _counted(slot, known[0], count)))), count))
    if len(found) < count:
        raise UnsupportedRule(slot.name, "unique", f"{count} different values were not found")
    return found


def _counted(slot: Slot, first: Any, count: int) -> Iterable[Any]:
    """Some more values, all different, starting from the first."""
    kind = slot.type.type
    if kind == FieldDescriptor.TYPE_STRING:
        return (text for number in range(count) for text in (str(number), f"x{number}", f"{number:06}"))
    if kind == FieldDescriptor.TYPE_BYTES:
        return (number.to_bytes(size, "big") for number in range(count) for size in (2, 4, 16))
    if kind in _LINES:
        line = _LINES[kind][1]
        around = (first + sign * number for number in range(count) for sign in (1, -1))
        return (value for value in around if line.lowest <= value <= line.highest)
    return ()


@cache
def _candidates(slot: Slot) -> Candidates:
    try:
        return _of_type(slot.type, slot.rules)
    except UnknownOption as unknown:
        raise UnsupportedRule(slot.name, unknown.option, "not in the vocabulary") from unknown


def _of_type(field: FieldDescriptor, rules: Any) -> Candidates:
    kind = field.message_type
    if kind is None:
        return _of_scalar(field, rules, field.name, field.number)
    if kind.full_name in _TIMES:
        option = kind.name.lower()
        return _TIMES[kind.full_name](getattr(rules, option), field.number)
    wrapper = GetMessageClass(kind)
    if kind.full_name == _ANY:
        options(rules.any, frozenset())
        return Candidates(st.just(wrapper()), [wrapper()])
    wrapped = _of_scalar(kind.fields_by_name["value"], rules, field.name, field.number)
    return wrapped.map(lambda value: wrapper(value=value))


def _of_scalar(field: FieldDescriptor, rules: Any, name: str, number: int) -> Candidates:
    if field.type == FieldDescriptor.TYPE_STRING:
        return texts(rules.string, name)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return binary(rules.bytes, name)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return booleans(rules.bool)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return enums(rules.enum, field.enum_type)
    option, line = _LINES[field.type]
    return numbers(line, options(getattr(rules, option), OPTIONS), number)


def _is_wrapper(kind: Descriptor) -> bool:
    return str(kind.file.name) == "google/protobuf/wrappers.proto"


def _breaks_only(slot: Slot, option: str, value: Any) -> bool:
    broken = slot.breaks(value)
    # Two bounds are one rule.
    return len(broken) == 1 and (broken[0].option == option or {broken[0].option, option} <= BOUNDS)


def _mixed(usual: SearchStrategy[Any], edges: tuple[Any, ...]) -> SearchStrategy[Any]:
    """Mostly the usual, the edges now and then, and the large ones of them rarely."""
    large = [edge for edge in edges if isinstance(edge, str | bytes) and len(edge) > _LARGE]
    small = [edge for edge in edges if not isinstance(edge, str | bytes) or len(edge) <= _LARGE]
    some, rare = st.sampled_from(small or large), st.sampled_from(large or small)
    return st.integers(0, 31).flatmap(lambda roll: usual if roll < 22 else some if roll < 31 else rare)
