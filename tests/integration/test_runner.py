"""Runs as events begin them and time moves them on, in the embedded store; segments answer as they're told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from camino.orchestrator.v1 import journey_pb2
from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested
from camino.profile.v1 import profile_pb2
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.type.v1 import messaging_pb2

from services.chassis.clock import DAY, MINUTE, SECOND
from services.chassis.documents import Document
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import FakeClock
from services.orchestrator import convert
from services.orchestrator.domain.person import Person
from services.orchestrator.registry import Registry
from services.orchestrator.runner import Runner
from services.orchestrator.store import SCHEMAS, Store


class World:
    """The other services' answers: everybody's profile, and nobody in a segment until they've seen the event."""

    def __init__(self) -> None:
        self.behind = 0
        self.checks = 0

    async def get(self, workspace_id: str, profile_ids: Iterable[str]) -> dict[str, Person]:
        return {id_: convert.person_of(profile(id_)) for id_ in profile_ids}

    async def check(self, workspace_id: str, queries: dict[tuple[str, str], set[str]]) -> dict[Any, set[str] | None]:
        self.checks += 1
        if self.behind:
            self.behind -= 1
            return dict.fromkeys(queries)
        return {key: set(segments) for key, segments in queries.items()}


class Bench:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = FakeClock()
        self.world = World()
        self.owed: list[SendRequested] = []
        self.hints: list[int] = []
        self.registry = Registry(store, self.clock)
        world: Any = self.world
        self.runner = Runner(
            store,
            self.registry,
            world,
            world,
            self.clock,
            4,
            owed=self.owed.extend,
            hint=lambda partition, at: self.hints.append(at),
        )

    async def publish(self, *steps: journey_pb2.Step, once: bool = False) -> Document:
        definition = journey_pb2.JourneyDefinition(steps=steps)
        definition.entry.event_type = "purchase"
        definition.entry.reentry = journey_pb2.REENTRY_ONCE if once else journey_pb2.REENTRY_ALWAYS
        versions = {"welcome": 1}
        body = {
            "all": 1,
            "definition": definition.SerializeToString(),
            "template_versions": versions,
            "version": 1,
            "state": journey_pb2.JOURNEY_STATE_ACTIVE,
            "created": self.clock.now(),
            "updated": self.clock.now(),
        }
        document = Document("shop/j", body)
        self.registry.learn(document)
        return document

    async def trigger(self, event_id: str) -> None:
        change = ProfileChanged(profile=profile("p1"))
        change.event.workspace_id, change.event.profile_id = "shop", "p1"
        change.event.event_id, change.event.type = event_id, "purchase"
        change.event.occurred_at.seconds = self.clock.now() // SECOND
        assert await self.runner.triggered([change]) == {}

    async def runs(self) -> list[Document]:
        return (await self.store.runs.scan(limit=100)).documents

    async def wake(self) -> None:
        await self.runner.woken(await self.runs())

    async def decisions(self) -> list[Document]:
        return (await self.store.decisions.scan(limit=100)).documents


def profile(id_: str) -> profile_pb2.Profile:
    person = profile_pb2.Profile(workspace_id="shop", profile_id=id_)
    person.identities.add(namespace="email", value="ana@example.com")
    person.consents.add(channel=messaging_pb2.CHANNEL_EMAIL, topic="news", state=profile_pb2.CONSENT_STATE_OPTED_IN)
    return person


def send(id_: str, then: str = "") -> journey_pb2.Step:
    step = journey_pb2.Step(id=id_, next=then)
    step.send.channel, step.send.template_id, step.send.topic = messaging_pb2.CHANNEL_EMAIL, "welcome", "news"
    step.send.purpose = messaging_pb2.PURPOSE_MARKETING
    return step


def wait(id_: str, seconds: int, then: str = "") -> journey_pb2.Step:
    step = journey_pb2.Step(id=id_, next=then)
    step.wait.duration.seconds = seconds
    return step


def condition(id_: str, then: str, otherwise: str = "") -> journey_pb2.Step:
    step = journey_pb2.Step(id=id_)
    step.condition.branches.add(in_segment="vip", next=then)
    step.condition.otherwise = otherwise
    return step


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    database = await SqliteDatabase.open(tmp_path / "orchestrator.db")
    try:
        await database.migrate(SCHEMAS)
        yield Bench(Store.of(database))
    finally:
        await database.close()


async def test_an_event_that_comes_again_begins_decides_and_owes_nothing(bench: Bench) -> None:
    await bench.publish(send("hello"))
    await bench.trigger("e1")
    bench.clock.advance(MINUTE)
    await bench.trigger("e1")
    assert len(await bench.runs()) == 1
    assert len(bench.owed) == 1
    assert len(await bench.decisions()) == 1
    await bench.trigger("e2")
    assert len(await bench.runs()) == len(bench.owed) == len(await bench.decisions()) == 2


