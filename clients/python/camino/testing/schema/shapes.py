"""The shape of a message type: what must be there, what excludes each other, and how deep it must be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from buf.validate import validate_pb2
from camino.testing.schema.candidates import UnknownOption, options
from camino.testing.schema.domains import is_single
from camino.testing.schema.judge import UnsupportedRule
from camino.testing.schema.slots import field_rules, is_map, map_entry
from google.protobuf.descriptor import Descriptor, FieldDescriptor

_TYPES = frozenset(field.name for field in validate_pb2.FieldRules.DESCRIPTOR.oneofs_by_name["type"].fields)
_RULES = frozenset({"cel", "cel_expression", "required", "ignore", *_TYPES})
_MESSAGE_RULES = frozenset({"cel", "cel_expression", "oneof"})
_OF_MANY = frozenset({"min_items", "max_items", "unique", "items", "min_pairs", "max_pairs", "keys", "values"})
# Its JSON form needs one, and it has no rules to say so.
_CHOSEN = "google.protobuf.Value.kind"


@dataclass(frozen=True, slots=True)
class Choice:
    """Fields of which at most one is set."""

    name: str
    members: tuple[FieldDescriptor, ...]
    required: bool
    """One must be."""


@dataclass(frozen=True, slots=True)
class Shape:
    choices: tuple[Choice, ...]
    others: tuple[FieldDescriptor, ...]
    """The fields that are in no choice."""
    expressions: tuple[str, ...]
    """The ids of the rules that relate its fields or are written in CEL, those of its fields included."""


@cache
def shape(kind: Descriptor) -> Shape:
    """Raises `UnsupportedRule` for rules about structure that are not in the vocabulary."""
    rules = kind.GetOptions().Extensions[validate_pb2.message]
    _known(kind.full_name, rules, _MESSAGE_RULES)
    choices = [_one_of(one_of) for one_of in kind.oneofs if not _is_synthetic(one_of)]
    for exclusive in rules.oneof:
        members = tuple(kind.fields_by_name[name] for name in exclusive.fields)
        choices.append(Choice(",".join(exclusive.fields), members, exclusive.required))
    expressions = _expressions(rules) + ["message.oneof"] * len(rules.oneof)
    for field in kind.fields:
        _check(field)
        expressions += _expressions(field_rules(field))
    chosen = {field for choice in choices for field in choice.members}
    return Shape(tuple(choices), tuple(field for field in kind.fields if field not in chosen), tuple(expressions))


def is_mandatory(field: FieldDescriptor) -> bool:
    """Whether a message of its type is never valid without it."""
    rules = field_rules(field)
    counts = rules.ignore != validate_pb2.IGNORE_IF_ZERO_VALUE and (rules.repeated.min_items or rules.map.min_pairs)
    return bool(rules.required or counts)


def fewest(field: FieldDescriptor) -> int:
    """How many items a list or a map must have if it's not left out."""
    rules = field_rules(field)
    return int(max(rules.repeated.min_items, rules.map.min_pairs, rules.required))


def may_be_left_out(field: FieldDescriptor) -> bool:
    """Whether to leave it out is a decision of its own, not that for a value like any other."""
    skipped = field_rules(field).ignore == validate_pb2.IGNORE_IF_ZERO_VALUE
    return bool(field.has_presence or skipped or leads_deeper(field))


def leads_deeper(field: FieldDescriptor) -> bool:
    """Whether it holds messages of a recursive type."""
    inner = nested(field)
    return inner is not None and is_recursive(inner)


def nested(field: FieldDescriptor) -> Descriptor | None:
    """The type of the messages inside a field, in a list or a map included; None if it holds single values."""
    kind = map_entry(field).fields_by_name["value"].message_type if is_map(field) else field.message_type
    return None if is_single(kind) else kind


def is_validated(field: FieldDescriptor) -> bool:
    """Whether the rules of the messages inside a field are heeded."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    inner = (rules, rules.repeated.items, rules.map.values)
    return all(each.ignore != validate_pb2.IGNORE_ALWAYS for each in inner)


@cache
def is_recursive(kind: Descriptor) -> bool:
    """Whether messages of this type may hold others of the same type."""
    return any(kind in reachable(inner) for inner in _inner(kind))


@cache
def reachable(kind: Descriptor) -> frozenset[Descriptor]:
    """The types of the messages that a message of this type may hold, and itself."""
    found, pending = {kind}, [kind]
    while pending:
        new = set(_inner(pending.pop())) - found
        found |= new
        pending += new
    return frozenset(found)


@cache
def height(kind: Descriptor) -> int:
    """How many messages of recursive types lie in each other, at least, in a valid one of this type, itself included.
    Raises `UnsupportedRule` if that never ends."""
    heights: dict[Descriptor, float] = dict.fromkeys(reachable(kind), math.inf)
    for _ in heights:
        heights = {each: _height(each, heights) for each in heights}
    if math.isinf(heights[kind]):
        raise UnsupportedRule(kind.full_name, "required", "no finite message is valid")
    return int(heights[kind])


def _height(kind: Descriptor, heights: Mapping[Descriptor, float]) -> float:
    def of(field: FieldDescriptor) -> float:
        inner = nested(field)
        return heights[inner] if inner else 0

    needed = [of(field) for field in kind.fields if is_mandatory(field)]
    needed += [min(map(of, choice.members)) for choice in shape(kind).choices if choice.required]
    return is_recursive(kind) + max(needed, default=0)


def _inner(kind: Descriptor) -> Iterator[Descriptor]:
    for field in kind.fields:
        if inner := nested(field):
            yield inner


def _one_of(one_of: Any) -> Choice:
    required = one_of.GetOptions().Extensions[validate_pb2.oneof].required or one_of.full_name == _CHOSEN
    return Choice(one_of.name, tuple(one_of.fields), required)


def _is_synthetic(one_of: Any) -> bool:
    """Whether the compiler made it, for a single field that is declared `optional`."""
    return len(one_of.fields) == 1 and one_of.name == f"_{one_of.fields[0].name}"


def _expressions(rules: Any) -> list[str]:
    return [*(rule.id or rule.expression for rule in rules.cel), *rules.cel_expression]


def _check(field: FieldDescriptor) -> None:
    rules = field_rules(field)
    _known(field.full_name, rules, _RULES)
    if field.is_repeated:
        _known(field.full_name, rules.map if is_map(field) else rules.repeated, _OF_MANY)
        for part in (rules.repeated.items, rules.map.keys, rules.map.values):
            _known(field.full_name, part, _RULES - {"cel", "cel_expression", "required"})
        rules = rules.map.values if is_map(field) else rules.repeated.items
    about = rules.WhichOneof("type")
    if about and nested(field) and is_validated(field):
        raise UnsupportedRule(field.full_name, about, "about the value of a whole message")


def _known(name: str, rules: Any, known: frozenset[str]) -> None:
    try:
        options(rules, known)
    except UnknownOption as unknown:
        raise UnsupportedRule(name, unknown.option, "not in the vocabulary") from unknown
