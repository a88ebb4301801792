"""The requests of a stream: whatever happens, in whatever order, its answers are those of its first requests, in their
order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.conversation import converse
from services.chassis.errors import StoreUnavailable, Unavailable

UNANSWERED = 3

_GOES_ON = st.one_of(
    st.just("request"),
    st.just("request"),
    st.tuples(st.just("answered"), st.integers(0, 9)),
    st.just("written"),
)
_ENDS = st.one_of(
    st.just("last request"),
    st.just("broken request"),
    st.tuples(st.just("away"), st.integers(0, 9)),
    st.just("end"),
    st.just("cancel"),
)
STEPS = st.builds(
    lambda parts, last: [*(step for before, end in parts for step in (*before, end)), *last],
    st.lists(st.tuples(st.lists(_GOES_ON, max_size=15), _ENDS), max_size=2),
    st.lists(_GOES_ON, max_size=15),
)
"""What happens: a request comes; one that is under way is answered; the peer takes an answer in. And now and then: no
request comes any more, or one that can't be read; one that is under way fails; the stream is to end; its caller breaks
it off."""


class Peer:
    """Asks and reads when it's told."""

    def __init__(self) -> None:
        self.asked = 0
        self.read = 0
        self.begun: list[asyncio.Future[None]] = []
        self.answers: list[int] = []
        self.running = 0
        self.failed: set[int] = set()
        self._coming: asyncio.Queue[int | Exception | None] = asyncio.Queue()
        self._writing: asyncio.Future[None] | None = None
        self.end: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()

    def come(self, what: int | Exception | None) -> None:
        self._coming.put_nowait(what)

    async def requests(self) -> AsyncIterator[int]:
        while (request := await self._coming.get()) is not None:
            if isinstance(request, Exception):
                raise request
            self.read += 1
            assert self.read <= len(self.answers) + UNANSWERED
            yield request

    async def answer(self, request: int) -> int:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.begun.append(done)
        self.running += 1
        try:
            await done
        finally:
            self.running -= 1
        return request

    async def write(self, answer: int) -> None:
        self._writing = asyncio.get_running_loop().create_future()
        await self._writing
        self.answers.append(answer)

    def take_in(self) -> None:
        if self._writing and not self._writing.done():
            self._writing.set_result(None)

    def settle(self, number: int, error: Exception | None) -> None:
        if number < len(self.begun) and not self.begun[number].done():
            if error:
                self.failed.add(number)
                self.begun[number].set_exception(error)
            else:
                self.begun[number].set_result(None)


async def some_turns() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


async def play(steps: list[object], finish: bool) -> None:
    peer = Peer()
    conversation = asyncio.create_task(
        converse(peer.requests(), peer.answer, peer.write, peer.end, unanswered=UNANSWERED)
    )
    open_, broken, cancelled = True, False, False
    read_in_all = len(steps)
    for step in steps:
        if step == "request" and open_:
            peer.come(peer.asked)
            peer.asked += 1
        elif step == "last request" and open_:
            peer.come(None)
            open_ = False
        elif step == "broken request" and open_:
            peer.come(ValueError("broken"))
            open_, broken = False, True
        elif isinstance(step, tuple):
            what, number = step
            peer.settle(number, StoreUnavailable("away") if what == "away" else None)
        elif step == "written":
            peer.take_in()
        elif step == "end" and not peer.end.done():
            peer.end.set_exception(Unavailable("ends"))
        elif step == "cancel":
            cancelled = True
            conversation.cancel()
        await some_turns()
        assert peer.answers == list(range(len(peer.answers)))
        if peer.end.done():
            read_in_all = min(read_in_all, peer.read)
        assert peer.read <= read_in_all
    if not conversation.done() and finish:
        if open_:
            peer.come(None)
        while not conversation.done():
            for number in range(len(peer.begun)):
                peer.settle(number, None)
            peer.take_in()
            await some_turns()
    elif not conversation.done():
        cancelled = True
        conversation.cancel()
    [error] = await asyncio.gather(conversation, return_exceptions=True)
    ended = peer.end.done() and not peer.end.cancelled() and peer.end.exception() is not None
    assert peer.answers == list(range(len(peer.answers)))
    assert peer.running == 0
    assert peer.read <= read_in_all
    first_failed = min(peer.failed, default=None)
    if first_failed is not None:
        assert len(peer.answers) <= first_failed
    if isinstance(error, asyncio.CancelledError):
        assert cancelled
    elif isinstance(error, StoreUnavailable):
        assert len(peer.answers) == first_failed
    elif isinstance(error, ValueError):
        assert broken
        assert len(peer.answers) == peer.asked
    elif isinstance(error, Unavailable):
        assert ended
        assert len(peer.answers) == peer.read
    else:
        assert error is None
        assert len(peer.answers) == peer.asked
    for future in peer.begun:
        if future.done() and not future.cancelled():
            future.exception()


@given(STEPS, st.booleans())
def test_answers_are_those_of_the_first_requests_in_order(steps: list[object], finish: bool) -> None:
    asyncio.run(play(steps, finish))


async def test_each_request_is_carried_out_in_the_context_that_reading_it_has_left() -> None:
    from contextvars import ContextVar

    seen: ContextVar[int] = ContextVar("seen")
    told: list[tuple[int, int]] = []
    written: list[int] = []

    async def requests() -> AsyncIterator[int]:
        for number in range(5):
            seen.set(number)
            yield number

    async def answer(request: int) -> int:
        await asyncio.sleep(0)
        told.append((request, seen.get()))
        return request

    async def write(reply: int) -> None:
        written.append(reply)

    end: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
    await converse(requests(), answer, write, end, unanswered=2)
    assert told == [(number, number) for number in range(5)]
    assert written == list(range(5))


async def test_what_fails_later_does_not_overtake_what_fails_first() -> None:
    async def requests() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    failing = asyncio.Event()

    async def answer(request: int) -> int:
        if request == 1:
            failing.set()
            raise KeyError(request)
        await failing.wait()
        return request

    written: list[int] = []

    async def write(reply: int) -> None:
        written.append(reply)

    end: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
    with pytest.raises(KeyError):
        await converse(requests(), answer, write, end, unanswered=3)
    assert written == [0]
