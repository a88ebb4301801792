"""The connection to JetStream, and the streams and consumers that a service declares."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import nats
import structlog
from google.protobuf.message import Message
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RePublish, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from services.chassis.connection import Connection
from services.chassis.errors import BrokerUnavailable
from services.chassis.loops import Backoff

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """A stream for some types of messages, named by the service that publishes them.

    `work` streams forget a message once its consumer has acknowledged it; `log` streams keep it for `max_age_s`.
    """

    name: str
    message_types: tuple[type[Message], ...]
    retention: Literal["work", "log"]
    max_age_s: float
    tailed: bool = False
    """Whether its service reads it itself, from any place on: see `tail`."""

    def subjects(self) -> list[str]:
        return [f"{kind.DESCRIPTOR.full_name}.>" for kind in self.message_types]

    def echoes(self) -> list[str]:
        """The subjects to which the broker says what it has stored, if the stream is tailed."""
        return [f"{ECHO}.{subject}" for subject in self.subjects()] if self.tailed else []


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """A durable consumer of one type of messages: one for each partition, or one for all.

    Deliveries are unlimited: attempts are counted by the message's delivery count, and what can't be handled goes to
    the dead letters.
    """

    name: str
    stream: str
    message_type: type[Message]
    partitions: int = 0
    """How many partitions, each with a durable of its own; 0 for a single durable over all of them."""
    ack_wait_s: float = 30
    max_ack_pending: int = 10_000

    def durables(self) -> dict[int, tuple[str, str]]:
        """The durable's name and subject filter by partition; by -1 when there is a single one."""
        kind = self.message_type.DESCRIPTOR.full_name
        if not self.partitions:
            return {-1: (self.name, f"{kind}.>")}
        return {number: (f"{self.name}-{number}", f"{kind}.*.{number}.*") for number in range(self.partitions)}


ECHO = "stored"
"""Before the subject of a message that was stored in a stream that is tailed: there the broker says so."""


def inbox_prefix(name: str) -> str:
    """Below which subjects a connection of this name gets its replies."""
    return f"_INBOX_{name}"


