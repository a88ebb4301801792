"""The rules that message types declare, counted from their options, with nothing of what derives messages from them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from buf.validate import validate_pb2
from camino.testing.schema.mutants import Mutant
from google.protobuf.descriptor import Descriptor, FieldDescriptor

Rule = tuple[str, str, str]
"""The type that declares it, the field that it's about, and the option; of an expression its id."""


def declared(kind: Descriptor) -> Iterator[Rule]:
    """The rules of a type and of those inside it, once for each way there."""
    for inner in ways(kind, ()):
        for field, option in _own(inner):
            yield inner.full_name, field, option


def told(kind: Descriptor, mutant: Mutant) -> Rule:
    """The rule that a mutant of a type says to break."""
    container, field, inner = kind, "", kind
    for field in re.findall(r"(?:^|\.)(\w+)", re.sub(r'\[(".*?"|\d+|True|False)\]', "", mutant.field)):
        container, found = inner, inner.fields_by_name.get(field)
        inner = (inside(found) if found else None) or container
    if (inner.full_name, "", mutant.option) in declared(inner):
        return inner.full_name, "", mutant.option
    return container.full_name, field, mutant.option


def is_recursive(kind: Descriptor) -> bool:
    return any(kind in ways(inner, ()) for field in kind.fields if (inner := inside(field)) is not None)


def inside(field: FieldDescriptor) -> Descriptor | None:
    """The type of the messages in a field whose rules are heeded."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if validate_pb2.IGNORE_ALWAYS in (rules.ignore, rules.repeated.items.ignore, rules.map.values.ignore):
        return None
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        kind = kind.fields_by_name["value"].message_type
    return None if kind is None or kind.full_name.startswith("google.protobuf.") else kind


def ways(kind: Descriptor, above: tuple[Descriptor, ...] = ()) -> Iterator[Descriptor]:
    """The types inside a type, itself first, once for each way to them."""
    yield kind
    for field in kind.fields:
        inner = inside(field)
        if inner is not None and inner not in (*above, kind):
            yield from ways(inner, (*above, kind))


def _own(kind: Descriptor) -> Iterator[tuple[str, str]]:
    rules = kind.GetOptions().Extensions[validate_pb2.message]
    for expression in [
        *(rule.id for rule in rules.cel),
        *rules.cel_expression,
        *("message.oneof" for _ in rules.oneof),
    ]:
        yield "", expression
    for one_of in kind.oneofs:
        if one_of.GetOptions().Extensions[validate_pb2.oneof].required:
            yield one_of.name, "required"
    for field in kind.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        for option in _options(rules):
            yield field.name, option


def _options(rules: Any) -> Iterator[str]:
    if rules.ignore == validate_pb2.IGNORE_ALWAYS:
        return
    if rules.required:
        yield "required"
    yield from (rule.id for rule in rules.cel)
    about = rules.WhichOneof("type")
    for option, value in getattr(rules, about).ListFields() if about else ():
        if option.name in ("items", "keys", "values"):
            yield from _options(value)
        else:
            yield option.name
