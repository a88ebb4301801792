"""What may be wrong with streams: each takes away one of the promises that `camino.testing.contract` proves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from services.chassis import conversation, interceptors
from services.chassis.interceptors import Boundary
from services.profile.service import ProfileServicer


def conversing(patch: pytest.MonkeyPatch, otherwise: Callable[..., Any]) -> None:
    """Put another way to answer a stream's requests in the place of ours. It's given ours, and what that is given."""
    patch.setattr(interceptors, "converse", lambda *given, **named: otherwise(conversation.converse, *given, **named))


def answers_turned_round(patch: pytest.MonkeyPatch) -> None:
    async def converse(ours: Any, requests: Any, answer: Any, write: Any, end: Any, *, unanswered: int) -> None:
        kept: list[Any] = []

        async def turn_round(reply: Any) -> None:
            kept.append(reply)
            if len(kept) == 2:
                await write(kept.pop())
                await write(kept.pop())

        await ours(requests, answer, turn_round, end, unanswered=unanswered)
        for reply in kept:
            await write(reply)

    conversing(patch, converse)


def reads_nine_ahead(patch: pytest.MonkeyPatch) -> None:
    conversing(patch, lambda ours, *given, unanswered: ours(*given, unanswered=unanswered + 1))


def answers_at_the_end(patch: pytest.MonkeyPatch) -> None:
    async def converse(ours: Any, requests: Any, answer: Any, write: Any, end: Any, *, unanswered: int) -> None:
        kept: list[Any] = []

        async def keep(reply: Any) -> None:
            kept.append(reply)

        await ours(requests, answer, keep, end, unanswered=unanswered)
        for reply in kept:
            await write(reply)

    conversing(patch, converse)


def fault_overtakes(patch: pytest.MonkeyPatch) -> None:
    async def converse(ours: Any, requests: Any, *given: Any, unanswered: int) -> None:
        taken = [request async for request in requests]

        async def again() -> Any:
            for request in taken:
                yield request

        await ours(again(), *given, unanswered=unanswered)

    conversing(patch, converse)


def reads_past_a_fault(patch: pytest.MonkeyPatch) -> None:
    check = Boundary._check

    def check_most(self: Any, method: Any, caller: Any, request: Any) -> None:
        if not method.streams or getattr(request, method.items_field):
            check(self, method, caller, request)

    patch.setattr(Boundary, "_check", check_most)


def sequence_lost(patch: pytest.MonkeyPatch) -> None:
    stream = ProfileServicer.StreamProfiles

    async def lose(self: Any, request: Any, context: object) -> Any:
        reply = await stream(self, request, context)
        reply.ClearField("sequence")
        return reply

    patch.setattr(ProfileServicer, "StreamProfiles", lose)


def stream_of_its_own(patch: pytest.MonkeyPatch) -> None:
    stream = ProfileServicer.StreamEvents

    async def elsewhere(self: Any, request: Any, context: object) -> Any:
        for event in request.events:
            event.event_id += "-streamed"
        return await stream(self, request, context)

    patch.setattr(ProfileServicer, "StreamEvents", elsewhere)


def never_ends(patch: pytest.MonkeyPatch) -> None:
    async def converse(ours: Any, *given: Any, unanswered: int) -> None:
        await ours(*given, unanswered=unanswered)
        await asyncio.Event().wait()

    conversing(patch, converse)


def works_on_for_nobody(patch: pytest.MonkeyPatch) -> None:
    conversing(patch, lambda ours, *given, unanswered: asyncio.shield(ours(*given, unanswered=unanswered)))


def taken_twice_over_another(patch: pytest.MonkeyPatch) -> None:
    stream, numbers = ProfileServicer.StreamEvents, count()

    async def anew(self: Any, request: Any, context: object) -> Any:
        for event in request.events:
            event.event_id += f"-{next(numbers)}"
        return await stream(self, request, context)

    patch.setattr(ProfileServicer, "StreamEvents", anew)


def streams_for_everybody(patch: pytest.MonkeyPatch) -> None:
    admit = Boundary._admit

    def admit_streams(self: Any, method: Any, metadata: Any) -> Any:
        return None if method.streams else admit(self, method, metadata)

    patch.setattr(Boundary, "_admit", admit_streams)
