"""Sums and means of numbers, as they're written.

A number is a double, and hardly ever the decimal that somebody wrote: as doubles, 61.5 and 22.95 add up to a little
less than 84.45. So a number means the shortest decimal that is read as it, decimals are added exactly, and what they
make is rounded once. It doesn't depend on the order, nor on what has left a window meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

_SLACK = 2.0**-50
"""More than what doubles are off by, together with their sum, as a part of what they add up to without their signs."""
_LEAST = math.ulp(0.0)
"""More than what one of the least numbers is off by."""


def written(amount: float) -> Fraction:
    return Fraction(repr(amount))


def sum_of(amounts: Sequence[float]) -> float:
    """Infinite when no double is that great."""
    return rounded(sum(map(written, amounts), Fraction()))


def mean_of(amounts: Sequence[float]) -> float:
    return rounded(sum(map(written, amounts), Fraction()) / len(amounts))


def rounded(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def sum_is_within(amounts: Sequence[float], low: float, high: float, signed: bool) -> bool:
    """Whether low <= sum <= high. Decimals are added only where it's close. `signed`: some may be negative."""
    try:
        about = math.fsum(amounts)
        size = math.fsum(map(abs, amounts)) if signed else about
    except OverflowError:
        return low <= sum_of(amounts) <= high
    slack = size * _SLACK + _LEAST * len(amounts)
    if -slack <= about - low <= slack or -slack <= about - high <= slack:
        return low <= sum_of(amounts) <= high
    return low <= about <= high


def mean_is_within(amounts: Sequence[float], low: float, high: float) -> bool:
    """Whether low <= mean <= high, in the same way."""
    number = len(amounts)
    try:
        about = math.fsum(amounts) / number
        size = math.fsum(map(abs, amounts)) / number
    except OverflowError:
        return low <= mean_of(amounts) <= high
    slack = size * _SLACK + 2 * _LEAST
    if -slack <= about - low <= slack or -slack <= about - high <= slack:
        return low <= mean_of(amounts) <= high
    return low <= about <= high
