"""Time as something that's passed in: instants are microseconds since the Unix epoch, UTC."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

Instant = int
"""Microseconds since 1970-01-01T00:00:00Z."""

MILLISECOND = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Clock(Protocol):
    """Where the present comes from. Nothing but a clock asks the operating system for it."""

    def now(self) -> Instant: ...

    async def wait_until(self, at: Instant) -> None:
        """Return at `at`, or at once if that has passed."""
        ...


class SystemClock:
    """The operating system's clock."""

    def now(self) -> Instant:
        return time.time_ns() // 1_000

    async def wait_until(self, at: Instant) -> None:
        # Again, because a sleep may end a little early, and the wall clock may be set back.
        while (left := at - self.now()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left / SECOND)


async def wait_for_any(clock: Clock, at: Instant, *events: asyncio.Event) -> None:
    """Return at `at`, or as soon as one of the events is set."""
    if any(event.is_set() for event in events):
        return
    waits = [asyncio.ensure_future(clock.wait_until(at)), *(asyncio.ensure_future(event.wait()) for event in events)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
