"""Ctrl-C and SIGTERM as an orderly end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

_Record = TypeVar("_Record")


class Interrupted(KeyboardInterrupt):
    """Raised where the next record is waited for; elsewhere the task is cancelled."""


class Interrupts:
    def __init__(self) -> None:
        self.signal = 0
        """The first that came; 0 if none did."""
        self._reading = False

    @contextmanager
    def ending(self, task: asyncio.Task[None]) -> Iterator[None]:
        """Meanwhile the two signals end this task, of the loop that runs here."""
        loop = asyncio.get_running_loop()

        def hear(number: int, frame: FrameType | None) -> None:
            self.signal = self.signal or number
            if self._reading:
                raise Interrupted
            task.cancel()
            loop.call_soon_threadsafe(lambda: None)  # Wakes a loop that has nothing to do.

        before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def reading(self, records: Iterable[_Record]) -> Iterator[_Record]:
        """The same records. Reading blocks, perhaps for ever, as of a pipe: that's ended by `Interrupted`."""
        iterator = iter(records)
        while True:
            self._reading = True
            try:
                record = next(iterator)
            except StopIteration:
                return
            finally:
                self._reading = False
            yield record
