"""The simplest value of a strategy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.strategies import SearchStrategy

Value = TypeVar("Value")
_SETTINGS = settings(
    max_examples=50,
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def simplest(strategy: SearchStrategy[Value]) -> Value:
    """The first value that Hypothesis would try, always the same. Raises `hypothesis.errors.NoSuchExample` or
    `Unsatisfiable` if it finds none."""
    # Hypothesis lets no search begin inside another, so this one has a thread to itself.
    with ThreadPoolExecutor(max_workers=1) as own:
        return own.submit(find, strategy, lambda _: True, settings=_SETTINGS).result()
