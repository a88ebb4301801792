"""The rules of a message type, and what to force on a message to break each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import Any

from buf.validate import validate_pb2
from camino.testing.schema.assembly import ABSENT, Forced, assemble
from camino.testing.schema.domains import HUGE, distinct, near_misses
from camino.testing.schema.judge import BOUNDS, Break, breaks
from camino.testing.schema.moves import held, is_set, neighbours
from camino.testing.schema.samples import LAVISH, LEAST, examples
from camino.testing.schema.shapes import height, nested, shape
from camino.testing.schema.slots import Part, Slot, field_rules, is_map
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_ENOUGH = 8  # So many messages that break an expression are looked for.


@dataclass(frozen=True, slots=True)
class Breakage:
    field: str
    """The field that the rule is about; empty if it's the whole message."""
    option: str
    """What declares the rule, e.g. `pattern`; of an expression its id."""
    ways: Sequence[Forced]
    """What to force on a message, each by itself, so that it breaks this rule and no other."""

    def is_told_by(self, found: Break) -> bool:
        """Whether this rule is the one that was found to be broken."""
        return self.option in (found.option, found.rule) or {self.option, found.option} <= BOUNDS


@cache
def breakages(kind: Descriptor) -> tuple[Breakage, ...]:
    """One for each rule that the type declares, those of the messages inside it not included."""
    return tuple(chain(_of_choices(kind), *map(_of_field, kind.fields), _of_expressions(kind)))


def _of_choices(kind: Descriptor) -> Iterator[Breakage]:
    for choice in shape(kind).choices:
        one_of = kind.oneofs_by_name.get(choice.name)
        if one_of is not None and one_of.GetOptions().Extensions[validate_pb2.oneof].required:
            yield Breakage(choice.name, "required", [{field.name: ABSENT for field in choice.members}])


def _of_field(field: FieldDescriptor) -> Iterator[Breakage]:
    if field_rules(field).required:
        yield Breakage(field.name, "required", [{field.name: ABSENT}])
    if is_map(field):
        yield from _of_map(field)
    elif field.is_repeated:
        yield from _of_list(field)
    elif not nested(field):
        for option, values in near_misses(Slot(field)).items():
            yield Breakage(field.name, option, [{field.name: value} for value in values])


def _of_list(field: FieldDescriptor) -> Iterator[Breakage]:
    rules, name, levels = field_rules(field).repeated, field.name, _levels(field)
    if rules.HasField("min_items"):
        yield Breakage(name, "min_items", [{name: LEAST.items(field, rules.min_items - 1, levels)}])
    if rules.HasField("max_items"):
        many = rules.max_items + 1
        yield Breakage(name, "max_items", [{name: LEAST.items(field, many, levels)}] if many <= HUGE else [])
    if rules.unique:
        others = distinct(Slot(field, Part.ITEMS), max(rules.min_items - 1, 1))
        yield Breakage(name, "unique", [{name: [others[0], *others]}])
    if not nested(field):
        rest = LEAST.items(field, max(rules.min_items - 1, 0), levels)
        for option, values in near_misses(Slot(field, Part.ITEMS)).items():
            yield Breakage(f"{name}.items", option, [{name: [value, *rest]} for value in values])


def _of_map(field: FieldDescriptor) -> Iterator[Breakage]:
    rules, name, levels = field_rules(field).map, field.name, _levels(field)
    if rules.HasField("min_pairs"):
        yield Breakage(name, "min_pairs", [{name: LEAST.pairs(field, rules.min_pairs - 1, levels)}])
    if rules.HasField("max_pairs"):
        many = rules.max_pairs + 1
        yield Breakage(name, "max_pairs", [{name: LEAST.pairs(field, many, levels)}] if many <= HUGE else [])
    # The entry to break, and as many others as there must be.
    [(first, item), *rest] = LEAST.pairs(field, max(rules.min_pairs, 1), levels).items()
    for option, keys in near_misses(Slot(field, Part.KEYS)).items():
        # One way only, as the key is in the path.
        yield Breakage(f"{name}.keys", option, [{name: {key: item, **dict(rest)}} for key in keys[:1]])
    if not nested(field):
        for option, values in near_misses(Slot(field, Part.VALUES)).items():
            yield Breakage(f"{name}.values", option, [{name: {first: value, **dict(rest)}} for value in values])


def _of_expressions(kind: Descriptor) -> Iterator[Breakage]:
    for rule in shape(kind).expressions:
        yield Breakage("", rule, [*islice(_breaking(kind, rule), _ENOUGH)])


def _breaking(kind: Descriptor, rule: str) -> Iterator[Forced]:
    """What are whole messages that break this rule and no other."""
    levels = height(kind)
    valid = [assemble(kind, levels, decisions, {}) for decisions in (LEAST, LAVISH)]
    others = examples(kind, levels)
    tried = chain([GetMessageClass(kind)()], *(neighbours(message, others, ()) for message in valid))
    for message in tried:
        if [found.rule for found in breaks(message)] == [rule]:
            yield _whole(message)


def _whole(message: Message) -> dict[str, Any]:
    return {
        field.name: held(message, field.name) if is_set(message, field) else ABSENT
        for field in message.DESCRIPTOR.fields
    }


def _levels(field: FieldDescriptor) -> int:
    """As few as the messages inside the field need."""
    inner = nested(field)
    return height(inner) if inner else 0
