"""Facts on their way in: batches from durable consumers, each message ending as done, given back, or a dead letter."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
from google.protobuf.message import DecodeError, Message
from nats.aio.msg import Msg

from services.chassis.broker import Broker, ConsumerSpec
from services.chassis.clock import SECOND
from services.chassis.dead_letters import DeadLetters, Letter
from services.chassis.errors import CaminoError
from services.chassis.failures import words_of
from services.chassis.measures import CONSUMER_LAG
from services.chassis.pull import Pull
from services.chassis.telemetry import Telemetry
from services.chassis.tracing import traceparent_in
from services.chassis.watch import Watch

log = structlog.get_logger()

_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Deliver this message again, not before so many microseconds."""

    after: int
    reason: str


@dataclass(frozen=True, slots=True)
class Dead:
    """This message can't be handled: keep it as a dead letter with this reason."""

    reason: str


M = TypeVar("M", bound=Message)
Handle = Callable[[list[M]], Awaitable[Mapping[int, "Retry | Dead"]]]
"""Handles a batch and says what is not done, by index. Raising a transient error gives the whole batch back; any other
exception is narrowed down to the message that causes it, which becomes a dead letter."""


class BatchConsumer(Generic[M]):
    """Takes what has arrived, as one batch, from the durables of the partitions that are ours, and handles one batch at
    a time.

    A message is acknowledged only after its handling is durable; a process that dies before leaves it to be delivered
    again, so handlers recognise what they have seen.
    """

    def __init__(
        self,
        broker: Broker,
        spec: ConsumerSpec,
        message_type: type[M],
        handle: Handle[M],
        dead_letters: DeadLetters,
        *,
        held: Callable[[], Iterable[int]] = lambda: (-1,),
        max_batch: int = 500,
        telemetry: Telemetry | None = None,
    ) -> None:
        telemetry = telemetry or Telemetry()
        self._tracing = telemetry.tracing
        self._watch = Watch(spec.name, telemetry.metrics)
        telemetry.metrics.read(CONSUMER_LAG, self._lag)
        self.name = spec.name
        self._broker = broker
        self._spec = spec
        self._type = message_type
        self._handle = handle
        self._dead_letters = dead_letters
        self._held = held
        self._max_batch = max_batch
        self._arrived = asyncio.Event()
        self._queues: dict[int, deque[Msg]] = {}
        self._pulls: dict[int, Pull] = {}
        self._stopped = False
        dead_letters.handled_by(spec.name, self._handle_again)

    def stop(self) -> None:
        self._stopped = True
        self._arrived.set()

    async def run(self) -> None:
        try:
            while not self._stopped:
                await self._follow_partitions()
                batch = self._take()
                if batch:
                    with self._watch.batch(len(batch)):
                        await self._process(batch)
                    for pull in self._pulls.values():
                        await pull.renew()
                    continue
                self._arrived.clear()
                try:
                    await asyncio.wait_for(self._arrived.wait(), _LOOK_S)
                except TimeoutError:
                    for pull in self._pulls.values():
                        await pull.renew()
        finally:
            for partition in list(self._pulls):
                await self._let_go(partition)

    async def _follow_partitions(self) -> None:
        held = set(self._held())
        if held == self._pulls.keys():
            return
        durables = self._spec.durables()
        for partition in self._pulls.keys() - held:
            await self._let_go(partition)
        for partition in sorted(held - self._pulls.keys()):
            queue: deque[Msg] = deque()
            pull = Pull(
                self._broker,
                self._spec.stream,
                durables[partition][0],
                queue,
                self._arrived,
                window=2 * self._max_batch,
            )
            self._queues[partition], self._pulls[partition] = queue, pull
            await pull.start()

    async def _let_go(self, partition: int) -> None:
        await self._pulls.pop(partition).stop()
        for raw in self._queues.pop(partition):
            # Not ours to handle any more: whoever is next need not wait for the ack wait to end.
            if self._broker.connected:
                await raw.nak()

    def _take(self) -> list[Msg]:
        batch: list[Msg] = []
        share = max(1, self._max_batch // max(1, len(self._queues)))
        for queue in self._queues.values():
            batch.extend(queue.popleft() for _ in range(min(share, len(queue))))
        for queue in self._queues.values():
            batch.extend(queue.popleft() for _ in range(min(self._max_batch - len(batch), len(queue))))
        return batch

    async def _process(self, batch: Sequence[Msg]) -> None:
        decoded: list[M] = []
        known: list[Msg] = []
        garbled: list[Msg] = []
        letters: list[Letter] = []
        for raw in batch:
            try:
                decoded.append(self._type.FromString(raw.data))
                known.append(raw)
            except DecodeError as error:
                garbled.append(raw)
                letters.append(Letter(self.name, raw.subject, raw.data, self._not_decoded(error)))
        with self._tracing.batch(self.name, _places(decoded, known)):
            outcomes = await self._outcomes(decoded) if decoded else {}
        for index, outcome in outcomes.items():
            if isinstance(outcome, Dead):
                letters.append(Letter(self.name, known[index].subject, known[index].data, outcome.reason))
        if letters:
            await self._dead_letters.add(letters)
        for index, raw in enumerate(known):
            end = outcomes.get(index)
            if isinstance(end, Retry):
                await raw.nak(delay=max(end.after, 1) / SECOND)
            else:
                await raw.ack()
        for raw in garbled:
            await raw.ack()
        retries = sum(isinstance(end, Retry) for end in outcomes.values())
        self._watch.ended(len(batch) - retries - len(letters), retries, len(letters))

    async def _outcomes(self, messages: list[M]) -> Mapping[int, Retry | Dead]:
        try:
            return await self._handle(messages)
        except CaminoError as error:
            if error.status.transient:
                log.warning("batch given back", messages=len(messages), error=words_of(error))
                return dict.fromkeys(range(len(messages)), Retry(SECOND, str(error)))
            if len(messages) == 1:
                return {0: Dead(str(error))}
        except Exception as error:
            if len(messages) == 1:
                log.error("message can't be handled", error=words_of(error), exc_info=error)
                return {0: Dead(f"INTERNAL: {type(error).__name__}: {error}")}
        middle = len(messages) // 2
        first = await self._outcomes(messages[:middle])
        second = await self._outcomes(messages[middle:])
        return {**first, **{middle + index: outcome for index, outcome in second.items()}}

    async def _lag(self) -> Mapping[tuple[str, ...], float]:
        durables = self._spec.durables()
        behind = [await self._broker.behind(self._spec.stream, durables[number][0]) for number in self._pulls]
        return {(self.name,): sum(behind)}

    async def _handle_again(self, data: bytes) -> str:
        """Handle a dead letter's message; the reason why not, or empty."""
        try:
            message = self._type.FromString(data)
        except DecodeError as error:
            return self._not_decoded(error)
        outcome = (await self._outcomes([message])).get(0)
        return outcome.reason if outcome else ""

    def _not_decoded(self, error: DecodeError) -> str:
        return f"INVALID_FIELD: not a {self._type.DESCRIPTOR.full_name}: {error}"


def _places(messages: Iterable[Message], raw: Iterable[Msg]) -> Iterator[tuple[object, str]]:
    """Each message with its place in its trace. Asked for only where there are traces."""
    return ((message, traceparent_in(one.headers)) for message, one in zip(messages, raw, strict=True))
