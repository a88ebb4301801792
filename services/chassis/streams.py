"""The streams that a server has open: so many, each for so long, and only while its caller may go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from services.chassis.errors import CaminoError, Unavailable


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What streams may take of a server."""

    unanswered: int = 8
    """Requests of one stream that are read and not answered yet."""
    open: int = 500
    """Streams at a time, of those both ways and of those that tell each."""
    life_s: float = 300.0
    """How long one lasts; then its caller opens another, perhaps at a new replica."""
    look_s: float = 2.0
    """How often it's asked whether its caller may go on."""


class StreamOver(Unavailable):
    """A stream has lasted long enough, or the server is stopping: that's no failure, and its caller opens another."""


@dataclass(frozen=True, slots=True, eq=False)
class _Stream:
    may_go_on: Callable[[], object]
    until: float
    end: asyncio.Future[NoReturn]


class OpenStreams:
    """Says to each stream when it's to end, and why. One timer looks after all of them, while there are any."""

    def __init__(self, limits: StreamLimits) -> None:
        self._limits = limits
        self._streams = set[_Stream]()
        self._timer: asyncio.TimerHandle | None = None
        self._draining = False

    @contextmanager
    def open(self, may_go_on: Callable[[], object]) -> Iterator[asyncio.Future[NoReturn]]:
        """A new stream; what is given fails when it has to end. `may_go_on` raises the error to end it with.

        Raises `Unavailable` when there are too many, or the server is stopping.
        """
        if self._draining:
            raise _stopping()
        if len(self._streams) >= self._limits.open:
            raise Unavailable(f"there are {self._limits.open} streams of this kind open here; try again")
        loop = asyncio.get_running_loop()
        # What that binds to the log is the stream's own.
        may_go_on = partial(copy_context().run, may_go_on)
        stream = _Stream(may_go_on, loop.time() + self._limits.life_s, loop.create_future())
        self._streams.add(stream)
        if self._timer is None:
            self._timer = loop.call_later(self._limits.look_s, self._look)
        try:
            yield stream.end
        finally:
            self._streams.discard(stream)
            stream.end.cancel()
            if self._timer is not None and not self._streams:
                self._timer.cancel()
                self._timer = None

    def drain(self) -> None:
        """Let every stream come to its end; no other is opened any more."""
        self._draining = True
        for stream in self._streams:
            _end(stream, _stopping())

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._limits.look_s, self._look)
        for stream in self._streams:
            if loop.time() >= stream.until:
                _end(stream, StreamOver("the stream has lasted long enough; open another and go on there"))
            try:
                stream.may_go_on()
            except CaminoError as error:
                _end(stream, error)


def _end(stream: _Stream, error: CaminoError) -> None:
    if not stream.end.done():
        stream.end.set_exception(error)
        # It's no fault if the stream has come to its end by itself meanwhile, and nobody asks.
        stream.end.exception()


def _stopping() -> StreamOver:
    return StreamOver("the service is stopping; open another stream and go on there, with what has no answer yet")
