"""Reading a log stream from any place on, by many readers, without a consumer of its own for each.

Messages come by JetStream's Direct Get (ADR-31), which any server of a cluster answers that has a copy of the stream.
Such a copy may be behind, but it's a beginning of the stream: so what it gives is in order and has no gaps, and only
that nothing follows must be asked of the stream's leader. That something came is told by the subject to which the
broker republishes what it has stored (`Chimes`).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import structlog
from google.protobuf.message import DecodeError, Message
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from services.chassis.broker import Broker, StreamSpec
from services.chassis.chimes import Chimes
from services.chassis.clock import MINUTE, SECOND, Clock, Instant
from services.chassis.errors import BrokerUnavailable, CursorExpired

log = structlog.get_logger()

M = TypeVar("M", bound=Message)

_Key = tuple[str, int, int, int, int]

_TIMEOUT_S = 5.0
_SKEW = MINUTE
"""How much the clocks of the broker and of ours may differ."""


class Place(NamedTuple):
    """Where a reader is in a stream: all of its workspace's messages up to `sequence` have been read. Four numbers, to
    be kept wherever it suits the reader."""

    made_at: Instant
    """When the stream was made. One that is deleted and made anew counts from 1 again."""
    sequence: int
    read_at: Instant
    """Whatever was stored before this instant has been read."""
    stored_at: Instant
    """When the message of that sequence was stored, whosever it is. A stream that loses its end, by a power cut or a
    backup that is restored, gives its sequences to others."""


@dataclass(frozen=True, slots=True)
class Stored(Generic[M]):
    """A message of a stream."""

    sequence: int
    stored_at: Instant
    """By the broker's clock."""
    message: M


@dataclass(frozen=True, slots=True)
class Read(Generic[M]):
    """Some messages of a workspace, in the order of the stream."""

    messages: Sequence[Stored[M]]
    through: Place
    """Where to go on."""


class Tail(Generic[M]):
    """One stream of one type of messages, for all readers of a replica. Its `StreamSpec` must be `tailed`.

    Messages that were purged are passed over: whoever purges them tells what follows from it. Every method raises
    `BrokerUnavailable` when the broker doesn't answer.
    """

    def __init__(self, broker: Broker, spec: StreamSpec, message_type: type[M], clock: Clock) -> None:
        self._broker = broker
        self._spec = spec
        self._type = message_type
        self._clock = clock
        self._chimes = Chimes(broker, message_type, self._newest_of)
        self._reads: dict[_Key, asyncio.Task[Read[M]]] = {}

    async def newest(self) -> Place:
        """The end of the stream."""
        now = self._clock.now()
        state = await self._state()
        return Place(state.made_at, state.last, now, state.last_at)

    async def read(self, workspace_id: str, place: Place, limit: int) -> Read[M]:
        """The next messages of a workspace after a place, at most so many; none when there are none yet.

        Readers that are at the same place share one reading. Raises `CursorExpired` when messages may be lost to the
        reader: they're kept for `max_age_s` only.
        """
        if place.read_at + int(self._spec.max_age_s * SECOND) - _SKEW < self._clock.now():
            raise _expired("it's too old")
        key = workspace_id, place.made_at, place.sequence, place.stored_at, limit
        reading = self._reads.get(key)
        if reading is None:
            reading = self._reads[key] = asyncio.create_task(self._read(workspace_id, place, limit))
            reading.add_done_callback(lambda done: self._ended(key, done))
        # Others may wait for it too: it doesn't end with this caller.
        return await asyncio.shield(reading)

    async def arrived(self, workspace_id: str, place: Place, until: Instant) -> None:
        """Return when a workspace may have messages after a place, or at `until`. Of a burst only the first is told at
        once."""
        await self._chimes.wait(workspace_id, place.sequence, self._clock, until)

    def _ended(self, key: _Key, reading: asyncio.Task[Read[M]]) -> None:
        del self._reads[key]
        if not reading.cancelled():
            # It's no fault if everybody who waited for it is gone.
            reading.exception()

    async def _read(self, workspace_id: str, place: Place, limit: int) -> Read[M]:
        began = self._clock.now()
        subject = f"{self._type.DESCRIPTOR.full_name}.{workspace_id}.>"
        found = await _Batch(self._broker, self._spec.name).get(subject, place.sequence, limit)
        # After the messages, so that none of another stream is taken for one of this.
        state, stored_at = await asyncio.gather(self._state(), self._stored_at(place))
        if (state.made_at, stored_at) != (place.made_at, place.stored_at) or state.last < place.sequence:
            raise _expired("the stream isn't the same any more")
        if not found:
            following = await self._ask("STREAM.MSG.GET", {"seq": place.sequence + 1, "next_by_subj": subject})
            if following is None:
                return Read((), Place(state.made_at, state.last, began, state.last_at))
            found = [_told(following)]
        sequence, stored_at, _ = found[-1]
        # Whatever the broker's clock says, it wasn't stored after we have read it.
        return Read(self._decoded(found), Place(state.made_at, sequence, min(stored_at, began), stored_at))

    def _decoded(self, found: Sequence[tuple[int, Instant, bytes]]) -> Sequence[Stored[M]]:
        decoded = []
        for sequence, stored_at, data in found:
            try:
                decoded.append(Stored(sequence, stored_at, self._type.FromString(data)))
            except DecodeError:
                log.error("message can't be decoded", stream=self._spec.name, sequence=sequence)
        return decoded

    async def _newest_of(self, workspace_id: str) -> int:
        """The sequence of a workspace's newest message; 0 if there is none."""
        subject = f"{self._type.DESCRIPTOR.full_name}.{workspace_id}.>"
        found = await self._ask("STREAM.MSG.GET", {"last_by_subj": subject})
        return 0 if found is None else int(found["message"]["seq"])

    async def _state(self) -> _State:
        told = await self._ask("STREAM.INFO", {})
        if told is None:
            raise BrokerUnavailable(f"there is no stream {self._spec.name}")
        state = told["state"]
        return _State(_instant(told["created"]), int(state["last_seq"]), _instant(state["last_ts"]))

    async def _stored_at(self, place: Place) -> Instant:
        """When what is at a place now was stored; as the place says if nothing is kept there."""
        found = await self._ask("STREAM.MSG.GET", {"seq": place.sequence}) if place.sequence else None
        return place.stored_at if found is None else _instant(found["message"]["time"])

    async def _ask(self, what: str, request: dict[str, Any]) -> dict[str, Any] | None:
        """What the stream's leader answers; None when it has no such thing."""
        _must_be_connected(self._broker)
        subject = f"$JS.API.{what}.{self._spec.name}"
        try:
            reply = await self._broker.client.request(subject, json.dumps(request).encode(), timeout=_TIMEOUT_S)
        except (TimeoutError, NatsError) as error:
            raise _silent(error) from error
        answer: dict[str, Any] = json.loads(reply.data)
        if refusal := answer.get("error"):
            if refusal["code"] == 404:
                return None
            raise BrokerUnavailable(f"{self._spec.name} can't be read: {refusal['description']}")
        return answer