class Broker:
    """One connection to NATS, kept for the life of the process: it reconnects by itself, for ever."""

    def __init__(self, client: Client, connection: Connection) -> None:
        self.client = client
        self._connection = connection
        self.jetstream: JetStreamContext = client.jetstream(publish_async_max_pending=20_000)

    @classmethod
    async def connect(cls, url: str, name: str) -> Broker:
        """Connect, waiting for a broker that is away.

        `name` is the connection's in the broker's reports, and that of its inboxes: replies come to `_INBOX_<name>`, so
        that a broker can keep others from reading them.
        """
        connection = Connection()
        backoff = Backoff()
        while True:
            try:
                client = await nats.connect(
                    servers=url.split(","),
                    name=name,
                    inbox_prefix=inbox_prefix(name),
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.25,
                    ping_interval=10,
                    max_outstanding_pings=2,
                    allow_reconnect=True,
                    error_cb=connection.on_error,
                    disconnected_cb=connection.on_disconnect,
                    reconnected_cb=connection.on_reconnect,
                    closed_cb=connection.on_closed,
                    pending_size=64 * 1024 * 1024,
                )
                return cls(client, connection)
            except (TimeoutError, NatsError, OSError) as error:
                log.warning("waiting for the broker", error=str(error) or type(error).__name__)
                await backoff.pause()

    @property
    def connected(self) -> bool:
        return bool(self.client.is_connected)

    async def ping(self) -> None:
        """Return if the broker answers, JetStream is on, and nothing was refused lately. Raises `BrokerUnavailable`,
        and `RestartNeeded` when the connection won't come back."""
        self._connection.check()
        if not self.connected:
            raise BrokerUnavailable("not connected to the broker")
        try:
            await self.jetstream.account_info()
        except (TimeoutError, NatsError) as error:
            raise BrokerUnavailable(f"JetStream doesn't answer: {error}") from error

    async def declare(
        self, streams: Iterable[StreamSpec], consumers: Iterable[ConsumerSpec], *, replicas: int = 1
    ) -> None:
        """Create or update streams, each on so many servers, and consumers. Idempotent. Waits for streams that other
        services have yet to create. Raises `BrokerUnavailable` when JetStream doesn't answer, or can't yet."""
        with _outages():
            await self._declare(streams, consumers, replicas)

    async def _declare(self, streams: Iterable[StreamSpec], consumers: Iterable[ConsumerSpec], replicas: int) -> None:
        for stream in streams:
            await self._declare_stream(stream, replicas)
        for consumer in consumers:
            backoff = Backoff()
            for durable, subject in consumer.durables().values():
                while True:
                    try:
                        await self.jetstream.add_consumer(consumer.stream, _consumer_config(consumer, durable, subject))
                        break
                    except NotFoundError:
                        log.info("waiting for a stream", stream=consumer.stream, consumer=durable)
                        await backoff.pause()

    async def _declare_stream(self, spec: StreamSpec, replicas: int) -> None:
        config = StreamConfig(
            name=spec.name,
            subjects=spec.subjects(),
            retention=RetentionPolicy.WORK_QUEUE if spec.retention == "work" else RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            max_age=spec.max_age_s,
            duplicate_window=120,
            num_replicas=replicas,
            allow_direct=spec.tailed,
            republish=RePublish(src=">", dest=f"{ECHO}.>", headers_only=True) if spec.tailed else None,
        )
        try:
            await self.jetstream.add_stream(config)
        except APIError as error:
            if error.err_code != _STREAM_NAME_IN_USE:
                raise
            await self.jetstream.update_stream(config)

    async def behind(self, stream: str, durable: str) -> int:
        """How many messages a consumer has yet to be given, or to acknowledge. Raises `BrokerUnavailable`."""
        try:
            info = await self.jetstream.consumer_info(stream, durable)
        except (TimeoutError, NatsError) as error:
            raise BrokerUnavailable(f"the broker doesn't tell of {durable}: {error or type(error).__name__}") from error
        return int(info.num_pending or 0) + int(info.num_ack_pending or 0)

    async def purge(self, spec: StreamSpec, workspace_id: str, key: str = "") -> int:
        """Remove a workspace's messages from a stream, or only those whose subject ends in this key. How many there
        were. Raises `BrokerUnavailable`.

        The broker goes on recognising their ids for as long as it would have anyway.
        """
        which = f"{workspace_id}.*.{key}" if key else f"{workspace_id}.>"
        removed = 0
        for kind in spec.message_types:
            # JetStream's API itself: the client's method for it keeps the number to itself.
            request = {"filter": f"{kind.DESCRIPTOR.full_name}.{which}"}
            try:
                reply = await self.client.request(
                    f"$JS.API.STREAM.PURGE.{spec.name}", json.dumps(request).encode(), timeout=_PURGE_S
                )
            except (TimeoutError, NatsError) as error:
                raise BrokerUnavailable(f"the broker did not confirm a purge: {error}") from error
            answer = json.loads(reply.data)
            if "error" in answer:
                raise BrokerUnavailable(f"{spec.name} can't be purged: {answer['error']['description']}")
            removed += answer["purged"]
        return removed

    async def close(self) -> None:
        self._connection.closing()
        if not self.client.is_closed:
            await self.client.close()


_STREAM_NAME_IN_USE = 10058
_NO_SUITABLE_PEERS = 10005
"""The cluster has too few servers yet for so many replicas."""
_UNAVAILABLE = 503
_PURGE_S = 20.0


@contextmanager
def _outages() -> Iterator[None]:
    """Tell what passes from what doesn't."""
    try:
        yield
    except APIError as error:
        if error.code != _UNAVAILABLE and error.err_code != _NO_SUITABLE_PEERS:
            raise
        raise BrokerUnavailable(f"JetStream can't do it yet: {error.description}") from error
    except (TimeoutError, NatsError) as error:
        raise BrokerUnavailable(f"JetStream doesn't answer: {error or type(error).__name__}") from error


def _consumer_config(spec: ConsumerSpec, durable: str, subject: str) -> ConsumerConfig:
    settings: dict[str, Any] = {
        "durable_name": durable,
        "filter_subject": subject,
        "ack_policy": AckPolicy.EXPLICIT,
        "ack_wait": spec.ack_wait_s,
        "max_ack_pending": spec.max_ack_pending,
        "deliver_policy": DeliverPolicy.ALL,
    }
    return ConsumerConfig(**settings)
