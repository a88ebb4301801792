"""One profile's facts and memberships, and what new facts and time make of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from services.segment.domain import Facts
from services.segment.evaluate import NEVER, Membership


class Cause(IntEnum):
    """As in the contract."""

    EVENT = 1
    PROFILE = 2
    TIME = 3
    EDIT = 4


@dataclass(frozen=True, slots=True)
class Segment:
    """A published version, compiled."""

    segment_id: str
    version: int
    evaluate: Callable[[Facts, int], Membership]
    attributes: frozenset[str]
    event_types: frozenset[str]


class Transition(NamedTuple):
    """A profile entered or left a segment. Kept in this order in the store."""

    segment_id: str
    member: bool
    effective_at: int
    cause: int
    event_id: str
    version: int
    sequence: int


@dataclass(slots=True)
class Tracked:
    """What is kept of one profile. `memberships` maps each segment it ever was in to [member, entered_at, exited_at];
    `due` maps segments to the instant at which time alone can change the answer."""

    revision: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)
    events: dict[str, list[list[Any]]] = field(default_factory=dict)
    memberships: dict[str, list[Any]] = field(default_factory=dict)
    due: dict[str, int] = field(default_factory=dict)
    sequence: int = 0
    outbox: list[Transition] = field(default_factory=list)

    @property
    def facts(self) -> Facts:
        return Facts(self.attributes, self.events)

    @property
    def wake_at(self) -> int:
        """When to look at it again though nothing happened; NEVER if there's no such instant."""
        return min(self.due.values(), default=NEVER)

    def knows_event(self, event_id: str, event_type: str = "") -> bool:
        lists: Iterable[list[list[Any]]] = (self.events.get(event_type, []),) if event_type else self.events.values()
        return any(event[1] == event_id for events in lists for event in events)

    def is_member(self, segment_id: str) -> bool:
        held = self.memberships.get(segment_id)
        return held is not None and bool(held[0])

    def take_profile(self, revision: int, attributes: Callable[[], dict[str, Any]]) -> frozenset[str] | None:
        """Take a newer state of the profile; the names of the attributes that changed, or None if it's not newer."""
        if revision <= self.revision:
            return None
        fresh, old = attributes(), self.attributes
        changed = frozenset(name for name in fresh.keys() | old.keys() if fresh.get(name) != old.get(name))
        self.revision, self.attributes = revision, fresh
        return changed

    def take_event(self, event_id: str, event_type: str, occurred_at: int, properties: dict[str, Any]) -> bool:
        """Take an event; False if it was there."""
        if self.knows_event(event_id, event_type):
            return False
        self.events = {
            **self.events,
            event_type: [*self.events.get(event_type, ()), [occurred_at, event_id, properties]],
        }
        return True

    def catch_up(self, segments: Mapping[str, Segment], now: int) -> None:
        """Let time pass up to `now`: each segment is asked at each instant at which its answer could change, in order,
        so that a late look finds what a punctual one would have."""
        while (at := self.wake_at) <= now:
            for segment_id in [segment_id for segment_id, due in self.due.items() if due == at]:
                segment = segments.get(segment_id)
                if segment is None:
                    del self.due[segment_id]
                else:
                    self.look(segment, at, Cause.TIME)

    def look(self, segment: Segment, at: int, cause: Cause, event_id: str = "") -> None:
        """Evaluate a segment at an instant, and note what changed."""
        member, until = segment.evaluate(self.facts, at)
        segment_id = segment.segment_id
        if until < NEVER:
            self.due[segment_id] = until
        else:
            self.due.pop(segment_id, None)
        if member == self.is_member(segment_id):
            return
        entered, exited = (at, 0) if member else (self.memberships[segment_id][1], at)
        self.memberships = {**self.memberships, segment_id: [member, entered, exited]}
        self.sequence += 1
        self.outbox.append(Transition(segment_id, member, at, int(cause), event_id, segment.version, self.sequence))
