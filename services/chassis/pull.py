"""A standing pull from a durable consumer: messages arrive as soon as there are any, without a request for each
batch."""

from __future__ import annotations

import asyncio
import json
from collections import deque

import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from services.chassis.broker import Broker
from services.chassis.errors import BrokerUnavailable

log = structlog.get_logger()

_EXPIRES_S = 30
_HEARTBEAT_S = 5


class Pull:
    """Keeps up to `window` messages of a durable requested or waiting in `into`, and sets `arrived` when one comes.

    nats-py's own `fetch` waits for a full batch or its time-out, and costs a round trip each time. Here one request
    stands at the server and is renewed when half of it is used up, when it ends, when the connection is a new one, and
    when the server has not been heard of for two heartbeats (JetStream's pull consumers, ADR-37 "Simplified JetStream
    API", describe the same).
    """

    def __init__(
        self, broker: Broker, stream: str, durable: str, into: deque[Msg], arrived: asyncio.Event, *, window: int
    ) -> None:
        self._broker = broker
        self._request_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._durable = durable
        self._into = into
        self._arrived = arrived
        self._window = window
        self._requested = 0
        self._connection = 0
        self._heard = 0.0
        self._inbox = ""
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        self._inbox = self._broker.client.new_inbox()
        self._subscription = await self._broker.client.subscribe(
            self._inbox, cb=self._receive, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        await self.renew()

    async def stop(self) -> None:
        """Take no more. What was requested and comes all the same is delivered again after the ack wait."""
        if self._subscription is not None and self._broker.connected:
            await self._subscription.unsubscribe()

    async def renew(self) -> None:
        """Request what fits into the window. Called after messages were taken out of `into`, and now and then."""
        now = asyncio.get_running_loop().time()
        connection = self._broker.client.stats["reconnects"]
        if connection != self._connection or now - self._heard > 2 * _HEARTBEAT_S:
            # A server forgets the requests of a connection that is gone.
            self._connection, self._requested = connection, 0
        room = self._window - self._requested - len(self._into)
        if room < self._window // 2 or not self._broker.connected:
            return
        self._requested += room
        self._heard = now
        request = {"batch": room, "expires": _EXPIRES_S * 10**9, "idle_heartbeat": _HEARTBEAT_S * 10**9}
        await self._broker.client.publish(self._request_subject, json.dumps(request).encode(), reply=self._inbox)

    async def _receive(self, message: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        status = message.headers.get("Status") if message.headers and not message.data else None
        if status is None:
            self._requested = max(0, self._requested - 1)
            self._into.append(message)
            self._arrived.set()
            return
        if status == "100":
            return
        assert message.headers is not None
        # 404, 408 and 409 end a request, wholly or for what of it was not delivered.
        self._requested = max(0, self._requested - int(message.headers.get("Nats-Pending-Messages", self._requested)))
        description = message.headers.get("Description", "")
        if status == "409" and "Consumer Deleted" in description:
            raise BrokerUnavailable(f"the consumer {self._durable} was deleted; run migrate")
        if status == "408":
            await self.renew()
        # The others come at once, again and again, while what they tell of lasts: the next look renews.
