"""Which events of a history count.

An aggregate is a step function of time: an event enters at its occurred_at, and leaves a `within` window so much later.
The events of one type are kept in order, so what a window holds is a slice, and what leaves it next is its head.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from services.segment.domain import AttributeTest, Facts, TimeRange, Value, Window, Within
from services.segment.evaluate.values import satisfying, span

Bounds = Callable[[list[int], int], tuple[int, int]]
"""From instants in order and now to the slice of those that are in a window now, or will be."""


def bounds(window: Window) -> tuple[Bounds, int]:
    """And for how long an event stays in the window; 0 for ever."""
    if isinstance(window, Within):
        within = window.micros
        return lambda at, now: (bisect_right(at, now - within), len(at)), within
    if isinstance(window, TimeRange):
        start, end = span(window)
        return lambda at, now: (bisect_left(at, start), bisect_left(at, end)), 0
    return lambda at, now: (0, len(at)), 0


Selected = tuple[list[int], list[dict[str, Value]]]
"""Events in their order: when they occurred, and their properties."""


def selection(
    event_type: str, where: Sequence[AttributeTest], window: Window
) -> tuple[Callable[[Facts, int], Selected], int]:
    """The events that satisfy `where` and are in the window now, or will be. And for how long one stays; 0 for ever."""
    satisfied = satisfying(where)
    slice_of, stays = bounds(window)

    def select(facts: Facts, now: int) -> Selected:
        history = facts.events.get(event_type)
        if history is None:
            return [], []
        first, last = slice_of(history.at, now)
        at, properties = history.at, history.properties
        if satisfied is None:
            return at[first:last], properties[first:last]
        kept = [index for index in range(first, last) if satisfied(properties[index])]
        return [at[index] for index in kept], [properties[index] for index in kept]

    return select, stays


def present(at: Sequence[int], instant: int, stays: int) -> slice:
    """Of selected events, those that are in the window at an instant."""
    return slice(bisect_right(at, instant - stays) if stays else 0, bisect_right(at, instant))


def changes(at: Sequence[int], stays: int) -> list[int]:
    """The instants at which selected events come and go."""
    return [*at, *(instant + stays for instant in at)] if stays else list(at)
