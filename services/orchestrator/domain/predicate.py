"""Tests of one attribute or property: what `camino.type.v1.AttributeCondition` means. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Predicate = Callable[[Mapping[str, Any]], bool]
"""From values by name to whether the test holds."""


def equals(name: str, value: Any) -> Predicate:
    return lambda values: name in values and _same(values[name], value)


def is_in(name: str, options: tuple[Any, ...]) -> Predicate:
    return lambda values: name in values and any(_same(values[name], option) for option in options)


def _same(left: Any, right: Any) -> bool:
    # A truth value and an instant are both ints to Python; values of different types are never equal.
    return type(left) is type(right) and bool(left == right)


def contains(name: str, part: str) -> Predicate:
    def test(values: Mapping[str, Any]) -> bool:
        value = values.get(name)
        return isinstance(value, (str, list, tuple)) and part in value

    return test


def starts_with(name: str, prefix: str) -> Predicate:
    def test(values: Mapping[str, Any]) -> bool:
        value = values.get(name)
        return isinstance(value, str) and value.startswith(prefix)

    return test


def exists(name: str, wanted: bool) -> Predicate:
    return lambda values: (name in values) is wanted


def in_range(name: str, kind: type, holds: Callable[[Any], bool]) -> Predicate:
    """A test of values of one type: float for numbers, int for instants."""
    return lambda values: type(values.get(name)) is kind and holds(values[name])
