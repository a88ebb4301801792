"""What a service does by itself, beside answering calls: loops that are kept running and end when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
from prometheus_client import Counter

from services.chassis.errors import CaminoError, Unavailable
from services.chassis.failures import words_of
from services.chassis.measures import LOOP_FAILURES
from services.chassis.metrics import Metrics

log = structlog.get_logger()

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0


class Loop(Protocol):
    """A background activity with a name for the log."""

    name: str

    async def run(self) -> None:
        """Work until `stop`; then finish what is in hand and return."""
        ...

    def stop(self) -> None: ...


class Backoff:
    """Pauses that double from 50 ms to 5 s, and start anew after a success."""

    def __init__(self) -> None:
        self._pause = _FIRST_PAUSE_S

    def reset(self) -> None:
        self._pause = _FIRST_PAUSE_S

    async def pause(self) -> None:
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_S)


async def reached(what: str, attempt: Callable[[], Awaitable[None]]) -> None:
    """Make an attempt, and again after a pause for as long as it raises `Unavailable`."""
    backoff = Backoff()
    while True:
        try:
            await attempt()
            return
        except Unavailable as error:
            log.warning(f"waiting for the {what}", error=str(error))
            await backoff.pause()


async def keep_running(loop: Loop, failures: Counter) -> None:
    """Run a loop, and again after a pause whenever it fails: a dead store or broker is waited out, and no bug stops the
    service for good."""
    structlog.contextvars.bind_contextvars(loop=loop.name)
    backoff = Backoff()
    while True:
        try:
            await loop.run()
            return
        except Exception as error:
            failures.inc()
            known = isinstance(error, CaminoError) and error.status.transient
            log.warning(
                "loop failed",
                error=words_of(error),
                error_type=type(error).__name__,
                exc_info=None if known else error,
            )
            await backoff.pause()


class Running:
    """Loops under way; left in order, so that what feeds others ends first."""

    def __init__(self, loops: list[Loop], metrics: Metrics | None = None) -> None:
        failures = (metrics or Metrics()).counter(LOOP_FAILURES)
        self._loops = loops
        self._tasks = [
            asyncio.create_task(keep_running(loop, failures.labels(loop.name)), name=loop.name) for loop in loops
        ]

    async def stop(self, grace_s: float) -> None:
        """Ask each loop in turn to end, and cancel those that have not within the grace they share."""
        until = asyncio.get_running_loop().time() + grace_s
        for loop, task in zip(self._loops, self._tasks, strict=True):
            loop.stop()
            await asyncio.wait([task], timeout=max(0.0, until - asyncio.get_running_loop().time()))
            if not task.done():
                log.warning("loop did not end in time", loop=loop.name)
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
