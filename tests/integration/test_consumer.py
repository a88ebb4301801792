"""Consuming in batches from a real broker: redelivery, dead letters, outages, and partitions that change hands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from camino.profile.v1.profile_events_pb2 import ProfileChanged

from services.chassis.broker import Broker, ConsumerSpec, StreamSpec
from services.chassis.clock import MILLISECOND, SECOND, SystemClock
from services.chassis.consumer import BatchConsumer, Dead, Retry
from services.chassis.dead_letters import DEAD_LETTERS, DeadLetters
from services.chassis.errors import BrokerUnavailable, InvalidArgument, StoreUnavailable
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.loops import Running
from services.chassis.measures import CONSUMER_LAG
from services.chassis.sqlite import SqliteDatabase
from services.chassis.telemetry import Telemetry
from services.chassis.testing import eventually
from tests.servers import NatsServer, nats_server

STREAM = StreamSpec("CHANGES", (ProfileChanged,), "log", max_age_s=3600)
PARTITIONS = 4
SPEC = ConsumerSpec("reader", "CHANGES", ProfileChanged, PARTITIONS, ack_wait_s=1)
SINGLE = ConsumerSpec("single", "CHANGES", ProfileChanged, ack_wait_s=1)


def change(id_: str) -> ProfileChanged:
    message = ProfileChanged()
    message.profile.profile_id = id_
    return message


def outgoing(id_: str, partition: int = 0) -> Outgoing:
    return Outgoing(subject_of(ProfileChanged, "shop", partition, id_), change(id_), id_)


class Reader:
    """A handler that notes what it's given, and answers as it's told."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.done: list[str] = []
        self.answer: Callable[[list[str]], Mapping[int, Retry | Dead]] = lambda ids: {}

    async def handle(self, messages: list[ProfileChanged]) -> Mapping[int, Retry | Dead]:
        ids = [message.profile.profile_id for message in messages]
        self.batches.append(ids)
        outcomes = self.answer(ids)
        self.done += [id_ for index, id_ in enumerate(ids) if index not in outcomes]
        return outcomes

    async def has(self, *ids: str, within_s: float = 10) -> None:
        async def probe() -> bool:
            return set(self.done) >= set(ids)

        await eventually(probe, within_s=within_s)


class Bench:
    """A broker's connection, dead letters, and consumers to run."""

    def __init__(self, broker: Broker, dead_letters: DeadLetters) -> None:
        self.broker = broker
        self.dead_letters = dead_letters
        self.publisher = Publisher(broker, "test")

    async def publish(self, *ids: str, partition: int = 0) -> None:
        await self.publisher.publish([outgoing(id_, partition) for id_ in ids])

    def consumer(self, reader: Reader, spec: ConsumerSpec = SPEC, **options: Any) -> BatchConsumer[ProfileChanged]:
        if spec.partitions:
            options.setdefault("held", lambda: range(spec.partitions))
        return BatchConsumer(self.broker, spec, ProfileChanged, reader.handle, self.dead_letters, **options)

    async def pending(self, spec: ConsumerSpec = SPEC) -> int:
        """How many messages are not acknowledged yet."""
        total = 0
        for durable, _ in spec.durables().values():
            info = await self.broker.jetstream.consumer_info(spec.stream, durable)
            total += (info.num_pending or 0) + (info.num_ack_pending or 0)
        return total

    async def acknowledged(self, spec: ConsumerSpec = SPEC) -> None:
        async def probe() -> bool:
            return await self.pending(spec) == 0

        await eventually(probe)

    async def letters(self) -> dict[str, str]:
        """Reasons by id."""
        page, _ = await self.dead_letters.list(100, "")
        return {letter.id: letter.body["reason"] for letter in page.documents}


@asynccontextmanager
async def running(*consumers: BatchConsumer[ProfileChanged]) -> AsyncIterator[Running]:
    loops = Running(list(consumers))
    try:
        yield loops
    finally:
        await loops.stop(2)


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with nats_server() as found:
        yield found


