"""A journey as a graph of steps, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from camino.orchestrator.v1 import journey_pb2
from camino.testing.fake.refusal import Violation


def violations(steps: Sequence[journey_pb2.Step]) -> Iterator[Violation]:
    """Each with its step and field, as in `definition.steps[0].next`."""
    leads = {step.id: [target for _, target in _targets(step) if target] for step in steps}
    at_once = {step.id: leads[step.id] for step in steps if not step.HasField("wait")}
    reached = {steps[0].id, *_reached(leads, leads[steps[0].id])}
    for number, step in enumerate(steps):
        where = f"definition.steps[{number}]"
        if step.id in (other.id for other in steps[:number]):
            yield Violation(f"{where}.id", f"{step.id!r} is the id of an earlier step; give each its own")
        for field, target in _targets(step):
            if target and target not in leads:
                yield Violation(f"{where}.{field}", f"there is no step {target!r}; name one of {', '.join(leads)}")
        if step.id not in reached:
            yield Violation(where, f"no step leads to {step.id!r}; remove it or lead to it")
        if step.id in _reached(at_once, at_once.get(step.id, ())):
            yield Violation(where, f"{step.id!r} leads back to itself without a wait; add one")


def _targets(step: journey_pb2.Step) -> list[tuple[str, str]]:
    """The fields that say where a step leads, and where; empty where the journey ends."""
    if step.HasField("exit"):
        return []
    if step.HasField("condition"):
        branches = enumerate(step.condition.branches)
        return [
            *((f"condition.branches[{number}].next", branch.next) for number, branch in branches),
            ("condition.otherwise", step.condition.otherwise),
        ]
    return [("next", step.next)]


def _reached(leads: dict[str, list[str]], start: Iterable[str]) -> set[str]:
    reached, pending = set[str](), list(start)
    while pending:
        step_id = pending.pop()
        if step_id not in reached:
            reached.add(step_id)
            pending.extend(leads.get(step_id, ()))
    return reached
