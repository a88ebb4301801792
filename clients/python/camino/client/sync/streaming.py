"""A stream of the blocking flavour, opened again when it ends on the way."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Timer
from typing import Any

import grpc
from camino.client.errors import CaminoError, from_rpc_error
from camino.client.ingestion.pace import longest_pauses

Open = Callable[[Iterator[Any]], Any]


class Stream:
    """Requests under way, in order. When a stream ends on the way another is opened, and what has no answer is sent
    again over that, until there was no answer for `give_up_s`."""

    def __init__(self, open_: Open, *, timeout_s: float, give_up_s: float) -> None:
        """`timeout_s`: how long an answer may take."""
        self._open = open_
        self._timeout_s = timeout_s
        self._give_up_s = give_up_s
        self._unanswered: deque[Any] = deque()
        self._sent = 0
        self._outgoing: SimpleQueue[Any] = SimpleQueue()
        self._call: Any = None
        self._pauses = longest_pauses()
        self._answered_at = time.monotonic()

    def __len__(self) -> int:
        """How many requests have no answer."""
        return len(self._unanswered)

    def send(self, request: Any) -> None:
        if not self._unanswered:
            self._answered_at = time.monotonic()
        self._sent += 1
        request.sequence = self._sent
        self._unanswered.append(request)
        if self._call is not None:
            self._outgoing.put(request)

    def answer(self) -> Any:
        """Wait for the reply to the first request that has none. Raises `CaminoError`."""
        while True:
            try:
                reply = self._next()
            except CaminoError as error:
                self._pause(error)
                continue
            self._pauses = longest_pauses()
            self._answered_at = time.monotonic()
            request = self._unanswered.popleft()
            if reply.sequence != request.sequence:
                raise RuntimeError(f"answer {reply.sequence} to request {request.sequence} of a stream")
            return reply

    def close(self) -> None:
        """What has no answer gets none any more."""
        if self._call is not None:
            self._outgoing.put(None)
            self._call.cancel()
            self._call = None

    def _next(self) -> Any:
        if self._call is None:
            self._outgoing = SimpleQueue()
            for request in self._unanswered:
                self._outgoing.put(request)
            self._call = self._open(iter(self._outgoing.get, None))
        late = Timer(self._timeout_s, self._call.cancel)
        late.daemon = True
        late.start()
        try:
            return next(self._call)
        except StopIteration:
            raise CaminoError(grpc.StatusCode.UNAVAILABLE, details="the stream ended before its last answer") from None
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.CANCELLED:
                details = f"no answer within {self._timeout_s} seconds"
                raise CaminoError(grpc.StatusCode.DEADLINE_EXCEEDED, details=details) from None
            raise from_rpc_error(error) from None
        finally:
            late.cancel()

    def _pause(self, error: CaminoError) -> None:
        """Before another stream is opened; raises the error when that would be in vain."""
        self.close()
        pause = next(self._pauses) * random.random()
        if not error.retryable or time.monotonic() + pause > self._answered_at + self._give_up_s:
            raise error
        time.sleep(pause)
