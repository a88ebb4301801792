"""All there is to prove: for each method at each place, each published message and each service, what must hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from camino.testing.contract.target import Target
from camino.testing.rpcs import Rpc


@dataclass(frozen=True, slots=True)
class Point:
    """A method, and at which of the places that serve it: every service serves those of `camino.ops` for itself."""

    rpc: Rpc
    place: int = 0

    def __str__(self) -> str:
        return f"{self.rpc.name}@{self.place}" if self.place else self.rpc.name


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that must hold. `run` returns if it does, and raises `AssertionError` if not, or `OutOfReach`."""

    subject: str
    """A method, a message or a service."""
    check: str
    """What is proved of it, in a word or two."""
    run: Callable[[Target], None]
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.subject}/{self.check}" + (f"/{self.detail}" if self.detail else "")


Cases = Iterator[Case]
