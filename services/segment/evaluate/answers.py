"""What a compiled condition is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from services.segment.domain import NEVER, Facts

Answer = tuple[bool | None, int]
"""A verdict on the hot path: the value, and the instant until which it holds (NEVER: for ever)."""

Compiled = Callable[[Facts, int], Answer]
"""From facts and now to an answer."""

Decided = Callable[[Facts, int], tuple[bool, int]]
"""The same of a condition that is never unknown."""

TRUE: Answer = (True, NEVER)
FALSE: Answer = (False, NEVER)
UNKNOWN: Answer = (None, NEVER)

_MOST_STEPS = 64


def for_ever(value: bool | None) -> Answer:
    return TRUE if value else UNKNOWN if value is None else FALSE


def by_trying(instants: Iterable[int], now: int, value_at: Callable[[int], bool | None]) -> Answer:
    """The answer by trying each of the later instants at which it may change, in order.

    Gives up after some dozens of them, and then answers early rather than late.
    """
    later = sorted({instant for instant in instants if instant > now})
    value = value_at(now)
    for instant in later[:_MOST_STEPS]:
        if value_at(instant) is not value:
            return value, instant
    return value, later[_MOST_STEPS] if len(later) > _MOST_STEPS else NEVER
