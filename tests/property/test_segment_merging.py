"""Whatever is told of people who turn out to be one, in whatever order, how often, and whoever dies over it: in the end
the one who stays is in what the events of all say, and nobody else is in anything.

Events happen to profiles, profiles are merged and erased, and each time it's told; what is told comes late, again, out
of order, to one replica or another. A replica may be killed between any two documents that it writes, and while it's
about to write one, another may do something. Time passes, definitions change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from camino.profile.v1 import profile_pb2
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.clock import SECOND
from services.chassis.documents import Document
from services.chassis.testing import FakeClock
from services.chassis.wire import set_instant
from services.segment import convert, history
from services.segment.erasing import Erasing
from services.segment.outbox import Outbox
from services.segment.standing import Cause
from services.segment.store import SCHEMAS, SETTLE_AFTER, SWEEP_AFTER, Store
from services.segment.timers import Timers
from tests.interrupted import Interrupted
from tests.segments import PARTITIONS, WORKSPACE, Bench, Published, Replica, publish
from tests.torn import Died, Life, Mortal

PEOPLE = range(4)
"""In the order in which they came: the older one stays."""


def visits(at_least: int, within: str = "") -> dict[str, Any]:
    window = {"window": {"within": within}} if within else {}
    return {"event": {"eventType": "visit", "count": {"atLeast": at_least}, **window}}


SPANISH = {"attribute": {"name": "country", "equals": {"stringValue": "ES"}}}
SEGMENTS = {
    "visited": visits(1),
    "often": visits(3),
    "lately": visits(2, within="40s"),
    "few": {"not": visits(4)},
    "lapsed": {"all": {"conditions": [visits(1), {"not": visits(1, within="40s")}]}},
    "spanish-buyer": {"all": {"conditions": [SPANISH, {"event": {"eventType": "buy", "count": {"atLeast": 1}}}]}},
}


people = st.integers(0, len(PEOPLE) - 1)
batches = st.lists(st.integers(0, 50), min_size=1, max_size=6)
replicas = st.integers(0, 1)
lives = st.none() | st.integers(0, 6)
"""How many documents one writes before it's killed; None for one that isn't."""
happened = st.tuples(people, st.sampled_from(["visit", "visit", "buy"]), st.integers(-20, 60))
"""Who did what how many seconds ago."""


Step = tuple[str, dict[str, Any]]
"""Something that happens to `People`."""


def step(name: str, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), st.fixed_dictionaries(arguments))


tellings = st.one_of(
    step("happen", happened=st.lists(happened, min_size=1, max_size=4)),
    step("attribute", who=people, country=st.sampled_from(["ES", "PT", ""])),
)
steps = st.one_of(
    tellings,
    step("merge", one=people, two=people, soon=st.booleans(), life=st.none() | st.integers(0, 2)),
    step("edit", at_least=st.integers(1, 4)),
    step("roll_out", replica=replicas, life=lives),
    step("deliver", which=batches, replica=replicas, life=lives),
    step("deliver_again", which=batches, replica=replicas, life=lives),
    step("deliver_both", which=batches, meanwhile=batches, write=st.integers(1, 6), life=lives),
    step("fire_timers", seconds=st.sampled_from([1, 10, 45]), replica=replicas, life=lives),
    step("publish", replica=replicas, life=lives),
    step("erase", who=people, meanwhile=batches, write=st.integers(1, 4), life=lives),
)


class People:
    """Some people, what is told of them, and the service that it's told to."""

    segments = tuple(SEGMENTS)

    def __init__(self, bench: Bench) -> None:
        bench.examples += 1
        self.bench = bench
        self.people = [f"{bench.examples}-{number}" for number in PEOPLE]
        self.clock = FakeClock()
        self.published = Published()
        self.replicas = [Replica(bench.store, self.clock, published=self.published, page=2) for _ in range(2)]
        self.told: list[ProfileChanged] = []
        self.under_way: list[ProfileChanged] = []
        self.merged: dict[str, list[str]] = {person: [] for person in self.people}
        """Those who are there, and whom else each is."""
        self.erased: set[str] = set()
        self.events: dict[str, set[str]] = {person: set() for person in self.people}
        # The revisions of two profiles have nothing to do with each other.
        self.states = {
            person: profile_pb2.Profile(workspace_id=WORKSPACE, profile_id=person, revision=1 + 10 * number)
            for number, person in enumerate(self.people)
        }
        self.run(publish(self.replicas[0], "often", SEGMENTS["often"]))
        self.run(self.replicas[0].roll_out())

    def run(self, what: Awaitable[Any]) -> Any:
        async def awaited() -> Any:
            return await what

        return self.bench.runner.run(awaited())

    def key(self, person: str) -> str:
        return convert.key_of(WORKSPACE, person)

    # --- what happens ---

    def happen(self, happened: list[tuple[int, str, int]]) -> None:
        for who, kind, ago in happened:
            person = self._one(who)
            change = self._change(person)
            change.event.event_id, change.event.type, change.event.profile_id = f"e{len(self.told)}", kind, person
            set_instant(change.event.occurred_at, self.clock.now() - ago * SECOND)
            self.events[person].add(change.event.event_id)
            self._tell(change)

    def attribute(self, who: int, country: str) -> None:
        person = self._one(who)
        self.states[person].attributes.clear()
        if country:
            self.states[person].attributes["country"].value.string_value = country
        self._tell(self._change(person, new=True))

    def merge(self, one: int, two: int, soon: bool, life: int | None) -> None:
        if len(self.merged) == 1:
            return
        there = sorted(self.merged)
        survivor = there.pop(one % (len(there) - 1))
        other = there[max(one % len(there), two % len(there))]
        self.merged[survivor] += [other, *self.merged.pop(other)]
        self.states[survivor].merged_profile_ids[:] = self.merged[survivor]
        for name, value in self.states[other].attributes.items():
            self.states[survivor].attributes[name].CopyFrom(value)
        self._tell(self._change(survivor, new=True))
        if soon:
            self.run(self._handle(self.told[-1:], 0, life))

    def edit(self, at_least: int) -> None:
        """One replica hears of it at once, the other doesn't."""
        self.run(publish(self.replicas[0], "often", visits(at_least)))

    # --- what the service does about it ---

    def roll_out(self, replica: int, life: int | None) -> None:
        self.run(self._look_at_publications(replica, life))

    def deliver(self, which: list[int], replica: int, life: int | None) -> None:
        self.run(self._handle(self._drawn(self.under_way, which), replica, life))

    def deliver_again(self, which: list[int], replica: int, life: int | None) -> None:
        self.run(self._handle(self._drawn(self.told, which), replica, life))

    def deliver_both(self, which: list[int], meanwhile: list[int], write: int, life: int | None) -> None:
        """While one is about to write, with what it read in hand, the other handles a batch."""
        batch, other = self._drawn(self.under_way, which), self._drawn(self.told, meanwhile)

        async def act() -> None:
            await self._handle(other, 1, None)

        self.run(self._handle(batch, 0, life, interrupted=(act, write)))

    def fire_timers(self, seconds: int, replica: int, life: int | None) -> None:
        self.clock.advance(seconds * SECOND)
        self.run(self._fire(replica, life))

    def publish(self, replica: int, life: int | None) -> None:
        self.run(self._relay(replica, life))

    def erase(self, who: int, meanwhile: list[int], write: int, life: int | None) -> None:
        """As the profile service asks: again, until it's done."""
        if len(self.merged) not in (2, 3):
            return
        person = self._one(who)
        ids = [person, *self.merged.pop(person)]
        self.erased.update(ids)
        other = self._drawn(self.told, meanwhile)

        async def act() -> None:
            await self._handle(other, 1, None)
            await self._relay(1, None)

        async def erase() -> None:
            owing = await self._owing()
            here = self._replica(0, life, interrupted=(act, write))
            try:
                await self._erasing(here).erase(WORKSPACE, ids)
            except Died:
                await self._erasing(self.replicas[1]).erase(WORKSPACE, ids)
            # One that had hold of an older state publishes what that owed.
            await Outbox(self.bench.store, self.published).deliver(owing)  # type: ignore[arg-type]

        self.run(erase())

    # --- in the end ---

    def end(self) -> None:
        """Check what it comes to, and leave nothing to the next example."""
        try:
            self.run(self._settle())
            self.run(self._check())
        finally:
            self.run(self._clear())

    async def _settle(self) -> None:
        """Everything that was told comes; who died is replaced; and some time passes."""
        await self._handle(list(self.under_way), 1, None)
        for pause in (SWEEP_AFTER, SETTLE_AFTER):
            self.clock.advance(pause)
            self.replicas = [Replica(self.bench.store, self.clock, published=self.published, page=2) for _ in range(2)]
            await self.replicas[0].roll_out()
            await self._fire(0, None)
            await self.replicas[0].profiles.record([self.key(person) for person in self.people])
            await self._relay(0, None)

    async def _check(self) -> None:
        store = self.bench.store
        rules = self.replicas[0].registry.rules(WORKSPACE)
        stored = await store.facts.get([self.key(person) for person in self.people])
        listed = await self._listed()
        for person, others in self.merged.items():
            events = set().union(*(self.events[who] for who in (person, *others)))
            if not any(change.profile.profile_id == person for change in self.told):
                assert self.key(person) not in stored
                continue
            body = stored[self.key(person)].body
            facts = convert.facts_of(body)
            assert {id_ for held in facts.events.values() for id_ in held.ids} == events
            assert sum(len(held.ids) for held in facts.events.values()) == len(events)
            assert facts.attributes == convert.person_of(self.states[person]).attributes
            assert set(body.get("absorbed", ())) == set(others)
            expected = {id_ for id_, segment in rules.by_id.items() if segment.ask(facts, self.clock.now())[0]}
            assert {id_ for id_, held in convert.memberships_of(body).items() if held.member} == expected
            assert listed[person] == expected
            await self._sound(person, expected)
            for other in others:
                grave = stored[self.key(other)].body
                assert "events" not in grave
                assert "wake_at" not in grave
                assert not listed[other]
                await self._sound(other, set())
        for person in self.erased:
            assert stored[self.key(person)].body.keys() == {"erased"}
            assert not (await store.memberships.get([f"{WORKSPACE}/{id_}/{person}" for id_ in self.segments]))
            assert (await history.newest(store.transitions, WORKSPACE, [person], 1, ""))[0] == []
            assert all((one.member, one.cause) == (False, Cause.ERASURE) for one in self.published.of(person))
            assert self.published.member_of(person) == set(), "whoever saw it enter sees it leave"

    async def _listed(self) -> dict[str, set[str]]:
        """Which segments each is listed in."""
        listed: dict[str, set[str]] = {person: set() for person in self.people}
        for segment_id in self.segments:
            member_of = convert.member_of(WORKSPACE, segment_id)
            for document in (await self.bench.store.memberships.query("members", member_of, limit=9)).documents:
                listed[document.id.rpartition("/")[2]].add(segment_id)
        return listed

    async def _sound(self, person: str, member_of: set[str]) -> None:
        """What was published is kept and has no gap, and each segment is entered and left by turns."""
        published = self.published.of(person)
        kept, _ = await history.newest(self.bench.store.transitions, WORKSPACE, [person], 1_000, "")
        assert sorted(kept, key=lambda one: one.sequence) == published
        standing: dict[str, bool] = {}
        for number, one in enumerate(published, 1):
            assert one.sequence == number
            assert standing.get(one.segment_id, False) is not one.member
            standing[one.segment_id] = one.member
        assert {segment_id for segment_id, member in standing.items() if member} == member_of

    async def _clear(self) -> None:
        for collection in (self.bench.store.facts, self.bench.store.memberships, self.bench.store.transitions):
            page = await collection.scan(limit=1_000, prefix=f"{WORKSPACE}/")
            await collection.delete([document.id for document in page.documents])

    # --- how ---

    def _one(self, who: int) -> str:
        """One of those who are there."""
        return sorted(self.merged)[who % len(self.merged)]

    def _is_ours(self, document: Document) -> bool:
        return document.id.rpartition("/")[2] in self.people

    def _change(self, person: str, *, new: bool = False) -> ProfileChanged:
        """The profile's state, of a new revision if it changed."""
        self.states[person].revision += new
        return ProfileChanged(profile=self.states[person])

    def _tell(self, change: ProfileChanged) -> None:
        self.told.append(change)
        self.under_way.append(change)

    def _drawn(self, changes: list[ProfileChanged], which: list[int]) -> list[ProfileChanged]:
        return [changes[index % len(changes)] for index in which] if changes else []

    def _replica(
        self, number: int, life: int | None, interrupted: tuple[Callable[[], Awaitable[None]], int] | None = None
    ) -> Replica:
        """One of the replicas; another, on a store with troubles, if there are some."""
        if life is None and interrupted is None:
            return self.replicas[number]
        lifetime = Life(10**6 if life is None else life)
        act, write = interrupted or (self._nothing, 0)
        left = [write]
        collections = (self.bench.database.collection(schema) for schema in SCHEMAS)
        store = Store(*(Interrupted(Mortal(collection, lifetime), act, left) for collection in collections))
        return Replica(store, self.clock, published=self.published, page=2)

    async def _look_at_publications(self, number: int, life: int | None) -> None:
        try:
            await self._replica(number, life).look_at_publications()
        except Died:
            pass

    async def _nothing(self) -> None: ...

    async def _handle(
        self,
        batch: list[ProfileChanged],
        number: int,
        life: int | None,
        interrupted: tuple[Callable[[], Awaitable[None]], int] | None = None,
    ) -> None:
        try:
            assert await self._replica(number, life, interrupted).intake.handle(batch) == {}
        except Died:
            return
        self.under_way = [change for change in self.under_way if not any(change is one for one in batch)]

    async def _fire(self, number: int, life: int | None) -> None:
        replica = self._replica(number, life)
        timers = Timers(replica.profiles, replica.merging, self._erasing(replica), replica.relayed.extend)
        try:
            for partition in range(PARTITIONS):
                page = await self.bench.store.facts.query("wake", partition, below=self.clock.now() + 1, limit=100)
                await timers.fire([one for one in page.documents if self._is_ours(one)])
        except Died:
            pass

    async def _owing(self) -> list[Document]:
        pages = [await self.bench.store.facts.query("outbox", number, limit=100) for number in range(PARTITIONS)]
        return [one for page in pages for one in page.documents if self._is_ours(one)]

    async def _relay(self, number: int, life: int | None) -> None:
        """Publish what is owed, as the sweep does."""
        outbox = Outbox(self._replica(number, life).store, self.published)  # type: ignore[arg-type]
        try:
            await outbox.deliver(await self._owing())
        except Died:
            pass

    def _erasing(self, replica: Replica) -> Erasing:
        return Erasing(
            replica.store,
            replica.profiles,
            self.published,
            self.published.purge,
            self.clock,  # type: ignore[arg-type]
        )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("merging") / "segment.db", SEGMENTS)
    yield bench
    bench.close()


@settings(max_examples=150)
@given(
    before=st.lists(tellings, min_size=3, max_size=6),
    early=st.lists(st.integers(0, 50), min_size=4, max_size=20),
    after=st.lists(steps, min_size=6, max_size=25),
)
def test_in_the_end_one_person_is_in_what_the_events_of_all_say(
    bench: Bench, before: list[Step], early: list[int], after: list[Step]
) -> None:
    people = People(bench)
    known = [("deliver", {"which": early, "replica": 0, "life": None}), ("publish", {"replica": 0, "life": None})]
    for name, arguments in [*before, *known, *after]:
        getattr(people, name)(**arguments)
    people.end()
