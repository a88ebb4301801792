"""Values drawn from a strategy, the same ones every time."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import Phase, given, settings
from hypothesis.strategies import SearchStrategy

Value = TypeVar("Value")


def drawn(strategy: SearchStrategy[Value], count: int) -> list[Value]:
    """At most so many, less if there aren't more. Fails if there are none, or if most had to be thrown away."""
    values: list[Value] = []

    @settings(max_examples=count, phases=[Phase.generate], derandomize=True, database=None, deadline=None)
    @given(strategy)
    def keep(value: Value) -> None:
        values.append(value)

    keep()
    return values
