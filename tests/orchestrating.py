"""The orchestrator's runs and campaigns on the embedded store and a clock that's moved by hand, with a profile service
of its own, over gRPC, where people merge and are erased as they're told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from camino.orchestrator.v1 import campaign_pb2, journey_pb2
from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested
from camino.profile.v1 import profile_pb2, profile_service_pb2, profile_service_pb2_grpc
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.type.v1 import messaging_pb2

from services.chassis.clients import open_channel
from services.chassis.documents import Document
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import FakeClock
from services.orchestrator.campaigns import shard
from services.orchestrator.campaigns.progress import occurrence
from services.orchestrator.campaigns.sending import Sending
from services.orchestrator.clients import Profiles
from services.orchestrator.erasing import Erasing
from services.orchestrator.obligations import Owed
from services.orchestrator.registry import Registry
from services.orchestrator.runner import Runner
from services.orchestrator.store import SCHEMAS, Store

CAMPAIGN, OCCURRENCE = "shop/news", "shop/occurrence"


class People(profile_service_pb2_grpc.ProfileServiceServicer):
    """Everybody there may be: an id that nobody heard of yet is a profile of its own."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._profiles: dict[str, profile_pb2.Profile] = {}
        self._joined: dict[str, str] = {}
        self._received: dict[str, int] = {}
        self.erased: set[str] = set()
        self.asked = 0

    def meant(self, profile_id: str) -> str:
        while profile_id in self._joined:
            profile_id = self._joined[profile_id]
        return profile_id

    def now(self, profile_id: str) -> profile_pb2.Profile | None:
        """Whoever the id means; None for who was erased."""
        id_ = self.meant(profile_id)
        return None if id_ in self.erased else self._profiles.setdefault(id_, profile(id_))

    def told(self, profile_id: str) -> profile_pb2.Profile:
        """The profile as a fact would tell it that's published now."""
        found, copy = self.now(profile_id), profile_pb2.Profile()
        assert found
        copy.CopyFrom(found)
        return copy

    def merge(self, stays: str, goes: str) -> None:
        survivor, other = self.now(stays), self.now(goes)
        assert survivor
        assert other
        if survivor is not other:
            self._joined[other.profile_id] = survivor.profile_id
            survivor.merged_profile_ids.extend((other.profile_id, *other.merged_profile_ids))
            survivor.update_time.FromMicroseconds(self._clock.now())

    def erase(self, profile_id: str) -> list[str]:
        """Erase whoever this is. All the ids they had."""
        person = self.now(profile_id)
        assert person
        ids = [person.profile_id, *person.merged_profile_ids]
        self.erased.update(ids)
        return ids

    def fact(self, event_id: str, profile_id: str) -> ProfileChanged:
        """What the profile service tells of an event, if it does so now."""
        change = ProfileChanged(profile=self.told(profile_id))
        change.event.workspace_id, change.event.profile_id = "shop", change.profile.profile_id
        change.event.event_id, change.event.type = event_id, "purchase"
        change.event.occurred_at.FromMicroseconds(self._clock.now())
        change.event.receive_time.FromMicroseconds(self._received.setdefault(event_id, self._clock.now()))
        change.event.properties["shop"].string_value = "corner"
        change.event.properties["order"].string_value = event_id
        return change

    async def BatchGetProfiles(
        self, request: profile_service_pb2.BatchGetProfilesRequest, context: object
    ) -> profile_service_pb2.BatchGetProfilesResponse:
        self.asked += 1
        response = profile_service_pb2.BatchGetProfilesResponse()
        for id_ in dict.fromkeys(self.meant(id_) for id_ in request.profile_ids):
            if found := self.now(id_):
                response.profiles.append(found)
        response.merged_into.update(
            {id_: self.meant(id_) for id_ in request.profile_ids if self.meant(id_) != id_ and self.now(id_)}
        )
        return response


class Memberships:
    """Whoever has seen the event is in every segment; `behind` times nobody has."""

    def __init__(self) -> None:
        self.behind = 0
        self.checks = 0
        self.asked: list[str] = []

    async def check(self, workspace_id: str, queries: dict[tuple[str, str], set[str]]) -> dict[Any, set[str] | None]:
        self.checks += 1
        self.asked.extend(profile_id for profile_id, _ in queries)
        if self.behind:
            self.behind -= 1
            return dict.fromkeys(queries)
        return {key: set(segments) for key, segments in queries.items()}


