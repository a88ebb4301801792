"""What may be wrong with methods that tell: each takes away a promise that `camino.testing.contract` proves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from services.chassis import interceptors, telling
from services.chassis.interceptors import Boundary
from services.chassis.tail import Place
from services.segment.cursors import Cursors, Told
from services.segment.service import SegmentServicer

Responses = AsyncGenerator[Any, None]


def watching(patch: pytest.MonkeyPatch, otherwise: Callable[[Any, Callable[[], Responses]], Responses]) -> None:
    """Put another way to tell of memberships in the place of ours. It's given the request, and ours."""
    ours = SegmentServicer.WatchMemberships

    def watch(self: Any, request: Any, context: object) -> Responses:
        return otherwise(request, lambda: ours(self, request, context))

    patch.setattr(SegmentServicer, "WatchMemberships", watch)


def tells_only_what_there_is(patch: pytest.MonkeyPatch) -> None:
    async def watch(_request: Any, ours: Callable[[], Responses]) -> Responses:
        async for response in ours():
            yield response
            if response.cursor:
                await asyncio.Event().wait()

    watching(patch, watch)


def tells_only_what_comes(patch: pytest.MonkeyPatch) -> None:
    async def watch(_request: Any, ours: Callable[[], Responses]) -> Responses:
        async for response in ours():
            response.ClearField("members")
            yield response

    watching(patch, watch)


def begins_anew_at_any_cursor(patch: pytest.MonkeyPatch) -> None:
    async def watch(request: Any, ours: Callable[[], Responses]) -> Responses:
        request.cursor = ""
        async for response in ours():
            yield response

    watching(patch, watch)


def goes_on_at_the_end(patch: pytest.MonkeyPatch) -> None:
    """What came between the cursor and now is left out."""

    async def watch(request: Any, ours: Callable[[], Responses]) -> Responses:
        begun = not request.cursor
        async for response in ours():
            if begun:
                yield response
            begun = begun or bool(response.cursor)

    watching(patch, watch)


def ends_when_all_is_told(patch: pytest.MonkeyPatch) -> None:
    async def watch(_request: Any, ours: Callable[[], Responses]) -> Responses:
        async for response in ours():
            yield response
            if response.cursor:
                return

    watching(patch, watch)


def any_cursor_will_do(patch: pytest.MonkeyPatch) -> None:
    told = Cursors.told

    def read(self: Any, cursor: str) -> Any:
        try:
            return told(self, cursor)
        except Exception:
            return told(self, self.of_told(Told(Place(0, 0, 0, 0))))

    patch.setattr(Cursors, "told", read)


def cursors_of_any_question(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cursors, "_seal", lambda _self, _packed: bytes(16))


def watches_for_nobody(patch: pytest.MonkeyPatch) -> None:
    def tell(responses: Responses, write: Any, _end: object) -> Any:
        return asyncio.shield(telling.tell(responses, write, asyncio.get_running_loop().create_future()))

    patch.setattr(interceptors, "tell", tell)


def tells_everybody(patch: pytest.MonkeyPatch) -> None:
    admit = Boundary._admit

    def admit_who_listens(self: Any, method: Any, metadata: Any) -> Any:
        return None if method.tells else admit(self, method, metadata)

    patch.setattr(Boundary, "_admit", admit_who_listens)
