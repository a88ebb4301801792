"""The callers in force: those of a file that may change while the service runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from services.chassis.callers import Caller, Callers
from services.chassis.callers_file import CallersError, parse
from services.chassis.clock import SECOND, Clock, wait_for_any

log = structlog.get_logger()

_EVERY = 5 * SECOND


class WatchedCallers:
    """Callers from a file, read again within 5 seconds of a change, so that tokens are added, replaced and taken back
    without a restart. Content that can't be taken is told in the log, once, and changes nothing.

    It's the content that is compared: Kubernetes replaces the files of a Secret by turning a symbolic link.
    """

    name = "callers"

    def __init__(self, path: Path, callers: Callers, content: bytes, clock: Clock) -> None:
        self._path = path
        self._callers = callers
        self._seen: bytes | None = content
        self._clock = clock
        self._stopped = asyncio.Event()

    @classmethod
    def open(cls, path: Path, clock: Clock) -> WatchedCallers:
        """Raises `CallersError` if the file can't be read, or names everything that is wrong with it."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CallersError([f"{path}: {error.strerror}"]) from None
        return cls(path, parse(content), content, clock)

    def find(self, token: str) -> Caller | None:
        return self._callers.find(token)

    def stop(self) -> None:
        self._stopped.set()

    async def run(self) -> None:
        while not self._stopped.is_set():
            await wait_for_any(self._clock, self._clock.now() + _EVERY, self._stopped)
            await self._look()

    async def _look(self) -> None:
        try:
            content: bytes | None = await asyncio.to_thread(self._path.read_bytes)
            why = ""
        except OSError as error:
            content, why = None, error.strerror or str(error)
        if content == self._seen:
            return
        self._seen = content
        if content is None:
            log.error("callers can't be read; those known stay in force", file=str(self._path), error=why)
            return
        try:
            self._callers = parse(content)
        except CallersError as error:
            log.error("callers not taken; those known stay in force", file=str(self._path), problems=error.problems)
        else:
            log.info("callers read again", file=str(self._path), tokens=len(self._callers))
