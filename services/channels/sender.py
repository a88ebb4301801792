"""The send protocol, in batches: at most one provider accept for each message, and an end for each.

The store is the ledger. A request is acknowledged to the broker once its message is in the store: from then on, the
message's own `due_at` drives it, and whoever finds a message whose time has come takes it over. Each step is a batch:

    reserve  insert as RESERVED; what is there already is a request that came again
    gate     erasure, suppression, lifetime, provider, rendering
    commit   RESERVED -> SENDING by compare-and-set; a message that isn't ours any more drops out
    call     the provider, once for each message
    record   what it said
    settle   MessageSettled for all that have come to an end

Commit, call and record go in portions of the provider's size: a crash between commit and record leaves no more than
that with an unknown outcome.

There is no outbox for MessageSettled. Whoever asked for a message asks again until they have heard of its end, and a
request for a message that has ended settles it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from camino.channels.v1.channels_events_pb2 import MessageSettled
from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested

from services.channels import convert, domain
from services.channels.crash import Point, crash
from services.channels.domain import Outcome, Rejected, State, Unknown
from services.channels.gate import Gate, Work
from services.channels.providers.base import Deferred, Outgoing, Provider
from services.channels.store import Store
from services.channels.watch import Watch
from services.chassis.clock import SECOND, Clock
from services.chassis.consumer import Dead, Retry
from services.chassis.documents import Document, change
from services.chassis.errors import StoreUnavailable
from services.chassis.events import Outgoing as Fact
from services.chassis.events import Publisher, subject_of
from services.chassis.ids import partition_of
from services.chassis.loops import Backoff
from services.chassis.telemetry import Telemetry
from services.chassis.tracing import traceparent_of

log = structlog.get_logger()

_LANES = 4
"""Portions of one provider that are under way at once."""


@dataclass(frozen=True, slots=True)
class Rules:
    lease: int = 20 * SECOND
    """How long a worker has a message to itself. Longer than any provider's time-out."""
    partitions: int = 8
    crash_at: Point = ""


