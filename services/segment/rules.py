"""A workspace's published segments, ready to be asked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from services.segment.domain import Definition, Facts
from services.segment.evaluate import Compiled, Dependencies, compiled, depends_on, membership


@dataclass(frozen=True, slots=True)
class Published:
    """One segment's serving version. `edition` is the workspace's edition that brought it, or one of those it asks."""

    segment_id: str
    version: int
    edition: int
    definition: Definition
    ask: Compiled
    """Says whether a profile is a member: never unknown."""
    needs: Dependencies
    """What it depends on, also by way of the segments it asks."""

    @classmethod
    def of(
        cls,
        segment_id: str,
        version: int,
        edition: int,
        definition: Definition,
        others: Mapping[str, Published] = MappingProxyType({}),
    ) -> Published:
        """`others` has all segments that this one asks. Raises KeyError if it hasn't."""
        needs = depends_on(definition.condition)
        asked = {other: others[other] for other in needs.segments}
        ask = compiled(definition.condition, {other: published.ask for other, published in asked.items()})
        for published in asked.values():
            needs |= published.needs
        return cls(segment_id, version, edition, definition, membership(ask, definition.missing), needs)

    def verdict(self, facts: Facts, now: int) -> tuple[bool, int]:
        """Whether a profile is a member now, and until when at least, if nothing happens."""
        value, until = self.ask(facts, now)
        return value is True, until


class Rules:
    """All that is published in a workspace at one edition, and which segments a fact touches.

    The edition grows with each publication, so it says of a profile which segments it has been evaluated by: those
    whose edition isn't greater than the profile's.
    """

    __slots__ = ("by_attribute", "by_consent", "by_event_type", "by_id", "by_zone", "edition")

    def __init__(self, edition: int, segments: Iterable[Published]) -> None:
        self.edition = edition
        self.by_id: Mapping[str, Published] = {segment.segment_id: segment for segment in segments}
        self.by_attribute: dict[str, list[Published]] = {}
        self.by_event_type: dict[str, list[Published]] = {}
        self.by_consent: dict[str, list[Published]] = {}
        self.by_zone = [segment for segment in self.by_id.values() if segment.needs.zone]
        for segment in self.by_id.values():
            for name in segment.needs.attributes:
                self.by_attribute.setdefault(name, []).append(segment)
            for kind in segment.needs.event_types:
                self.by_event_type.setdefault(kind, []).append(segment)
            for key in segment.needs.consents:
                self.by_consent.setdefault(key, []).append(segment)

    def since(self, edition: int) -> list[Published]:
        """The segments that a profile last evaluated at `edition` has yet to be evaluated by."""
        return [segment for segment in self.by_id.values() if segment.edition > edition]


NO_RULES = Rules(0, ())
