"""Events that follow each other."""

from __future__ import annotations

from services.segment.domain import NEVER, Facts, Sequence
from services.segment.evaluate.answers import FALSE, TRUE, Answer, Compiled, by_trying
from services.segment.evaluate.windows import changes, present, selection

_NOT_YET = -NEVER


def sequence(condition: Sequence) -> Compiled:
    selects = []
    for step in condition.steps:
        select, stays = selection(step.event_type, step.where, condition.window)
        selects.append(select)
    within = NEVER if condition.within is None else condition.within
    from_first = condition.from_first

    def node(facts: Facts, now: int) -> Answer:
        steps = [select(facts, now)[0] for select in selects]
        if not all(steps):
            return FALSE

        def begun_at(instant: int) -> int:
            there = [at[present(at, instant, stays)] for at in steps]
            if from_first:
                first = there[0][0] if there[0] else _NOT_YET
                there[0] = [at for at in there[0] if at == first]
            return _latest_begin(there, within)

        if from_first or any(at[-1] > now for at in steps):
            instants = [instant for at in steps for instant in changes(at, stays)]
            return by_trying(instants, now, lambda instant: begun_at(instant) != _NOT_YET)
        # Events only leave. The one that begins latest is the last to lose its first event.
        begun = begun_at(now)
        if begun == _NOT_YET:
            return FALSE
        return (True, begun + stays) if stays else TRUE

    return node


def _latest_begin(steps: list[list[int]], within: int) -> int:
    """Of all the ways to follow the steps, when the one that begins latest begins.

    Goes through the events in order. `begun[n]` is when the latest-begun of those began that are through step n: of
    two, the one that began later can do all that the other can. It only grows.
    """
    begun = [_NOT_YET] * len(steps)
    found = _NOT_YET
    last = len(steps) - 1
    # Events of one instant don't follow each other: later steps first, so that each sees what there was before it.
    for at, back in sorted([(at, -number) for number, times in enumerate(steps) for at in times]):
        number = -back
        begun[number] = begin = begun[number - 1] if number else at
        if number == last and begin != _NOT_YET and at - begin < within:
            found = begin
    return found
