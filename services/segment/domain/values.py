"""Values of attributes and properties, and what they're held to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Value = str | float | bool | int | list[str] | tuple[str, ...]
"""A value of an attribute or property: text, a number (always float), a truth value, an instant (int, microseconds),
or a list of strings (a list in facts, a tuple in a condition)."""

NEVER = 2**63 - 1
"""Later than every instant, and still an integer that every store can hold."""

Kind = Literal["text", "number", "truth", "instant", "list"]


def kind_of(value: Value) -> Kind:
    """A value's type. Asked in this order, because a truth value is an int to Python."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, float):
        return "number"
    return "instant" if isinstance(value, int) else "list"


@dataclass(frozen=True, slots=True)
class NumberRange:
    """A bound that is None is open."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    @property
    def low(self) -> float:
        """The least number in it: -inf when it's open below."""
        above = -math.inf if self.above is None else math.nextafter(self.above, math.inf)
        return above if self.at_least is None else max(above, self.at_least)

    @property
    def high(self) -> float:
        """The greatest number in it: inf when it's open above."""
        below = math.inf if self.below is None else math.nextafter(self.below, -math.inf)
        return below if self.at_most is None else min(below, self.at_most)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """at_or_after <= instant < before; a bound that is None is open."""

    at_or_after: int | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Equals:
    """Same type and same value."""

    value: Value


@dataclass(frozen=True, slots=True)
class In:
    """Equal to one of these."""

    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """Text that holds this substring, or a list that holds this item."""

    text: str


@dataclass(frozen=True, slots=True)
class StartsWith:
    text: str


@dataclass(frozen=True, slots=True)
class Exists:
    """Whether there is a value: the one test that a missing value doesn't leave unknown."""

    present: bool


Test = Equals | In | Contains | StartsWith | Exists | NumberRange | TimeRange
"""What a value is held to. A value of a type that the test isn't about fails it: it's present, so it isn't unknown."""
