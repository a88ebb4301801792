"""What a test makes of the calls to come: those that fail, those that hang, and a record of those that came."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from camino.testing.fake.methods import method as named
from camino.testing.fake.refusal import Refusal
from camino.testing.rpcs import Rpc, reason_name
from google.protobuf.message import Message

_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Failure:
    """How a call fails. With `done`, what it asked for happens all the same: only the reply is lost."""

    refusal: Refusal
    done: bool


class Held:
    """The calls of a method that hang: what is known of them."""

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._cancelled = threading.Event()

    def entered(self) -> bool:
        """Whether one has come."""
        return self._entered.is_set()

    def cancelled(self) -> bool:
        """Whether one was given up by its caller."""
        return self._cancelled.is_set()

    def wait_cancelled(self, timeout_s: float = _PATIENCE_S) -> None:
        """Block until one was given up by its caller. Raises TimeoutError."""
        if not self._cancelled.wait(timeout_s):
            raise TimeoutError("no call was cancelled")

    async def keep(self) -> None:
        self._entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self._cancelled.set()
            raise


class Script:
    """By method. Every request that was let in is kept."""

    def __init__(self) -> None:
        self._failures: defaultdict[str, deque[Failure]] = defaultdict(deque)
        self._holds: dict[str, Held] = {}
        self._requests: defaultdict[str, list[Message]] = defaultdict(list)

    def fail_next(self, method: str, reason: int, message: str, times: int, done: bool) -> None:
        """Raises ValueError for a method that isn't there, and for a reason that it can't fail for."""
        rpc = named(method)
        if reason not in rpc.reasons:
            can = ", ".join(sorted(map(reason_name, rpc.reasons)))
            raise ValueError(f"{method} never fails for {reason_name(reason)}; it can for {can}")
        self._failures[rpc.full_name].extend([Failure(Refusal(reason, message), done)] * times)

    @contextmanager
    def hold(self, method: str) -> Iterator[Held]:
        """Let the method's calls hang, until they're given up."""
        rpc = named(method)
        held = self._holds[rpc.full_name] = Held()
        try:
            yield held
        finally:
            del self._holds[rpc.full_name]

    def requests(self, method: str) -> Sequence[Message]:
        return tuple(self._requests[named(method).full_name])

    async def enter(self, rpc: Rpc, request: Message) -> Failure | None:
        """A call comes in. How it's to fail, if it is."""
        self._requests[rpc.full_name].append(request)
        if held := self._holds.get(rpc.full_name):
            await held.keep()
        failures = self._failures[rpc.full_name]
        return failures.popleft() if failures else None
