"""What a condition asks about."""

from __future__ import annotations

from dataclasses import dataclass

from services.segment.domain import (
    AttributeTest,
    Condition,
    ConsentTest,
    DateTest,
    EventAggregate,
    InSegment,
    Sequence,
    inside,
)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """When nothing of it changes, only time can change the answer."""

    attributes: frozenset[str] = frozenset()
    event_types: frozenset[str] = frozenset()
    consents: frozenset[str] = frozenset()
    """By `consent_key`."""
    zone: bool = False
    """Whether the profile's time zone matters."""
    segments: frozenset[str] = frozenset()
    """The segments asked of: what those depend on, it depends on too."""

    def __or__(self, other: Dependencies) -> Dependencies:
        return Dependencies(
            self.attributes | other.attributes,
            self.event_types | other.event_types,
            self.consents | other.consents,
            self.zone or other.zone,
            self.segments | other.segments,
        )


def depends_on(condition: Condition) -> Dependencies:
    attributes: set[str] = set()
    event_types: set[str] = set()
    consents: set[str] = set()
    segments: set[str] = set()
    zone = False
    for node, _, _ in inside(condition):
        if isinstance(node, AttributeTest):
            attributes.add(node.name)
        elif isinstance(node, DateTest):
            attributes.add(node.attribute)
            zone = True
        elif isinstance(node, EventAggregate):
            event_types.add(node.event_type)
        elif isinstance(node, Sequence):
            event_types.update(step.event_type for step in node.steps)
        elif isinstance(node, ConsentTest):
            consents.add(node.key)
        elif isinstance(node, InSegment):
            segments.add(node.segment_id)
    return Dependencies(frozenset(attributes), frozenset(event_types), frozenset(consents), zone, frozenset(segments))
