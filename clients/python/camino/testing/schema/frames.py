"""Texts and bytes of a certain length that begin, end and go on as they must."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Run = TypeVar("Run", str, bytes)


@dataclass(frozen=True, slots=True)
class Frame(Generic[Run]):
    """What all have in common; what is in between is free."""

    prefix: Run
    contains: Run
    suffix: Run

    def around(self, filling: Run) -> Run:
        return self.prefix + filling + self.contains + self.suffix

    def sized(self, size: int, unit: Run, rest: Run, measure: Callable[[Run], int]) -> Run | None:
        """One that is exactly so long, filled with `unit`, and with `rest`, of length 1, where that doesn't fit; None
        if the frame alone is longer."""
        space = size - measure(self.around(unit[:0]))
        if space < 0:
            return None
        times, left = divmod(space, measure(unit))
        return self.around(unit * times + rest * left)
