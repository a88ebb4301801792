"""A workspace's published segments, ready to be asked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.segment.domain import Definition, Facts
from services.segment.evaluate import Compiled, compiled, depends_on


@dataclass(frozen=True, slots=True)
class Published:
    """One segment's serving version. `edition` is the workspace's edition that brought it."""

    segment_id: str
    version: int
    edition: int
    definition: Definition
    ask: Compiled

    @classmethod
    def of(cls, segment_id: str, version: int, edition: int, definition: Definition) -> Published:
        return cls(segment_id, version, edition, definition, compiled(definition.condition))

    def verdict(self, facts: Facts, now: int) -> tuple[bool, int]:
        """Whether a profile is a member now, and until when at least, if nothing happens."""
        value, until = self.ask(facts.attributes, facts.events, now)
        return (self.definition.missing if value is None else value), until


class Rules:
    """All that is published in a workspace at one edition, and which segments a fact touches.

    The edition grows with each publication, so it says of a profile which segments it has been evaluated by: those
    whose edition isn't greater than the profile's.
    """

    __slots__ = ("by_attribute", "by_event_type", "by_id", "edition")

    def __init__(self, edition: int, segments: Iterable[Published]) -> None:
        self.edition = edition
        self.by_id: Mapping[str, Published] = {segment.segment_id: segment for segment in segments}
        self.by_attribute: dict[str, list[Published]] = {}
        self.by_event_type: dict[str, list[Published]] = {}
        for segment in self.by_id.values():
            needs = depends_on(segment.definition.condition)
            for name in needs.attributes:
                self.by_attribute.setdefault(name, []).append(segment)
            for kind in needs.event_types:
                self.by_event_type.setdefault(kind, []).append(segment)

    def since(self, edition: int) -> list[Published]:
        """The segments that a profile last evaluated at `edition` has yet to be evaluated by."""
        return [segment for segment in self.by_id.values() if segment.edition > edition]


NO_RULES = Rules(0, ())
