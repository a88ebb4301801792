"""The client that follows memberships, in both flavours, against a service that answers as it's told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import pytest
from camino.client import CaminoError, Told, connect
from camino.client import sync as blocking
from camino.errors.v1 import reason_pb2
from camino.segment.v1 import segment_service_pb2 as wire
from camino.segment.v1.segment_service_pb2_grpc import SegmentServiceServicer, add_SegmentServiceServicer_to_server

from services.chassis.errors import CaminoError as Failure
from services.chassis.errors import CursorExpired, NotFound, Unauthenticated, Unavailable
from services.chassis.rpc_errors import abort

AWAY = Unavailable("away")
EXPIRED = CursorExpired("too old")
REFUSED = Unauthenticated("no longer")


class Scripted(SegmentServiceServicer):
    """Tells by each stream what it's told to, members by their names, with where to go on with them after a plus and
    cursors after a colon; and ends it so."""

    def __init__(self) -> None:
        self.streams: list[tuple[str, Failure | None]] = []
        self.cursors: list[str] = []
        self.left = asyncio.Event()

    async def WatchMemberships(self, request: Any, context: Any) -> AsyncIterator[Any]:
        assert (request.workspace_id, list(request.segment_ids)) == ("shop", ["vips"])
        self.cursors.append(request.cursor)
        assert dict(context.invocation_metadata())["authorization"] == "Bearer a-token"
        said, end = self.streams.pop(0)
        for word in said.split():
            name, _, cursor = word.partition(":")
            name, _, next_ = name.partition("+")
            members = wire.SegmentMembers(segment_id="vips", profile_ids=[name]) if name else None
            yield wire.WatchMembershipsResponse(members=members, cursor=cursor, members_cursor=next_)
        if end is not None:
            await abort(context, end)
        if not self.streams:
            try:
                await asyncio.Event().wait()
            finally:
                self.left.set()


Follow = Callable[..., Awaitable[list[str]]]


def _text(told: Told) -> str:
    [name] = told.response.members.profile_ids or [""]
    return f"{'anew ' if told.anew else ''}{name}"


@pytest.fixture
async def scripted() -> AsyncIterator[tuple[Scripted, str]]:
    servicer, server = Scripted(), grpc.aio.server()
    add_SegmentServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, f"127.0.0.1:{port}"
    await server.stop(0)


@pytest.fixture(params=["asyncio", "blocking"])
def follow(request: pytest.FixtureRequest, scripted: tuple[Scripted, str]) -> Follow:
    """What so many responses tell."""
    target = scripted[1]

    async def follow(count: int, cursor: str = "") -> list[str]:
        found: list[str] = []
        async with connect(target=target, token="a-token") as client:
            async for told in client.watch_memberships("shop", ["vips"], cursor=cursor):
                found.append(_text(told))
                if len(found) == count:
                    break
        return found

    def follow_without_a_loop(count: int, cursor: str = "") -> list[str]:
        found: list[str] = []
        with blocking.connect(target=target, token="a-token") as client:
            for told in client.watch_memberships("shop", ["vips"], cursor=cursor):
                found.append(_text(told))
                if len(found) == count:
                    break
        return found

    async def in_a_thread(*given: Any, **named: Any) -> list[str]:
        return await asyncio.to_thread(follow_without_a_loop, *given, **named)

    return follow if request.param == "asyncio" else in_a_thread


@pytest.mark.parametrize(
    ("streams", "told", "cursors"),
    [
        pytest.param(
            [("ana bob :1 cyd:2", AWAY), ("", AWAY), ("dan:3", None), (":4", None)],
            ["anew ana", "bob", "", "cyd", "dan", ""],
            ["", "2", "2", "3"],
            id="goes on with the newest cursor",
        ),
        pytest.param(
            [("ana", AWAY), ("ana bob:1", AWAY), ("cyd:2", None)],
            ["anew ana", "anew ana", "bob", "cyd"],
            ["", "", "1"],
            id="begins anew if it was cut before all were told",
        ),
        pytest.param(
            [("ana+1 bob", AWAY), ("bob :2", AWAY), ("cyd:3", None)],
            ["anew ana", "bob", "bob", "", "cyd"],
            ["", "1", "2"],
            id="goes on with those who haven't been told",
        ),
        pytest.param(
            [("ana:1", REFUSED), ("bob:2", None)],
            ["anew ana", "bob"],
            ["", "1"],
            id="tries whether its token has been replaced",
        ),
        pytest.param(
            [("ana:1", AWAY), ("", EXPIRED), ("bob:2", AWAY), ("cyd:3", None)],
            ["anew ana", "anew bob", "cyd"],
            ["", "1", "", "2"],
            id="begins anew if its cursor is too old",
        ),
    ],
)
async def test_one_stream_goes_on_where_another_ended(
    scripted: tuple[Scripted, str],
    follow: Follow,
    streams: Sequence[tuple[str, Failure | None]],
    told: list[str],
    cursors: list[str],
) -> None:
    servicer, _ = scripted
    servicer.streams = list(streams)
    assert await follow(len(told)) == told
    # Streams that end before they say anything are tried again by the channel, too.
    assert servicer.cursors == cursors
    await asyncio.wait_for(servicer.left.wait(), 10)


async def test_it_begins_where_it_is_asked_to(scripted: tuple[Scripted, str], follow: Follow) -> None:
    servicer, _ = scripted
    servicer.streams = [("ana:8", None)]
    assert await follow(1, cursor="7") == ["ana"]
    assert servicer.cursors == ["7"]


async def test_what_does_not_pass_ends_it(scripted: tuple[Scripted, str], follow: Follow) -> None:
    servicer, _ = scripted
    for end, reason in (
        (NotFound.of("segment", "vips"), reason_pb2.REASON_NOT_FOUND),
        (REFUSED, reason_pb2.REASON_UNAUTHENTICATED),
        (EXPIRED, reason_pb2.REASON_CURSOR_EXPIRED),
    ):
        servicer.streams = [("", end)]
        with pytest.raises(CaminoError) as failed:
            await follow(1)
        assert failed.value.reason == reason
