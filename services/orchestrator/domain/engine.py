"""How a run walks its journey: one pure function, for production, simulation and tests alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from services.orchestrator.domain.decision import Decision, SendSpec, Verdict, decide
from services.orchestrator.domain.journey import Branch, Condition, Exit, Journey, Send, Wait
from services.orchestrator.domain.person import Person

MAX_VISITS = 1000
"""Of one step, by one run."""


class RunState(IntEnum):
    """As in the contract."""

    ACTIVE = 1
    COMPLETED = 2
    FAILED = 3
    ERASED = 4
    MERGED = 5


@dataclass(frozen=True, slots=True)
class Event:
    """The event that a run began with."""

    event_id: str
    type: str
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One profile's walk. It's at `step_id`; a `wake_at` says that it waits there until then, and `due_since` since
    when a held message has been due."""

    run_id: str
    profile_id: str
    event: Event
    step_id: str
    created_at: int
    state: RunState = RunState.ACTIVE
    wake_at: int = 0
    due_since: int = 0
    visits: Mapping[str, int] = field(default_factory=dict)
    ended_at: int = 0
    end_reason: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """A message that a run came to, and the decision on it."""

    step_id: str
    visit: int
    spec: SendSpec
    decision: Decision
    due_since: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the world when a run goes on. `memberships` maps the segments that were looked up to the
    answer."""

    person: Person | None
    paused: bool = False
    memberships: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transition:
    """Where the run is now, and what it decided on the way. If `needs` isn't empty, nothing happened: look these
    segments up and ask again."""

    run: Run
    decided: tuple[Decided, ...] = ()
    needs: frozenset[str] = frozenset()


def advance(journey: Journey, run: Run, now: int, facts: Facts) -> Transition:
    """Let a run go on from where it is, at `now`, until it waits or ends.

    A run whose `wake_at` has not come stays as it is, so that waking it twice, or too early, is harmless.
    """
    if run.state is not RunState.ACTIVE or run.wake_at > now:
        return Transition(run)
    decided: list[Decided] = []
    visits = dict(run.visits)
    step_id, due_since = run.step_id, run.due_since
    # A run that was put off before its first step has not been there yet.
    begun, resumed = run, bool(run.wake_at) and run.step_id in run.visits
    while True:
        step = journey.steps.get(step_id)
        if step is None:
            if step_id:
                return _ended(run, step_id, visits, now, RunState.FAILED, f"there is no step {step_id!r}", decided)
            return _ended(run, run.step_id, visits, now, RunState.COMPLETED, "", decided)
        if resumed and isinstance(step, Wait):
            resumed, step_id = False, step.next
            if step_id:
                run = replace(run, step_id=step_id)
            continue
        if not resumed:
            visits[step.id] = visits.get(step.id, 0) + 1
            if visits[step.id] > MAX_VISITS:
                reason = f"step {step.id!r} was visited more than {MAX_VISITS} times"
                return _ended(run, step.id, visits, now, RunState.FAILED, reason, decided)
        resumed = False
        run = replace(run, step_id=step.id)
        if isinstance(step, Exit):
            return _ended(run, step.id, visits, now, RunState.COMPLETED, step.label, decided)
        if isinstance(step, Wait):
            return Transition(replace(run, wake_at=now + step.duration, due_since=0, visits=visits), tuple(decided))
        if isinstance(step, Condition):
            missing = {branch.in_segment for branch in step.branches if branch.in_segment} - facts.memberships.keys()
            if missing:
                return Transition(begun, needs=frozenset(missing))
            chosen = next((branch for branch in step.branches if _holds(branch, run, facts)), None)
            step_id = chosen.next if chosen else step.otherwise
            continue
        assert isinstance(step, Send)
        since = due_since or now
        due_since = 0
        decision = decide(step.spec, facts.person, paused=facts.paused, due_since=since, now=now)
        decided.append(Decided(step.id, visits[step.id], step.spec, decision, since))
        if decision.verdict is Verdict.HOLD:
            held = replace(run, wake_at=decision.hold_until, due_since=since, visits=visits)
            return Transition(held, tuple(decided))
        step_id = step.next


def abandon(run: Run, now: int, reason: str, state: RunState = RunState.FAILED) -> Run:
    """The run, ended where it is, for it can't go on."""
    return _ended(run, run.step_id, run.visits, now, state, reason, []).run


def _holds(branch: Branch, run: Run, facts: Facts) -> bool:
    if branch.in_segment:
        return facts.memberships[branch.in_segment]
    if branch.event_property:
        return branch.event_property(run.event.properties)
    return branch.attribute is not None and branch.attribute(facts.person.attributes if facts.person else {})


def _ended(
    run: Run, step_id: str, visits: Mapping[str, int], now: int, state: RunState, reason: str, decided: list[Decided]
) -> Transition:
    ended = replace(
        run, step_id=step_id, visits=visits, state=state, wake_at=0, due_since=0, ended_at=now, end_reason=reason
    )
    return Transition(ended, tuple(decided))
