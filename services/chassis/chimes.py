"""What tells readers of a stream that something was stored for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from google.protobuf.message import Message
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from services.chassis.broker import ECHO, Broker
from services.chassis.clock import Clock, Instant, wait_for_any
from services.chassis.errors import BrokerUnavailable

_GATHER_S = 0.02
"""How far apart those who wait are woken while message follows upon message."""
_LOOK_S = 5.0
"""How often the broker is asked all the same: what it republishes may be lost on its way."""
_LINGER_S = 30.0
"""How long one listens for a workspace that nobody waits for: they'll be back when they've read."""


class Chimes:
    """One subscription for each workspace that is waited for, shared by all who do.

    `newest_of` asks the broker for the sequence of a workspace's newest message.
    """

    def __init__(self, broker: Broker, message_type: type[Message], newest_of: Callable[[str], Awaitable[int]]) -> None:
        self._broker = broker
        self._subject = f"{ECHO}.{message_type.DESCRIPTOR.full_name}"
        self._newest_of = newest_of
        self._chimes: dict[str, _Chime] = {}

    async def wait(self, workspace_id: str, after: int, clock: Clock, until: Instant) -> None:
        """Return when a workspace may have messages after a sequence, or at `until`. Raises `BrokerUnavailable`."""
        chime = self._chimes.get(workspace_id)
        if chime is None:
            chime = self._chimes[workspace_id] = _Chime(
                self._broker, f"{self._subject}.{workspace_id}.>", lambda: self._newest_of(workspace_id)
            )
        chime.come()
        try:
            while True:
                await chime.look()
                if chime.told > after or clock.now() >= until:
                    return
                rung = chime.rung
                try:
                    async with asyncio.timeout(_LOOK_S):
                        await wait_for_any(clock, until, rung)
                except TimeoutError:
                    continue
        finally:
            chime.go(lambda: self._chimes.pop(workspace_id))


class _Chime:
    """`told` is the newest sequence that those who wait know of; `rung` is set, and replaced, when it has grown."""

    def __init__(self, broker: Broker, subject: str, newest: Callable[[], Awaitable[int]]) -> None:
        self.told = 0
        self.rung = asyncio.Event()
        self._broker = broker
        self._subject = subject
        self._newest = newest
        self._heard = 0
        self._loop = asyncio.get_running_loop()
        self._rung_at = 0.0
        self._ringing: asyncio.TimerHandle | None = None
        self._subscription: Subscription | None = None
        self._looking = asyncio.Lock()
        self._looked_at = 0.0
        self._connection = -1
        self._waiting = 0
        self._leaving: asyncio.TimerHandle | None = None

    def come(self) -> None:
        self._waiting += 1
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def go(self, forget: Callable[[], object]) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._leaving = self._loop.call_later(_LINGER_S, self._leave, forget)

    def _leave(self, forget: Callable[[], object]) -> None:
        forget()
        if self._ringing is not None:
            self._ringing.cancel()
        if self._subscription is not None and self._broker.connected:
            self._end = self._loop.create_task(_unsubscribe(self._subscription))

    async def look(self) -> None:
        """Ask what there is, if that is to be: at first, after a new connection, and now and then."""
        async with self._looking:
            connection = self._broker.client.stats["reconnects"]
            if connection == self._connection and self._loop.time() - self._looked_at < _LOOK_S:
                return
            if self._subscription is None:
                try:
                    self._subscription = await self._broker.client.subscribe(self._subject, cb=self._hear)
                except NatsError as error:
                    raise BrokerUnavailable(f"the broker can't be listened to: {error}") from error
            # What was known may be of a stream that is gone.
            self._heard = 0
            newest = await self._newest()
            self._connection, self._looked_at = connection, self._loop.time()
            self._heard = max(self._heard, newest)
            self._ring()

    async def _hear(self, message: Msg) -> None:
        assert message.headers is not None
        self._heard = max(self._heard, int(message.headers["Nats-Sequence"]))
        if self._ringing is None:
            self._ringing = self._loop.call_at(max(self._rung_at + _GATHER_S, self._loop.time()), self._ring)

    def _ring(self) -> None:
        if self._ringing is not None:
            self._ringing.cancel()
            self._ringing = None
        self._rung_at = self._loop.time()
        if self._heard != self.told:
            self.told = self._heard
            self.rung.set()
            self.rung = asyncio.Event()


async def _unsubscribe(subscription: Subscription) -> None:
    # Nothing is left to unsubscribe from on a connection that has ended.
    with suppress(NatsError):
        await subscription.unsubscribe()