class Bench:
    """An orchestrator without its broker: what it would publish is in `owed`, and what it would purge in `purged`."""

    def __init__(self, store: Store, clock: FakeClock, people: People, profiles: Profiles) -> None:
        self.store = store
        self.clock = clock
        self.people = people
        self.profiles = profiles
        self.segments = Memberships()
        self.owed: list[SendRequested] = []
        self.hints: list[int] = []
        self.purged: list[str] = []
        self.registry = Registry(store, clock)
        self.erasing = Erasing(store, clock, self.purge)
        segments: Any = self.segments
        self.runner = Runner(
            store, self.registry, profiles, segments, self.erasing, clock, 4, owed=self._owe, hint=self._hint
        )
        self.sending = Sending(store, profiles, self.erasing, clock, owed=self._owe, hint=self._hint)

    def _owe(self, requests: Iterable[Owed]) -> None:
        self.owed.extend(one.wire for one in requests)

    def _hint(self, partition: int, at: int) -> None:
        self.hints.append(at)

    async def purge(self, workspace_id: str, key: str) -> None:
        self.purged.append(f"{workspace_id}/{key}")

    def another(self) -> Bench:
        """Another replica of the same service. Its clock is its own."""
        return Bench(self.store, FakeClock(self.clock.now()), self.people, self.profiles)

    def sent_to(self) -> list[str]:
        """Whom messages are owed to, by the names that make their addresses."""
        return [wire.endpoint.partition("@")[0] for wire in self.owed]

    # --- journeys -----------------------------------------------------------------------------------------------------

    async def publish(self, *steps: journey_pb2.Step, once: bool = False) -> Document:
        document = journey(self.clock.now(), *steps, once=once)
        self.registry.learn(document)
        return document

    async def take(self, *facts: ProfileChanged) -> None:
        assert await self.runner.triggered(list(facts)) == {}

    async def trigger(self, event_id: str, profile_id: str = "p1") -> None:
        await self.take(self.people.fact(event_id, profile_id))

    async def runs(self) -> list[Document]:
        return (await self.store.runs.scan(limit=1000)).documents

    async def states(self) -> dict[str, int]:
        """Of each run the state, by the profile id that it began with."""
        return {run.body["profile"]: run.body["state"] for run in await self.runs()}

    async def wake(self) -> None:
        await self.runner.woken(await self.runs())

    async def decisions(self) -> list[Document]:
        return (await self.store.decisions.scan(limit=1000)).documents

    # --- campaigns ----------------------------------------------------------------------------------------------------

    async def campaign(self, *shards: list[str], quiet: bool = False) -> None:
        """A campaign that has just started, with these recipients in its shards."""
        now = self.clock.now()
        spec = messaging_pb2.SendSpec(
            channel=messaging_pb2.CHANNEL_EMAIL, topic="news", purpose=messaging_pb2.PURPOSE_MARKETING
        )
        if quiet:
            # It's 15:06 by this clock.
            spec.quiet_hours.start, spec.quiet_hours.end = "15:00", "16:00"
        body = {
            "state": campaign_pb2.CAMPAIGN_STATE_RUNNING,
            "definition": campaign_pb2.CampaignDefinition(send=spec).SerializeToString(),
            "template_version": 1,
            "rate": 0.0,
            "started": now,
            "pace_from": now,
            "at": now,
            "occurrence": OCCURRENCE.partition("/")[2],
            "frozen": True,
            "total": sum(map(len, shards)),
        }
        await self.store.campaigns.put([Document(CAMPAIGN, body)])
        first = 0
        for number, recipients in enumerate(shards):
            id_ = f"{OCCURRENCE}/{number:06d}"
            await self.store.audiences.put([Document(id_, {"recipients": recipients, "next": ""})])
            new = shard.new(OCCURRENCE, CAMPAIGN, 0, len(recipients), first, now)
            await self.store.shards.put([Document(id_, new)])
            first += len(recipients)

    async def shard(self, number: int = 0) -> Document:
        id_ = f"{OCCURRENCE}/{number:06d}"
        return (await self.store.shards.get([id_]))[id_]

    async def turn(self, number: int = 0) -> None:
        """Decide for those of a shard whose turn has come."""
        await self.sending.woken([await self.shard(number)])

    async def counts(self) -> campaign_pb2.Occurrence:
        """How the campaign goes."""
        [document] = (await self.store.campaigns.get([CAMPAIGN])).values()
        body = {**document.body, "ended": 0}
        found = await occurrence(self.store, Document(document.id, body))
        assert found
        return found


@asynccontextmanager
async def served(people: People) -> AsyncIterator[str]:
    """Where the profile service is."""
    server = grpc.aio.server()
    profile_service_pb2_grpc.add_ProfileServiceServicer_to_server(people, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@asynccontextmanager
async def orchestrating(directory: Path) -> AsyncIterator[Bench]:
    clock = FakeClock()
    people = People(clock)
    database = await SqliteDatabase.open(directory / "orchestrator.db")
    try:
        await database.migrate(SCHEMAS)
        async with served(people) as target, open_channel(target) as channel:
            yield Bench(Store.of(database), clock, people, Profiles(channel))
    finally:
        await database.close()


def journey(now: int, *steps: journey_pb2.Step, once: bool = False) -> Document:
    """A journey on `purchase`, as it's stored."""
    definition = journey_pb2.JourneyDefinition(steps=steps)
    definition.entry.event_type = "purchase"
    definition.entry.reentry = journey_pb2.REENTRY_ONCE if once else journey_pb2.REENTRY_ALWAYS
    body = {
        "workspace": "shop",
        "all": 1,
        "definition": definition.SerializeToString(),
        "template_versions": {"welcome": 1},
        "version": 1,
        "state": journey_pb2.JOURNEY_STATE_ACTIVE,
        "etag": "1",
        "created": now,
        "updated": now,
    }
    return Document("shop/j", body)


def profile(id_: str) -> profile_pb2.Profile:
    person = profile_pb2.Profile(workspace_id="shop", profile_id=id_, revision=1)
    person.identities.add(namespace="email", value=f"{id_}@example.com")
    person.attributes["name"].value.string_value = f"name of {id_}"
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