@asynccontextmanager
async def bench_on(server: NatsServer, directory: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        database = await SqliteDatabase.open(directory / "letters.db")
        stack.push_async_callback(database.close)
        await database.migrate([DEAD_LETTERS])
        broker = await Broker.connect(server.url, "test")
        stack.push_async_callback(broker.close)
        await broker.declare([STREAM], [SPEC, SINGLE])
        yield Bench(broker, DeadLetters(database.collection(DEAD_LETTERS), SystemClock()))


@pytest.fixture
async def bench(server: NatsServer, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_on(server, tmp_path) as found:
        yield found
        await found.broker.jetstream.delete_stream("CHANGES")


async def test_what_has_arrived_is_one_batch_and_is_acknowledged(bench: Bench) -> None:
    ids = [f"m{number}" for number in range(250)]
    await bench.publish(*ids)
    reader = Reader()
    async with running(bench.consumer(reader, SINGLE, max_batch=100)):
        await reader.has(*ids)
        await bench.acknowledged(SINGLE)
    assert sorted(reader.done) == sorted(ids)
    assert reader.done == ids  # in order
    assert max(map(len, reader.batches)) <= 100
    assert len(reader.batches) < 50


async def test_every_partition_is_read_and_no_message_twice(bench: Bench) -> None:
    for partition in range(PARTITIONS):
        await bench.publish(*(f"p{partition}-{number}" for number in range(20)), partition=partition)
    reader = Reader()
    async with running(bench.consumer(reader)):
        await reader.has(*(f"p{partition}-{number}" for partition in range(PARTITIONS) for number in range(20)))
        await bench.acknowledged()
    assert len(reader.done) == len(set(reader.done)) == 80
    for partition in range(PARTITIONS):
        mine = [id_ for id_ in reader.done if id_.startswith(f"p{partition}-")]
        assert mine == [f"p{partition}-{number}" for number in range(20)]


async def test_what_comes_later_is_handled_as_it_comes(bench: Bench) -> None:
    reader = Reader()
    async with running(bench.consumer(reader)):
        for number in range(5):
            await bench.publish(f"m{number}", partition=number % PARTITIONS)
            await reader.has(f"m{number}", within_s=2)


async def test_a_message_published_twice_is_delivered_once(bench: Bench) -> None:
    reader = Reader()
    await bench.publish("a", "b")
    await bench.publish("a", "b", "c")
    async with running(bench.consumer(reader)):
        await reader.has("a", "b", "c")
        await bench.acknowledged()
    assert reader.done == ["a", "b", "c"]


async def test_an_outage_gives_the_batch_back(bench: Bench) -> None:
    reader = Reader()
    outages = iter(range(2))

    def away(ids: list[str]) -> Mapping[int, Retry | Dead]:
        if next(outages, None) is not None:
            raise StoreUnavailable("away")
        return {}

    reader.answer = away
    await bench.publish("a", "b")
    async with running(bench.consumer(reader)):
        await reader.has("a", "b")
        await bench.acknowledged()
    assert await bench.letters() == {}


async def test_a_consumer_that_dies_leaves_its_messages_to_the_next(bench: Bench) -> None:
    """A crash in the middle of handling: nothing is acknowledged, and all comes again."""
    reached = Reader()

    class Crash(BaseException):
        """What no handler catches, as a kill is."""

    def crash(ids: list[str]) -> Mapping[int, Retry | Dead]:
        raise Crash

    reached.answer = crash
    await bench.publish("a", "b")
    with pytest.raises(Crash):
        await bench.consumer(reached).run()
    assert reached.batches
    reader = Reader()
    async with running(bench.consumer(reader)):
        await reader.has("a", "b")
        await bench.acknowledged()


async def test_a_retry_comes_again_and_not_before_its_time(bench: Bench) -> None:
    clock, seen = SystemClock(), list[int]()
    reader = Reader()

    def later(ids: list[str]) -> Mapping[int, Retry | Dead]:
        if "slow" not in ids:
            return {}
        seen.append(clock.now())
        return {ids.index("slow"): Retry(400 * MILLISECOND, "not yet")} if len(seen) == 1 else {}

    reader.answer = later
    await bench.publish("fast", "slow")
    async with running(bench.consumer(reader)):
        await reader.has("fast", "slow")
        await bench.acknowledged()
    assert reader.done == ["fast", "slow"]
    assert 390 * MILLISECOND <= seen[1] - seen[0] < 5 * SECOND


async def test_what_is_dead_is_kept_with_its_reason_and_can_be_driven_again(bench: Bench) -> None:
    reader = Reader()
    reader.answer = lambda ids: {ids.index("bad"): Dead("no such journey")} if "bad" in ids else {}
    await bench.publish("a", "bad", "b")
    async with running(bench.consumer(reader)):
        await reader.has("a", "b")
        await bench.acknowledged()
        [(letter, reason)] = (await bench.letters()).items()
        assert reason == "no such journey"
        reader.answer = lambda ids: {0: Dead("still none")}
        assert await bench.dead_letters.redrive(letter) == "still none"
        assert await bench.letters() == {letter: "still none"}
        reader.answer = lambda ids: {}
        assert await bench.dead_letters.redrive(letter) == ""
        assert await bench.letters() == {}
        assert reader.done.count("bad") == 1


async def test_poison_is_narrowed_down_and_the_others_are_handled(bench: Bench) -> None:
    reader = Reader()

    def poisoned(ids: list[str]) -> Mapping[int, Retry | Dead]:
        if "m13" in ids:
            raise ValueError("thirteen")
        if "m21" in ids:
            raise InvalidArgument.at("field", "is bad")
        return {}

    reader.answer = poisoned
    ids = [f"m{number}" for number in range(40)]
    await bench.publish(*ids)
    async with running(bench.consumer(reader)):
        await reader.has(*({*ids} - {"m13", "m21"}))
        await bench.acknowledged()
    assert sorted((await bench.letters()).values()) == [
        "INTERNAL: ValueError: thirteen",
        "INVALID_FIELD: field: is bad",
    ]
    assert not {"m13", "m21"} & set(reader.done)


async def test_what_cannot_be_decoded_is_a_dead_letter(bench: Bench) -> None:
    subject = subject_of(ProfileChanged, "shop", 0, "x")
    await bench.broker.jetstream.publish(subject, b"\xff\xff\xff")
    await bench.publish("a")
    reader = Reader()
    async with running(bench.consumer(reader)):
        await reader.has("a")
        await bench.acknowledged()
        [(letter, reason)] = (await bench.letters()).items()
        assert "not a camino.profile.v1.ProfileChanged" in reason
        assert await bench.dead_letters.redrive(letter) == reason


async def test_partitions_change_hands(bench: Bench) -> None:
    one, two = Reader(), Reader()
    held = {"one": set(range(PARTITIONS)), "two": set[int]()}
    first = bench.consumer(one, held=lambda: held["one"])
    second = bench.consumer(two, held=lambda: held["two"])
    async with running(first, second):
        await bench.publish(*(f"a{number}" for number in range(8)), partition=1)
        await one.has(*(f"a{number}" for number in range(8)))
        held.update(one={0, 1}, two={2, 3})
        for partition in range(PARTITIONS):
            await bench.publish(f"b{partition}", partition=partition)
        await one.has("b0", "b1")
        await two.has("b2", "b3")
        held.update(one=set(), two=set(range(PARTITIONS)))
        for partition in range(PARTITIONS):
            await bench.publish(f"c{partition}", partition=partition)

        async def all_done() -> bool:
            return {*one.done, *two.done} >= {f"c{partition}" for partition in range(PARTITIONS)}

        await eventually(all_done)
        await bench.acknowledged()
        await bench.publish("d0", partition=0)
        await two.has("d0")
    assert "d0" not in one.done


async def test_a_consumer_that_is_asked_to_stop_leaves_the_rest_to_others_at_once(bench: Bench) -> None:
    reader, rest = Reader(), Reader()
    await bench.publish(*(f"m{number}" for number in range(30)))
    consumer = bench.consumer(reader, max_batch=5)

    def stopping(ids: list[str]) -> Mapping[int, Retry | Dead]:
        consumer.stop()
        return {}

    reader.answer = stopping
    await consumer.run()
    assert 1 <= len(reader.done) <= 5
    async with running(bench.consumer(rest)):
        await rest.has(*({f"m{number}" for number in range(30)} - set(reader.done)))
        await bench.acknowledged()
    assert not set(rest.done) & set(reader.done)


async def test_after_the_broker_is_killed_all_goes_on_by_itself(tmp_path: Path) -> None:
    with nats_server() as server:
        (directory := tmp_path / "letters").mkdir()
        async with bench_on(server, directory) as bench:
            reader = Reader()
            async with running(bench.consumer(reader)):
                await bench.publish("before")
                await reader.has("before")
                server.kill()
                with pytest.raises(BrokerUnavailable):
                    await bench.publish("during")
                server.start()

                async def published() -> bool:
                    try:
                        await bench.publish("during", "after", partition=2)
                    except BrokerUnavailable:
                        return False
                    return True

                await eventually(published)
                # Soon: a new connection's requests are renewed at once, not when the old ones' silence is noticed.
                await reader.has("before", "during", "after", within_s=5)
                await bench.acknowledged()


async def test_what_was_handled_when_the_broker_died_comes_again_at_worst(tmp_path: Path) -> None:
    """The broker dies during the handling, so the acknowledgement may be lost: the message may come again, and those
    behind it must."""
    with nats_server() as server:
        (directory := tmp_path / "letters").mkdir()
        async with bench_on(server, directory) as bench:
            await bench.publish(*(f"m{number}" for number in range(20)))
            reader = Reader()
            killed = False

            def killing(ids: list[str]) -> Mapping[int, Retry | Dead]:
                nonlocal killed
                if not killed:
                    killed = True
                    server.kill()
                    server.start()
                return {}

            reader.answer = killing
            async with running(bench.consumer(reader, max_batch=5)):
                await reader.has(*(f"m{number}" for number in range(20)), within_s=15)
                await bench.acknowledged()


async def test_what_becomes_of_messages_and_how_far_behind_it_is_are_told(bench: Bench) -> None:
    """One message is handled, one is given back once, one can't be handled."""
    await bench.publish("fine", "later", "never")
    telemetry, reader = Telemetry(), Reader()
    again = {"later"}

    def answer(ids: list[str]) -> Mapping[int, Retry | Dead]:
        outcomes: dict[int, Retry | Dead] = {}
        for index, id_ in enumerate(ids):
            if id_ in again:
                again.discard(id_)
                outcomes[index] = Retry(MILLISECOND, "not yet")
            elif id_ == "never":
                outcomes[index] = Dead("INVALID_FIELD: never")
        return outcomes

    reader.answer = answer
    consumer = bench.consumer(reader, SINGLE, telemetry=telemetry)

    async def lag() -> float:
        return (await telemetry.metrics.readings[CONSUMER_LAG]())["single",]

    def handled(outcome: str) -> float | None:
        labels = {"consumer": "single", "outcome": outcome}
        return telemetry.metrics.registry.get_sample_value("camino_consumer_handled_total", labels)

    async with running(consumer):
        await reader.has("fine", "later")
        await bench.acknowledged(SINGLE)
        assert await lag() == 0
        assert [handled(outcome) for outcome in ("handled", "retry", "dead")] == [2, 1, 1]
        reader.answer = lambda ids: {index: Retry(60 * SECOND, "not now") for index in range(len(ids))}
        await bench.publish("stuck", "too")

        async def behind() -> bool:
            return await lag() == 2

        await eventually(behind)