class _State(NamedTuple):
    made_at: Instant
    last: int
    """The last sequence; 0 if there was none."""
    last_at: Instant
    """When that was stored."""


class _Batch:
    """One Direct Get: many messages that come without being asked for one by one."""

    def __init__(self, broker: Broker, stream: str) -> None:
        _must_be_connected(broker)
        self._client = broker.client
        self._stream = stream
        self._found: list[tuple[int, Instant, bytes]] = []
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def get(self, subject: str, after: int, limit: int) -> list[tuple[int, Instant, bytes]]:
        """Messages as (sequence, instant, data)."""
        inbox = self._client.new_inbox()
        request = {"seq": after + 1, "next_by_subj": subject, "batch": limit}
        try:
            replies = await self._client.subscribe(
                inbox, cb=self._receive, pending_msgs_limit=-1, pending_bytes_limit=-1
            )
            try:
                await self._client.publish(f"$JS.API.DIRECT.GET.{self._stream}", json.dumps(request).encode(), inbox)
                async with asyncio.timeout(_TIMEOUT_S):
                    await self._end
            finally:
                if self._client.is_connected:
                    await replies.unsubscribe()
        except (TimeoutError, NatsError) as error:
            raise _silent(error) from error
        return self._found

    async def _receive(self, reply: Msg) -> None:
        if self._end.done():
            return
        headers = reply.headers or {}
        status = headers.get("Status")
        # Each tells of the one before it: what a broken connection has swallowed is missed.
        before = self._found[-1][0] if self._found else 0
        if status == "404":
            self._end.set_result(None)
        elif status not in (None, "204"):
            self._end.set_exception(BrokerUnavailable(f"{self._stream} can't be read: {status}"))
        elif int(headers["Nats-Last-Sequence"]) != before:
            self._end.set_exception(BrokerUnavailable(f"a part of {self._stream} was lost on its way"))
        elif status:
            self._end.set_result(None)
        else:
            self._found.append((int(headers["Nats-Sequence"]), _instant(headers["Nats-Time-Stamp"]), reply.data))


def _told(answer: dict[str, Any]) -> tuple[int, Instant, bytes]:
    message = answer["message"]
    return int(message["seq"]), _instant(message["time"]), base64.b64decode(message.get("data", ""))


def _instant(text: str) -> Instant:
    return round(datetime.fromisoformat(text).timestamp() * SECOND)


def _must_be_connected(broker: Broker) -> None:
    """Raises `BrokerUnavailable` at once for what else would be waited for in vain."""
    if not broker.connected:
        raise BrokerUnavailable("not connected to the broker")


def _silent(error: Exception) -> BrokerUnavailable:
    return BrokerUnavailable(f"the broker doesn't answer: {error or type(error).__name__}")


def _expired(why: str) -> CursorExpired:
    return CursorExpired(f"what follows this cursor isn't all kept: {why}; begin anew without one")
