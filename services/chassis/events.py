"""Facts on their way out: subjects, and publishing a batch at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import nats.errors
import nats.js.errors
from google.protobuf.message import Message
from opentelemetry.trace import Span, SpanKind

from services.chassis.broker import Broker
from services.chassis.errors import BrokerUnavailable
from services.chassis.measures import PUBLISH_DURATION
from services.chassis.telemetry import Telemetry
from services.chassis.tracing import header_of

_WINDOW = 2_000


@dataclass(slots=True)
class Outgoing:
    """A message to publish, and the id by which the broker (for two minutes) and consumers (for ever) recognise it when
    it comes again."""

    subject: str
    message: Message
    message_id: str
    traceparent: str = ""
    """Where what it tells of is in a trace; empty when that isn't traced."""


def subject_of(kind: type[Message], workspace_id: str, partition: int, key: str) -> str:
    """`<type>.<workspace>.<partition>.<key>`; the key is an id of Camino's own and so needs no escaping."""
    return f"{kind.DESCRIPTOR.full_name}.{workspace_id}.{partition}.{key}"


def workspace_of(subject: str) -> str:
    """The workspace of a subject that `subject_of` made; empty for one that it can't have made."""
    parts = subject.rsplit(".", 3)
    return parts[1] if len(parts) == 4 else ""


def type_of(subject: str) -> str:
    """The full name of the type of a subject that `subject_of` made; empty for one that it can't have made."""
    parts = subject.rsplit(".", 3)
    return parts[0] if len(parts) == 4 else ""


def key_of(subject: str) -> str:
    """The key of a subject that `subject_of` made."""
    return subject.rpartition(".")[2]


class Publisher:
    """Publishes batches. `source` says in CloudEvents' words who does."""

    def __init__(
        self, broker: Broker, source: str, telemetry: Telemetry | None = None, *, timeout_s: float = 5.0
    ) -> None:
        telemetry = telemetry or Telemetry()
        self._tracing = telemetry.tracing
        self._durations = telemetry.metrics.histogram(PUBLISH_DURATION)
        self._broker = broker
        self._source = f"camino/{source}"
        self._timeout_s = timeout_s
        self._failure = ""

    async def check(self) -> None:
        """Raise `BrokerUnavailable` while the last batch was not confirmed: a broker whose disk is full still answers,
        but stores nothing."""
        if self._failure:
            raise BrokerUnavailable(self._failure)

    async def publish(self, batch: Sequence[Outgoing]) -> None:
        """Publish all and return when the broker has stored all.

        Raises `BrokerUnavailable` when it hasn't confirmed each of them in time. Then some may be stored: publish the
        whole batch again, with the same message ids.
        """
        for start in range(0, len(batch), _WINDOW):
            began = time.perf_counter()
            try:
                await self._publish(batch[start : start + _WINDOW])
            except BrokerUnavailable as error:
                self._failure = error.message
                raise
            finally:
                self._durations.observe(time.perf_counter() - began)
        self._failure = ""

    async def _publish(self, batch: Sequence[Outgoing]) -> None:
        if not self._broker.connected:
            raise BrokerUnavailable("not connected to the broker")
        acks: list[asyncio.Future[object]] = []
        spans: list[Span] = []
        try:
            for item in batch:
                # CloudEvents 1.0, NATS protocol binding, binary mode.
                headers = {
                    "Nats-Msg-Id": item.message_id,
                    "ce-specversion": "1.0",
                    "ce-type": item.message.DESCRIPTOR.full_name,
                    "ce-source": self._source,
                    "ce-id": item.message_id,
                }
                if item.traceparent and (span := self._begin(item)):
                    spans.append(span)
                    headers.update((header_of(span),))
                # No `wait_stall`: with one, nats-py makes a task of each publish, and writes to the socket for each.
                acks.append(
                    await self._broker.jetstream.publish_async(
                        item.subject, item.message.SerializeToString(), headers=headers
                    )
                )
            async with asyncio.timeout(self._timeout_s):
                await asyncio.gather(*acks)
        except (TimeoutError, nats.errors.Error, OSError) as error:
            raise BrokerUnavailable(f"the broker did not confirm a message: {error or type(error).__name__}") from error
        finally:
            for ack in acks:
                ack.cancel()
            for span in spans:
                span.end()

    def _begin(self, item: Outgoing) -> Span | None:
        return self._tracing.begin(f"publish {item.message.DESCRIPTOR.name}", item.traceparent, SpanKind.PRODUCER)
