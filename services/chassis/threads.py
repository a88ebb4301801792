"""Threads that do blocking work for an event loop, one job at a time or in groups."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any


@dataclass(slots=True)
class Job:
    """Something to do with what a thread works on, and what came of it."""

    work: Callable[[Any], Any]
    weight: int = 1
    future: asyncio.Future[Any] = field(init=False)
    result: Any = None
    error: Exception | None = None

    def resolve(self) -> None:
        """Tell who waits for it, unless that was cancelled."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


Jobs = SimpleQueue[Job | None]
"""What waits for a thread. None tells one thread to stop, after what came before."""


class Worker(threading.Thread):
    """Takes what waits, up to `weight` and at least one job, has it performed, and answers all of it at once.

    `perform` sets each job's result or error and raises nothing. `finish` is called at the end, in the thread.
    """

    def __init__(
        self,
        name: str,
        jobs: Jobs,
        perform: Callable[[Sequence[Job]], None],
        finish: Callable[[], None],
        *,
        weight: int = 1,
    ) -> None:
        # A daemon, so that a database nobody closed doesn't keep the process: what was acknowledged is safe anyway.
        super().__init__(name=name, daemon=True)
        self.jobs = jobs
        self._perform = perform
        self._finish = finish
        self._weight = weight
        self._loop = asyncio.get_running_loop()
        self._stopping = False

    async def do(self, job: Job) -> Any:
        """Have a job done by whichever thread of this queue is free first."""
        job.future = self._loop.create_future()
        self.jobs.put(job)
        return await job.future

    def run(self) -> None:
        while group := self._waiting():
            self._perform(group)
            # A loop that is closed already has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_resolve, group)
        self._finish()

    def _waiting(self) -> list[Job]:
        if self._stopping or (job := self.jobs.get()) is None:
            return []
        group = [job]
        weight = job.weight
        with contextlib.suppress(Empty):
            while weight < self._weight:
                if (job := self.jobs.get_nowait()) is None:
                    self._stopping = True
                    break
                group.append(job)
                weight += job.weight
        return group


def _resolve(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.resolve()