class Sender:
    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        gate: Gate,
        providers: Mapping[int, Provider],
        clock: Clock,
        rules: Rules,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._gate = gate
        self._providers = providers
        self._clock = clock
        self._rules = rules
        self._watch = Watch(telemetry or Telemetry())
        self._lanes = {provider.name: asyncio.Semaphore(_LANES) for provider in providers.values()}
        self.hint: Callable[[int, int], None] = lambda partition, at: None
        """Told of a message's partition and the instant when it's due. Set by whoever drives `take`."""

    async def handle(self, requests: list[SendRequested]) -> Mapping[int, Retry | Dead]:
        """Take requests to send. All that aren't named in the result are in the store when this returns.

        Raises `StoreUnavailable` and `BrokerUnavailable`: then any of them may have been sent and recorded, and the
        batch is to be given again.
        """
        dead: dict[int, Retry | Dead] = {}
        fresh: dict[str, Work] = {}
        now = self._clock.now()
        for index, request in enumerate(requests):
            if why := convert.unfit(request):
                dead[index] = Dead(why)
                continue
            key = convert.message_key(request.workspace_id, request.send_id)
            if key not in fresh:
                fresh[key] = self._reserve(key, request, now)
        result = await self._store.messages.put([work.document for work in fresh.values()])
        crash(self._rules.crash_at, "after-reserve")
        for key in result.duplicate:
            del fresh[key]
        await _all(self._deliver(list(fresh.values())), self._again(result.duplicate))
        return dead

    async def take(self, documents: list[Document]) -> None:
        """Take over messages whose time has come: the lease of a worker that has died, or the next try."""
        works: list[Work] = []
        ended: list[Work] = []
        for document in documents:
            message = domain.take_over(
                convert.message_of(document.id, document.body), self._clock.now(), self._rules.lease
            )
            if message is not None:
                work = Work(document, message, convert.request_of(document.body))
                (works if message.state is State.RESERVED else ended).append(work)
        # The taking over is stored with the commit, by the revision that was read: whoever else has a message in mind
        # finds it changed.
        await self._end(ended)
        await self._deliver(works)

    async def settle(self, ended: Iterable[Work]) -> None:
        """Say that messages have just come to an end. Raises `BrokerUnavailable`."""
        works = list(ended)
        self._watch.ended(works)
        await self.settle_again(works)

    async def settle_again(self, ended: Iterable[Work]) -> None:
        """Say that messages have come to an end, perhaps not for the first time. Raises `BrokerUnavailable`."""
        facts = []
        for work in ended:
            request = work.request
            message_id, fact = convert.settled(work.message, request)
            partition = partition_of(request.source_key, self._rules.partitions)
            subject = subject_of(MessageSettled, request.workspace_id, partition, request.source_key)
            facts.append(Fact(subject, fact, message_id, work.traceparent))
        if facts:
            await self._publisher.publish(facts)

    def _reserve(self, key: str, request: SendRequested, now: int) -> Work:
        message = domain.reserve(
            request.send_id, convert.policy_of(request), convert.not_after(request, now), now, self._rules.lease
        )
        partition = partition_of(request.source_key, self._rules.partitions)
        document = Document(key, convert.new_body(request, message, partition))
        if traceparent := traceparent_of(request):
            document.body["traceparent"] = traceparent
        return Work(document, message, request)

    async def _again(self, keys: Sequence[str]) -> None:
        """Requests that came before. A message that has ended is settled again; one whose time has come is taken over;
        any other is in good hands."""
        if not keys:
            return
        found = await self._store.messages.get(keys)
        ended = []
        for key, document in found.items():
            message = convert.message_of(key, document.body)
            if message.terminal:
                ended.append(Work(document, message, convert.request_of(document.body)))
        await self.settle_again(ended)
        await self.take(list(found.values()))

    async def _deliver(self, works: Sequence[Work]) -> None:
        if not works:
            return
        passed, refused = await self._gate.ask(works, self._clock.now())
        by_provider: dict[int, list[tuple[Work, Outgoing]]] = {}
        for item in passed:
            by_provider.setdefault(item[0].request.channel, []).append(item)
        steps = [self._end(refused)]
        for channel, items in by_provider.items():
            provider = self._providers[channel]
            for start in range(0, len(items), provider.batch):
                steps.append(self._send(provider, items[start : start + provider.batch]))
        await _all(*steps)

    async def _end(self, works: list[Work]) -> None:
        """Store messages that end without a call, and settle them."""
        if not works:
            return
        saved = await self._save(works)
        await self.settle(saved)

    async def _send(self, provider: Provider, items: list[tuple[Work, Outgoing]]) -> None:
        async with self._lanes[provider.name]:
            committed, late = await self._commit(provider, items)
            crash(self._rules.crash_at, "after-commit")
            outcomes = await self._call(provider, committed)
            crash(self._rules.crash_at, "after-accept")
            recorded = await self._record(committed, outcomes)
        crash(self._rules.crash_at, "after-record")
        await self.settle(work for work in (*late, *recorded) if work.message.terminal)

    async def _commit(
        self, provider: Provider, items: list[tuple[Work, Outgoing]]
    ) -> tuple[list[tuple[Work, Outgoing]], list[Work]]:
        """Those that are ours to send, stored as SENDING; and those whose lifetime ended while they waited."""
        now = self._clock.now()
        ready: list[tuple[Work, Outgoing]] = []
        for work, outgoing in items:
            message = domain.commit(work.message, provider.name, now, self._rules.lease)
            if message is not None:
                work.message = message
                ready.append((work, outgoing))
        saved = {id(work) for work in await self._save([work for work, _ in ready])}
        ours = [item for item in ready if id(item[0]) in saved]
        return (
            [item for item in ours if item[0].message.state is State.SENDING],
            [work for work, _ in ours if work.message.state is not State.SENDING],
        )

    async def _call(self, provider: Provider, committed: list[tuple[Work, Outgoing]]) -> list[Outcome]:
        now = self._clock.now()
        calls = [domain.may_call(work.message, now, provider.timeout) for work, _ in committed]
        called = [item for item, call in zip(committed, calls, strict=True) if call]
        answer = iter(await self._ask(provider, called) if called else ())
        return [next(answer) if call else _HELD_UP for call in calls]

    async def _ask(self, provider: Provider, called: list[tuple[Work, Outgoing]]) -> list[Outcome]:
        """What the provider says; `Unknown` to all when it fails as no provider should."""
        with self._watch.call(provider.name, [work for work, _ in called]) as answers:
            try:
                given = await provider.send([outgoing for _, outgoing in called])
                if len(given) != len(called):
                    raise RuntimeError(f"{len(given)} outcomes for {len(called)} messages")
                answers.extend(given)
            except Exception as error:
                log.error("provider failed", provider=provider.name, messages=len(called), exc_info=error)
                answers.extend([Unknown(f"the provider failed: {type(error).__name__}")] * len(called))
        return answers

    async def _record(self, committed: list[tuple[Work, Outgoing]], outcomes: list[Outcome]) -> list[Work]:
        """Store what the provider said, and give the messages as they're stored then.

        Nobody else knows it: so while the store is away, wait for it as long as the lease allows.
        """
        if not committed:
            return []
        now = self._clock.now()
        until = min(work.message.due_at for work, _ in committed)
        said: dict[str, tuple[int, Outcome]] = {}
        works: list[Work] = []
        for (work, _), outcome in zip(committed, outcomes, strict=True):
            said[work.document.id] = (work.message.fence, outcome)
            work.message = domain.record(work.message, work.message.fence, outcome, now) or work.message
            works.append(work)
        backoff = Backoff()
        while True:
            try:
                # First, so that a crash between the two doesn't forget it.
                await self._suppress(works, outcomes, now)
                saved = await self._save(works)
                break
            except StoreUnavailable:
                if self._clock.now() >= until:
                    raise
                await backoff.pause()
        if len(saved) < len(works):
            kept = {id(work) for work in saved}
            saved = [*saved, *await self._record_late([work for work in works if id(work) not in kept], said, now)]
        for work in saved:
            if work.message.due_at:
                self.hint(convert.partition_of(work.document.body), work.message.due_at)
        return saved

    async def _suppress(self, works: list[Work], outcomes: list[Outcome], now: int) -> None:
        rejected = {
            work.endpoint_key: outcome.detail[:256]
            for work, outcome in zip(works, outcomes, strict=True)
            if isinstance(outcome, Rejected) and outcome.endpoint_invalid
        }
        if rejected:
            await self._gate.suppressions.add(rejected, now)

    async def _record_late(self, works: list[Work], said: Mapping[str, tuple[int, Outcome]], now: int) -> list[Work]:
        """What the provider said about messages that others have taken over, because we were away too long."""
        requests = {work.document.id: work.request for work in works}

        def decide(key: str, document: Document | None) -> dict[str, Any] | None:
            if document is None:
                return None
            message = domain.record(convert.message_of(key, document.body), *said[key], now)
            return convert.next_body(document.body, message, requests[key]) if message else None

        documents = await change(self._store.messages, requests, decide)
        return [
            Work(document, convert.message_of(key, document.body), requests[key]) for key, document in documents.items()
        ]

    async def _save(self, works: list[Work]) -> list[Work]:
        """Store messages as they are now. Those that nobody changed since we read them: the others aren't ours."""
        if not works:
            return []
        for work in works:
            document = work.document
            work.document = Document(
                document.id, convert.next_body(document.body, work.message, work.request), document.rev
            )
        result = await self._store.messages.put([work.document for work in works])
        if not result.conflicted:
            return works
        lost = set(result.conflicted)
        return [work for work in works if work.document.id not in lost]


async def _all(*steps: Coroutine[Any, Any, None]) -> None:
    """Run all of them to their end, whatever happens to one: a call that's broken off has an unknown outcome. Raises
    the first error."""
    for result in await asyncio.gather(*steps, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


_HELD_UP = Deferred("held up before the call; nothing was sent")
