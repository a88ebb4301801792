"""Messages that are always the same: the least that is valid, and with everything set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from camino.testing.schema.assembly import assemble, compose
from camino.testing.schema.domains import distinct, domain
from camino.testing.schema.shapes import fewest, height, nested
from camino.testing.schema.slots import Part, Slot, field_rules, is_map
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class Sample:
    """Decides always the same."""

    lavish: bool
    """To set all that can be, with values that tell the fields; else as little as can be."""

    def includes(self, field: FieldDescriptor) -> bool:
        return self.lavish

    def chooses(self, members: Sequence[FieldDescriptor], required: bool) -> FieldDescriptor | None:
        return members[0] if required or self.lavish else None

    def fills(self, field: FieldDescriptor, levels: int) -> Any:
        if is_map(field):
            return self.pairs(field, max(fewest(field), self.lavish), levels)
        if field.is_repeated:
            return self.items(field, max(fewest(field), self.lavish), levels)
        return self._one(Slot(field), levels)

    def items(self, field: FieldDescriptor, count: int, levels: int) -> list[Any]:
        """So many valid items of a list, all the same unless they must be different."""
        slot = Slot(field, Part.ITEMS)
        if field_rules(field).repeated.unique and count > 1:
            return list(distinct(slot, count))
        return [self._one(slot, levels)] * count if count else []

    def pairs(self, field: FieldDescriptor, count: int, levels: int) -> dict[Any, Any]:
        """So many valid entries of a map, with the same value."""
        slot = Slot(field, Part.KEYS)
        keys = [domain(slot).telling] if self.lavish and count == 1 else distinct(slot, count)
        return dict.fromkeys(keys, self._one(Slot(field, Part.VALUES), levels) if count else None)

    def examples(self, kind: Descriptor, levels: int) -> Sequence[Message]:
        return examples(kind, levels)

    def _one(self, slot: Slot, levels: int) -> Any:
        inner = nested(slot.field) if slot.part is not Part.KEYS else None
        if inner:
            return assemble(inner, levels, self, {})
        return domain(slot).telling if self.lavish else domain(slot).edges[0]


LEAST, LAVISH = Sample(lavish=False), Sample(lavish=True)


@cache
def examples(kind: Descriptor, levels: int) -> tuple[Message, ...]:
    """The least and the fullest of a type, whether or not its expressions hold."""
    few = min(levels, height(kind) + 1)  # With more the fullest could have very many messages inside.
    return tuple(compose(kind, few, decisions, {}) for decisions in (LEAST, LAVISH))
