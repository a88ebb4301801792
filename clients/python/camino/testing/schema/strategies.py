"""Valid messages of any type, from the rules in its schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from camino.testing.schema.assembly import Forced, assemble
from camino.testing.schema.domains import HUGE, domain
from camino.testing.schema.judge import breaks
from camino.testing.schema.samples import LEAST, examples
from camino.testing.schema.shapes import fewest, height, leads_deeper, nested, reachable, shape
from camino.testing.schema.slots import Part, Slot, field_rules, is_map
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

LEVELS = 7
"""How many messages of recursive types may lie in each other: four conditions and the lists between them."""

_ONE_IN_FOUR = st.sampled_from([False, False, False, True])
_MORE = 4  # So many items more than they must have, lists and maps usually have at most.


def messages(kind: type[Message], *, fixed: Mapping[str, object] = MappingProxyType({})) -> SearchStrategy[Any]:
    """Messages that break no rule, small ones with the edges of the rules among them: empty, exactly at a bound, more
    bytes than characters, the first and the last instant.

    `fixed` holds fields of the message, not of those inside it, that always have this value; it may name fields that
    this type doesn't have. Raises `UnsupportedRule` for a rule that valid messages can't be derived from.
    """
    descriptor = kind.DESCRIPTOR
    check(descriptor)
    forced = known(descriptor, fixed)
    return drawn(descriptor, max(LEVELS, height(descriptor)), forced).filter(lambda message: not breaks(message))


@cache
def check(kind: Descriptor) -> None:
    """Raise `UnsupportedRule` if valid messages can't be derived from a rule of this type or of those inside it."""
    for inner in reachable(kind):
        shape(inner)
    for field in (field for inner in reachable(kind) for field in inner.fields):
        if is_map(field):
            domain(Slot(field, Part.KEYS))
        if not nested(field):
            domain(Slot(field, Part.VALUES if is_map(field) else Part.ITEMS if field.is_repeated else Part.WHOLE))


def known(kind: Descriptor, fixed: Mapping[str, object]) -> Forced:
    """Those of the fields that this type has."""
    return {name: value for name, value in fixed.items() if name in kind.fields_by_name}


@dataclass(frozen=True, slots=True)
class Drawn:
    """Decides as Hypothesis draws."""

    draw: DrawFn

    def includes(self, field: FieldDescriptor) -> bool:
        # Messages with several of their own type inside would soon be very many.
        return self.draw(_ONE_IN_FOUR if field.is_repeated and leads_deeper(field) else st.booleans())

    def chooses(self, members: Sequence[FieldDescriptor], required: bool) -> FieldDescriptor | None:
        return self.draw(st.sampled_from(members if required else [None, *members]))

    def fills(self, field: FieldDescriptor, levels: int) -> Any:
        return self.draw(_filling(field, levels))

    def examples(self, kind: Descriptor, levels: int) -> Sequence[Message]:
        return examples(kind, levels)


@st.composite
def drawn(draw: DrawFn, kind: Descriptor, levels: int, forced: Forced) -> Message:
    return assemble(kind, levels, Drawn(draw), forced)


@cache
def _filling(field: FieldDescriptor, levels: int) -> SearchStrategy[Any]:
    if is_map(field):
        return _maps(field, levels)
    return _lists(field, levels) if field.is_repeated else _ones(Slot(field), levels)


def _lists(field: FieldDescriptor, levels: int) -> SearchStrategy[list[Any]]:
    rules = field_rules(field).repeated
    items = _ones(Slot(field, Part.ITEMS), levels)
    most = rules.max_items if rules.HasField("max_items") else None
    usual = st.lists(items, min_size=fewest(field), max_size=_usually_most(field, most), unique=rules.unique)
    if rules.unique:
        return usual.filter(Slot(field).allows)
    return _seldom(usual, LEAST.items(field, most, levels)) if most and most <= HUGE else usual


def _maps(field: FieldDescriptor, levels: int) -> SearchStrategy[dict[Any, Any]]:
    rules = field_rules(field).map
    keys, values = _ones(Slot(field, Part.KEYS), 0), _ones(Slot(field, Part.VALUES), levels)
    most = rules.max_pairs if rules.HasField("max_pairs") else None
    usual = st.dictionaries(keys, values, min_size=fewest(field), max_size=_usually_most(field, most))
    return _seldom(usual, LEAST.pairs(field, most, levels)) if most and most <= HUGE else usual


def _usually_most(field: FieldDescriptor, most: int | None) -> int:
    usual = fewest(field) + _MORE
    return usual if most is None else min(most, usual)


def _seldom(usual: SearchStrategy[Any], edge: Any) -> SearchStrategy[Any]:
    return st.integers(0, 31).flatmap(lambda roll: st.just(edge) if roll == 31 else usual)


def _ones(slot: Slot, levels: int) -> SearchStrategy[Any]:
    inner = nested(slot.field) if slot.part is not Part.KEYS else None
    return drawn(inner, levels, {}) if inner else domain(slot).valid
