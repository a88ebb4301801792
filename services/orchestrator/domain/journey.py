"""A journey as a graph of steps, and what makes one valid. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.chassis.errors import Violation
from services.orchestrator.domain.decision import SendSpec
from services.orchestrator.domain.predicate import Predicate


@dataclass(frozen=True, slots=True)
class Send:
    id: str
    next: str
    spec: SendSpec

    def targets(self) -> tuple[tuple[str, str], ...]:
        return (("next", self.next),)


@dataclass(frozen=True, slots=True)
class Wait:
    """Goes on `duration` microseconds after it was reached."""

    id: str
    next: str
    duration: int

    def targets(self) -> tuple[tuple[str, str], ...]:
        return (("next", self.next),)


@dataclass(frozen=True, slots=True)
class Branch:
    """Leads to `next` when the profile is in `in_segment`, or when a test of its attributes or of the event's
    properties holds."""

    next: str
    in_segment: str = ""
    attribute: Predicate | None = None
    event_property: Predicate | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    id: str
    branches: tuple[Branch, ...]
    otherwise: str

    def targets(self) -> tuple[tuple[str, str], ...]:
        branches = tuple((f"condition.branches[{n}].next", branch.next) for n, branch in enumerate(self.branches))
        return (*branches, ("condition.otherwise", self.otherwise))


@dataclass(frozen=True, slots=True)
class Exit:
    id: str
    label: str

    def targets(self) -> tuple[tuple[str, str], ...]:
        return ()


Step = Send | Wait | Condition | Exit


@dataclass(frozen=True, slots=True)
class Journey:
    """One published version. `max_event_age` in microseconds."""

    workspace_id: str
    journey_id: str
    version: int
    event_type: str
    where: tuple[Predicate, ...]
    once: bool
    max_event_age: int
    steps: Mapping[str, Step]
    first: str

    def takes(self, event_type: str, properties: Mapping[str, object], age: int) -> bool:
        """Whether an event of this type, with these properties, this old, is the trigger."""
        return (
            event_type == self.event_type and age <= self.max_event_age and all(test(properties) for test in self.where)
        )


def violations(steps: tuple[Step, ...]) -> Iterator[Violation]:
    """Everything wrong with a graph: each with its step and field."""
    ids = [step.id for step in steps]
    for number, step in enumerate(steps):
        where = f"definition.steps[{number}]"
        if step.id in ids[:number]:
            yield Violation(f"{where}.id", f"{step.id!r} is the id of an earlier step; give each its own")
        for field, target in step.targets():
            if target and target not in ids:
                yield Violation(f"{where}.{field}", f"there is no step {target!r}; name one of {', '.join(ids)}")
    yield from _unreachable(steps)
    yield from _endless(steps)


def _unreachable(steps: tuple[Step, ...]) -> Iterator[Violation]:
    by_id = {step.id: step for step in steps}
    reached: set[str] = set()
    waiting = [steps[0].id]
    while waiting:
        step_id = waiting.pop()
        if step_id in reached or step_id not in by_id:
            continue
        reached.add(step_id)
        waiting.extend(target for _, target in by_id[step_id].targets())
    for number, step in enumerate(steps):
        if step.id not in reached:
            yield Violation(f"definition.steps[{number}]", f"no step leads to {step.id!r}; remove it or lead to it")


def _endless(steps: tuple[Step, ...]) -> Iterator[Violation]:
    """Loops without a wait: a person would go round for ever in an instant."""
    instant = {
        step.id: [target for _, target in step.targets() if target] for step in steps if not isinstance(step, Wait)
    }
    for number, step in enumerate(steps):
        seen: set[str] = set()
        waiting = list(instant.get(step.id, ()))
        while waiting:
            step_id = waiting.pop()
            if step_id == step.id:
                yield Violation(
                    f"definition.steps[{number}]", f"{step.id!r} leads back to itself without a wait; add one"
                )
                break
            if step_id not in seen:
                seen.add(step_id)
                waiting.extend(instant.get(step_id, ()))