async def test_who_enters_once_is_decided_once_whatever_comes_later(bench: Bench) -> None:
    await bench.publish(send("hello"), once=True)
    for number in range(3):
        await bench.trigger(f"e{number}")
        bench.clock.advance(DAY)
    assert len(await bench.runs()) == len(bench.owed) == len(await bench.decisions()) == 1


@pytest.mark.parametrize("behind", [0, 1, 3])
async def test_a_run_waits_where_it_is_for_segments_that_have_not_seen_its_event(bench: Bench, behind: int) -> None:
    await bench.publish(send("hello", "vip"), condition("vip", "more"), send("more"))
    bench.world.behind = behind
    await bench.trigger("e1")
    for _ in range(behind):
        [run] = await bench.runs()
        assert await bench.decisions() == []  # nothing happened yet
        assert run.body["wake_at"] == bench.hints[-1] > bench.clock.now()
        bench.clock.advance(run.body["wake_at"] - bench.clock.now())
        # As after a restart, older versions are known by their documents.
        await bench.wake()
    assert len(bench.owed) == len(await bench.decisions()) == 2
    [run] = await bench.runs()
    assert run.body["wake_at"] is None
    assert bench.world.checks == behind + 1


async def test_a_run_goes_on_after_its_wait_and_not_twice(bench: Bench) -> None:
    await bench.publish(wait("sleep", 60, "hello"), send("hello"))
    await bench.trigger("e1")
    [due] = await bench.runs()
    bench.clock.advance(59 * SECOND)
    await bench.wake()
    assert bench.owed == []
    bench.clock.advance(SECOND)
    before = await bench.runs()
    await bench.runner.woken(before)
    assert len(bench.owed) == 1
    # Someone who read the run before it went on loses to who moved it, and owes nothing.
    await bench.runner.woken([Document(due.id, due.body, due.rev)])
    assert len(bench.owed) == 1


async def test_a_run_that_changed_while_it_was_woken_is_due_again_at_once(bench: Bench) -> None:
    await bench.publish(wait("sleep", 60, "hello"), send("hello"))
    await bench.trigger("e1")
    [stale] = await bench.runs()
    [other] = await bench.runs()
    await bench.store.runs.put([other])  # the end of a message came in, say
    bench.clock.advance(MINUTE)
    bench.hints.clear()
    await bench.runner.woken([stale])
    assert bench.owed == []
    assert bench.hints == [bench.clock.now()]


# --- after the workspace was deleted ----------------------------------------------------------------------------------


async def test_a_run_whose_journey_was_deleted_ends_and_holds_up_nobody(bench: Bench) -> None:
    await bench.publish(wait("sleep", 60, "hello"), send("hello"))
    await bench.trigger("e1")
    await bench.trigger("e2")
    [stranded, other] = await bench.runs()
    await bench.store.runs.put([Document(stranded.id, {**stranded.body, "journey": "shop/gone"}, stranded.rev)])
    bench.clock.advance(MINUTE)
    await bench.wake()
    after = {run.id: run.body for run in await bench.runs()}
    assert after[stranded.id]["state"] == journey_pb2.RUN_STATE_FAILED
    assert after[stranded.id]["wake_at"] is None
    assert after[other.id]["state"] == journey_pb2.RUN_STATE_COMPLETED
    assert len(bench.owed) == 1


async def test_a_journey_that_another_replica_deletes_takes_nobody_in_after_the_next_look(bench: Bench) -> None:
    document = await bench.publish(send("hello"))
    await bench.store.journeys.put([document])
    await bench.registry.refresh()
    await bench.trigger("e1")
    await bench.store.journeys.delete([document.id])
    await bench.registry.refresh()
    await bench.trigger("e2")
    assert len(await bench.runs()) == 1


async def test_a_journey_published_anew_is_not_taken_for_its_old_self(bench: Bench) -> None:
    """Another replica deletes it and publishes one of the same name, also as version 1, between two looks."""
    document = await bench.publish(send("old"))
    await bench.store.journeys.put([document])
    await bench.trigger("e1")
    await bench.store.journeys.delete([document.id])
    bench.clock.advance(SECOND)
    elsewhere = Bench(bench.store)
    elsewhere.clock.advance(SECOND)
    await bench.store.journeys.put([await elsewhere.publish(send("new"))])
    await bench.registry.refresh()
    await bench.trigger("e2")
    sent = {sends[0][1] for sends in (run.body["sends"] for run in await bench.runs())}
    assert sent == {"old", "new"}
