"""Batches as requests of a stream: `StreamEvents` or `StreamProfiles`, opened when there's something to send, and again
when Camino has ended it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

import grpc
from camino.client.errors import CaminoError, from_rpc_error
from camino.client.ingestion.waiting import Input
from camino.profile.v1.profile_service_pb2 import (
    EventInput,
    ItemResult,
    ProfileInput,
    StreamEventsRequest,
    StreamProfilesRequest,
)

if TYPE_CHECKING:
    from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceAsyncStub

Request = StreamEventsRequest | StreamProfilesRequest
Answer = asyncio.Future[Sequence[ItemResult]]
Open = Callable[[AsyncIterator[Any]], Any]


class StreamedSender:
    """Sends items, all of one kind at a time; one result for each, in order. Raises `CaminoError`; what was under way
    with a request that failed is told that it may be sent again."""

    def __init__(self, profiles: ProfileServiceAsyncStub, workspace_id: str, timeout_s: float) -> None:
        """`timeout_s`: how long an answer may take."""
        self._workspace_id = workspace_id
        self._events = _Reopened(profiles.StreamEvents, timeout_s)
        self._profiles = _Reopened(profiles.StreamProfiles, timeout_s)

    async def __call__(self, inputs: Sequence[Input]) -> Sequence[ItemResult]:
        if isinstance(inputs[0], EventInput):
            events = [input for input in inputs if isinstance(input, EventInput)]
            return await self._events.ask(StreamEventsRequest(workspace_id=self._workspace_id, events=events))
        people = [input for input in inputs if isinstance(input, ProfileInput)]
        return await self._profiles.ask(StreamProfilesRequest(workspace_id=self._workspace_id, profiles=people))

    async def close(self) -> None:
        """End the streams; what has no answer yet fails."""
        await asyncio.gather(self._events.close(), self._profiles.close())


class _Reopened:
    """One stream after the other."""

    def __init__(self, open_: Open, timeout_s: float) -> None:
        self._open = open_
        self._timeout_s = timeout_s
        self._stream: _Stream | None = None

    async def ask(self, request: Request) -> Sequence[ItemResult]:
        if self._stream is None or self._stream.ended:
            self._stream = _Stream(self._open)
        stream = self._stream
        answer = stream.send(request)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await answer
        except TimeoutError:
            stream.cancel()
            raise CaminoError(
                grpc.StatusCode.DEADLINE_EXCEEDED, details=f"no answer within {self._timeout_s} seconds"
            ) from None

    async def close(self) -> None:
        if self._stream is not None:
            await self._stream.close(self._timeout_s)


class _Stream:
    def __init__(self, open_: Open) -> None:
        self._sending: asyncio.Queue[Request | None] = asyncio.Queue()
        self._unanswered: deque[tuple[int, Answer]] = deque()
        self._sent = 0
        self._call = open_(self._requests())
        self._reading = asyncio.create_task(self._read())

    @property
    def ended(self) -> bool:
        return self._reading.done()

    def send(self, request: Request) -> Answer:
        """Send it after those that were sent before. What is given resolves to its results."""
        self._sent += 1
        request.sequence = self._sent
        answer: Answer = asyncio.get_running_loop().create_future()
        self._unanswered.append((self._sent, answer))
        self._sending.put_nowait(request)
        return answer

    def cancel(self) -> None:
        self._call.cancel()

    async def close(self, within_s: float) -> None:
        """Let what was sent be answered, and end."""
        self._sending.put_nowait(None)
        await asyncio.wait((self._reading,), timeout=within_s)
        self._call.cancel()
        await self._reading

    async def _requests(self) -> AsyncIterator[Request]:
        while (request := await self._sending.get()) is not None:
            yield request

    async def _read(self) -> None:
        error: Exception | None = None
        try:
            async for reply in self._call:
                sequence, answer = self._unanswered[0]
                if reply.sequence != sequence:
                    raise RuntimeError(f"answer {reply.sequence} to request {sequence} of a stream")
                self._unanswered.popleft()
                if not answer.done():
                    answer.set_result(reply.results)
        except grpc.RpcError as failure:
            error = _told(failure)
        except asyncio.CancelledError:
            error = CaminoError(grpc.StatusCode.UNAVAILABLE, details="the stream was cancelled")
        except Exception as failure:
            error = failure
        finally:
            self._call.cancel()
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        """The first that has no answer is what it ended for."""
        for _, answer in self._unanswered:
            if not answer.done():
                answer.set_exception(error or _ended())
            if not isinstance(error, CaminoError) or not error.retryable:
                error = None
        self._unanswered.clear()


def _told(failure: grpc.RpcError) -> CaminoError:
    error = from_rpc_error(failure)
    # When a stream ends just as it's written to, gRPC's asyncio flavour calls that INTERNAL, and Camino's own status is
    # lost (`_StreamRequestMixin._write` in grpc/aio/_call.py). Asked again, Camino says it again.
    if error.status is grpc.StatusCode.INTERNAL and not error.reason_name:
        return _ended()
    return error


def _ended() -> CaminoError:
    return CaminoError(grpc.StatusCode.UNAVAILABLE, details="the stream ended before it was answered")
