"""An erasure or an export as values: how far it is, and what is known of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from services.chassis.clock import Instant


class Kind(IntEnum):
    """As in the contract."""

    ERASE = 1
    EXPORT = 2


class State(IntEnum):
    """As in the contract."""

    RUNNING = 1
    DONE = 2
    EXPIRED = 3


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one service says that it did."""

    service: str
    counts: Mapping[str, int]
    done_at: Instant


@dataclass(frozen=True, slots=True)
class Reading:
    """How far an export has read, and what it has written of the document."""

    profile_ids: tuple[str, ...] = ()
    """Whose data is read. When these change, because profiles turned out to be one person, all is read anew."""
    kind: str = ""
    """The kind of things that was read last of the service that is being read."""
    begun: bool = False
    """Whether anything of that service was read."""
    after: str = ""
    """Its page token."""
    parts: int = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """Its steps are carried out one after the other, each of them at least once."""

    workspace_id: str
    operation_id: str
    kind: Kind
    profile_id: str
    created_at: Instant
    due_at: Instant | None
    """When it goes on; None when nothing is left to be done."""
    state: State = State.RUNNING
    receipts: tuple[Receipt, ...] = ()
    ended_at: Instant = 0
    expires_at: Instant = 0
    obstacle: str = ""
    failures: int = 0
    """How often in a row the present step failed."""
    merged: tuple[str, ...] = ()
    """Of an erasure that has marked its profile: the ids of those that had turned out to be the same person."""
    marked_at: Instant = 0
    """When an erasure marked its profile; 0 before."""
    stage: int = 0
    """How far an erasure is with the profile service's own part."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What was erased or read of the service that is being dealt with."""
    reading: Reading = Reading()

    @property
    def profile_ids(self) -> tuple[str, ...]:
        """All ids of the person."""
        return self.profile_id, *self.merged

    def counted(self, counts: Mapping[str, int]) -> Operation:
        """With more that was erased or read."""
        return replace(self, counts=summed(self.counts, counts))

    def receipted(self, service: str, now: Instant) -> Operation:
        """With the receipt of a service, for what was counted."""
        counts = {kind: count for kind, count in self.counts.items() if count}
        return replace(self, receipts=(*self.receipts, Receipt(service, counts, now)), counts={})

    def next_of(self, services: tuple[str, ...]) -> str:
        """The first of these services that isn't done; empty when all are."""
        done = {receipt.service for receipt in self.receipts}
        return next((service for service in services if service not in done), "")


def summed(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Counts of two doings, by kind."""
    return {
        kind: one.get(kind, 0) + other.get(kind, 0) for kind in (*one, *(kind for kind in other if kind not in one))
    }
