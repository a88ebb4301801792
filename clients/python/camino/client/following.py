"""Who is in which segment, followed without an end: over one stream after the other, each from where the one before it
has come to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, NamedTuple

import grpc
from camino.client.errors import from_rpc_error
from camino.client.ingestion.pace import longest_pauses
from camino.errors.v1.reason_pb2 import REASON_CURSOR_EXPIRED
from camino.segment.v1.segment_service_pb2 import WatchMembershipsRequest, WatchMembershipsResponse


class Told(NamedTuple):
    """What Camino tells who follows memberships."""

    anew: bool
    """Whether it begins anew here: everybody who is a member is told again, and what was told before is void."""
    response: WatchMembershipsResponse


class Following:
    """How it goes on, in either flavour: what the next stream asks for, and how long to wait for it."""

    def __init__(self, workspace_id: str, segment_ids: Iterable[str], cursor: str) -> None:
        self._request = WatchMembershipsRequest(workspace_id=workspace_id, segment_ids=segment_ids, cursor=cursor)
        self._pauses = longest_pauses()
        self._anew = False
        self._begun = False

    def next_request(self) -> WatchMembershipsRequest:
        """What to open a stream with. One that has no cursor yet begins with everybody."""
        self._anew = not self._request.cursor
        self._begun = False
        request = WatchMembershipsRequest()
        request.CopyFrom(self._request)
        return request

    def take(self, response: WatchMembershipsResponse) -> Told:
        told = Told(self._anew, response)
        self._anew = False
        self._begun = True
        self._request.cursor = response.cursor or response.members_cursor or self._request.cursor
        self._pauses = longest_pauses()
        return told

    def pause_s(self, failure: grpc.RpcError | None) -> float:
        """How long to wait before the next stream, when one has ended. Raises `CaminoError` if it would be in vain."""
        if failure is not None:
            error = from_rpc_error(failure)
            # The token that a stream was begun with may have been replaced by another since.
            replaced = self._begun and error.status is grpc.StatusCode.UNAUTHENTICATED
            if error.reason == REASON_CURSOR_EXPIRED and self._request.cursor:
                self._request.cursor = ""
            elif not error.retryable and not replaced:
                raise error
        return next(self._pauses) * random.random()


async def follow(open_: Callable[[WatchMembershipsRequest], Any], following: Following) -> AsyncIterator[Told]:
    while True:
        call, failure = open_(following.next_request()), None
        try:
            async for response in call:
                yield following.take(response)
        except grpc.RpcError as error:
            failure = error
        finally:
            call.cancel()
        await asyncio.sleep(following.pause_s(failure))
