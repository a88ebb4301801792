"""Types whose values lie on a line: which comes next, and which are the outermost."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy


@dataclass(frozen=True, slots=True)
class Line:
    lowest: Any
    highest: Any
    up: Callable[[Any], Any]
    """The next greater value."""
    down: Callable[[Any], Any]
    """The next smaller value."""
    between: Callable[[Any, Any], SearchStrategy[Any]]
    """Values from the first to the second, both included."""
    edges: Sequence[Any]
    """The interesting ones, the simplest first."""


def integers(lowest: int, highest: int, edges: Sequence[int] = (0, 1, -1)) -> Line:
    return Line(
        lowest=lowest,
        highest=highest,
        up=lambda value: value + 1,
        down=lambda value: value - 1,
        between=st.integers,
        edges=(*(edge for edge in edges if lowest <= edge <= highest), lowest, highest),
    )


def doubles() -> Line:
    return _floats(64, math.nextafter(math.inf, 0), math.nextafter(0, 1), lambda value: math.nextafter(value, math.inf))


def singles() -> Line:
    return _floats(32, _single(0x7F7FFFFF), _single(1), _next_single)


def _floats(width: Any, highest: float, least: float, up: Callable[[float], float]) -> Line:
    return Line(
        lowest=-highest,
        highest=highest,
        up=up,
        down=lambda value: -up(-value),
        between=lambda low, high: st.floats(low, high, width=width, allow_nan=False, allow_infinity=False),
        edges=(0.0, 1.0, -1.0, -0.0, 0.5, least, -least, highest, -highest, math.inf, -math.inf, math.nan),
    )


def _next_single(value: float) -> float:
    [bits] = struct.unpack("<i", struct.pack("<f", value))
    if value == 0:
        return _single(1)
    return _single(bits + 1 if value > 0 else bits - 1)


def _single(bits: int) -> float:
    """The number that these 32 bits are as an IEEE 754 float."""
    return float(struct.unpack("<f", struct.pack("<i", bits))[0])
