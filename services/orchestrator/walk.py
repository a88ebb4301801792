"""A run on its way through a batch."""

from __future__ import annotations

from dataclasses import dataclass

from services.chassis.clock import MINUTE
from services.chassis.documents import Document
from services.orchestrator.domain.engine import Run, Transition
from services.orchestrator.domain.journey import Journey
from services.orchestrator.domain.person import Person

_BEHIND_LIMIT = MINUTE


@dataclass(slots=True)
class Walk:
    """Where a run came from, and where it got."""

    workspace_id: str
    journey: Journey
    run: Run
    document: Document | None
    person: Person | None
    """Whoever the run's profile is now: perhaps another, which it was merged into since the run began."""
    paused: bool
    traceparent: str
    """Where it is in the trace of the event that began it; empty when that isn't traced."""
    transition: Transition | None = None

    @property
    def key(self) -> str:
        return f"{self.workspace_id}/{self.run.run_id}"

    def asks(self, now: int) -> tuple[str, str]:
        """The profile whose memberships it needs, and the event that the segments must have seen by then: the one that
        the run began with, but not for ever, lest it waits for a dead letter."""
        young = now - self.run.created_at < _BEHIND_LIMIT
        profile_id = self.person.profile_id if self.person else self.run.profile_id
        return profile_id, self.run.event.event_id if young else ""
