"""Candidates for what lies on a line: numbers, and by their nanoseconds durations and timestamps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from camino.testing.schema.candidates import Candidates
from camino.testing.schema.lines import Line
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

OPTIONS = frozenset({"const", "gt", "gte", "lt", "lte", "in", "not_in", "finite"})


def numbers(line: Line, given: Mapping[str, Any], telling: Any) -> Candidates:
    """By the options that are given; `telling` is a value that tells the field."""
    near = {option: list(_near(line, option, value)) for option, value in given.items()}
    edges = [*given.get("in", ()), *line.edges, *(value for values in near.values() for value in values)]
    if "const" in given:
        edges.insert(0, given["const"])
    return Candidates(_usual(line, given), edges, near, [telling])


def _usual(line: Line, given: Mapping[str, Any]) -> SearchStrategy[Any]:
    if "const" in given:
        return st.just(given["const"])
    if "in" in given:
        return st.sampled_from(list(given["in"]))
    low = given["gte"] if "gte" in given else line.up(given["gt"]) if "gt" in given else line.lowest
    high = given["lte"] if "lte" in given else line.down(given["lt"]) if "lt" in given else line.highest
    if low <= high:
        return line.between(low, high)
    # Bounds the wrong way round exclude what is between them.
    return st.one_of(line.between(low, line.highest), line.between(line.lowest, high))


def _near(line: Line, option: str, value: Any) -> Iterator[Any]:
    if option == "finite":
        yield from (math.inf, -math.inf, math.nan)
    elif option == "not_in":
        yield from value
    else:
        outer = line.lowest if option in ("gt", "gte") else line.highest
        for each in value if option == "in" else [value]:
            closest = (line.down(each), each, line.up(each))
            yield from (near for near in closest if line.lowest <= near <= line.highest)
        yield outer
