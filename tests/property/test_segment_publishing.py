"""A segment is edited while people act and time passes: what is told is what would have been told had every evaluation
been punctual, and each version had come to serve for everybody at one instant.

Timers fire late or not at all, replicas die between any two documents over it, and the work is asked for again. An
oracle goes through the same life with a rule language of its own, looking at every instant at which anything may
change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from camino.profile.v1 import profile_pb2
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.segment.v1 import segment_pb2, segment_service_pb2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.chassis.clock import SECOND
from services.chassis.testing import FakeClock
from services.chassis.wire import set_instant
from services.segment import definitions
from services.segment import domain as d
from services.segment.standing import Cause
from services.segment.store import SCHEMAS, Store
from services.segment.timers import Timers
from tests.property.rule_oracle import naive
from tests.segments import PARTITIONS, WORKSPACE, Bench, Published, Replica, publication
from tests.torn import Died, Life, Mortal

PEOPLE = ("ana", "bo", "cleo")
WINDOWS = {"": 0, "20s": 20, "45s": 45}


def visits(at_least: int, within: str) -> dict[str, Any]:
    window = {"window": {"within": within}} if within else {}
    return {"event": {"eventType": "visit", "count": {"atLeast": at_least}, **window}}


SPANISH = {"attribute": {"name": "country", "equals": {"stringValue": "ES"}}}
ASKS = {"inSegment": "often"}
OFTEN = st.just(SPANISH) | st.builds(visits, st.integers(1, 3), st.sampled_from(list(WINDOWS)))
ASKING = st.sampled_from(
    [
        ASKS,
        {"all": {"conditions": [ASKS, SPANISH]}},
        {"any": {"conditions": [{"not": ASKS}, visits(2, "20s")]}},
        visits(1, "45s"),
    ]
)
FIRST = {"often": visits(2, "45s"), "asking": {"all": {"conditions": [ASKS, SPANISH]}}}

Told = tuple[str, bool, int, int, int]
"""A transition: segment, whether it's an entry, when, why, by which version."""
Step = tuple[str, dict[str, Any]]


def step(name: str, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), st.fixed_dictionaries(arguments))


who = st.sampled_from(PEOPLE)
lives = st.none() | st.integers(0, 5)
steps = st.one_of(
    step("visit", who=who, ago=st.sampled_from([0, 0, 3, 30])),
    step("country", who=who, country=st.sampled_from(["ES", "PT", ""])),
    step("wait", seconds=st.sampled_from([1, 7, 19, 31])),
    step("fire_timers", life=lives),
    step("fire_timers", life=st.none()),
    step("edit", segment_id=st.just("often"), condition=OFTEN),
    step("edit", segment_id=st.just("asking"), condition=ASKING),
    step("edit", segment_id=st.just("new"), condition=ASKING),
    step("roll_out", life=lives),
    step("roll_out", life=st.none()),
)


@dataclass
class Person:
    """Somebody's life, and what there was to tell of it."""

    country: str = ""
    visits: list[tuple[int, str]] = field(default_factory=list)
    member_of: set[str] = field(default_factory=set)
    told: list[Told] = field(default_factory=list)
    known: bool = False

    def facts(self) -> d.Facts:
        at, ids = zip(*sorted(self.visits), strict=True) if self.visits else ((), ())
        events = {"visit": d.History(list(at), list(ids), [{} for _ in ids])} if ids else {}
        return d.Facts({"country": self.country} if self.country else {}, events)


class World:
    """The service, and the oracle beside it."""

    def __init__(self, bench: Bench) -> None:
        bench.examples += 1
        self.bench = bench
        self.clock = FakeClock()
        self.published = Published()
        self.replica = Replica(bench.store, self.clock, published=self.published, page=1)
        self.people = {f"{name}-{bench.examples}": Person() for name in PEOPLE}
        self.names = dict(zip(PEOPLE, self.people, strict=True))
        self.revision = 0
        self.number = 0
        self.serving: dict[str, tuple[int, d.Definition]] = {}
        self.newest: dict[str, d.Definition] = {}
        self.edition = -1
        self.seen_until = self.clock.now()
        for segment_id, condition in FIRST.items():
            self.edit(segment_id, condition, estimated=False)
        self.run(self.replica.roll_out())
        self._notice_switches()

    def run(self, what: Awaitable[Any]) -> Any:
        async def awaited() -> Any:
            return await what

        return self.bench.runner.run(awaited())

    # --- what happens ---

    def visit(self, who: str, ago: int) -> None:
        profile_id = self.names[who]
        self.number += 1
        change = self._change(profile_id)
        at = self.clock.now() - ago * SECOND
        change.event.event_id, change.event.type, change.event.profile_id = f"v{self.number:03}", "visit", profile_id
        set_instant(change.event.occurred_at, at)
        self._live()
        person = self.people[profile_id]
        if not person.known:
            person.known = True
            self._evaluate(person, Cause.PROFILE)
        person.visits.append((at, change.event.event_id))
        self._evaluate(person, Cause.EVENT)
        self.run(self.replica.intake.handle([change]))

    def country(self, who: str, country: str) -> None:
        profile_id = self.names[who]
        self._live()
        person = self.people[profile_id]
        person.country, person.known = country, True
        self.revision += 1
        self._evaluate(person, Cause.PROFILE)
        self.run(self.replica.intake.handle([self._change(profile_id)]))

    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds * SECOND)
        self._live()

    def fire_timers(self, life: int | None) -> None:
        self.run(self._mortally(life, self._fire))

    def edit(self, segment_id: str, condition: dict[str, Any], *, estimated: bool = True) -> None:
        request = publication(segment_id, condition)
        definition = definitions.definition_of(request.definition)
        if estimated:
            self._check_estimate(segment_id, request.definition, definition)
        self.run(self.replica.servicer.PublishSegment(request, None))
        self.newest[segment_id] = definition
        # The first version of a segment serves at once.
        self._notice_switches()

    def roll_out(self, life: int | None) -> None:
        async def look(replica: Replica) -> None:
            await replica.look_at_publications()

        self.run(self._mortally(life, look))
        self._notice_switches()

    def end(self) -> None:
        # Whoever was asked and died is asked again after a while.
        for _ in range(2):
            self.wait(60)
            self.run(self.replica.roll_out())
            self._notice_switches()
        self.run(self._fire(self.replica))
        self.check()

    # --- what was told ---

    def check(self) -> None:
        self.run(self.replica.outbox.deliver(self.run(self._owing())))
        for profile_id, person in self.people.items():
            found = self.published.of(profile_id)
            instants = [one.effective_at.ToMicroseconds() for one in found]
            assert instants == sorted(instants)
            told = [
                (one.segment_id, one.member, one.effective_at.ToMicroseconds(), one.cause, one.segment_version)
                for one in found
            ]
            assert sorted(one for one in told if one[0] in FIRST) == sorted(person.told)
            # Memberships of one that was published later begin as it's computed: they're taken in turn, and end right.
            new = [member for segment_id, member, *_ in told if segment_id not in FIRST]
            assert new == [number % 2 == 0 for number in range(len(new))]
            is_one = "new" in self.newest and person.known and self._is_member(person, "new", self.newest)
            assert len(new) % 2 == is_one
        for segment_id in FIRST:
            assert self.newest[segment_id] == self.serving[segment_id][1]
            request = segment_service_pb2.GetSegmentRequest(workspace_id=WORKSPACE, segment_id=segment_id)
            segment = self.run(self.replica.servicer.GetSegment(request, None)).segment
            assert segment.state == segment_pb2.SEGMENT_STATE_READY
            assert segment.version == segment.serving_version == self.serving[segment_id][0]
            members = {id_ for id_, person in self.people.items() if segment_id in person.member_of}
            assert self._listed(segment_id) == members
            assert segment.member_count == len(members)
            assert segment.profile_count == segment.computed_count == sum(one.known for one in self.people.values())

    def check_edge(self) -> None:
        request = segment_service_pb2.CheckMembershipRequest(workspace_id=WORKSPACE)
        for profile_id in self.people:
            request.queries.add(profile_id=profile_id, segment_ids=FIRST)
        answers = self.run(self.replica.servicer.CheckMembership(request, None)).answers
        for person, answer in zip(self.people.values(), answers, strict=True):
            assert set(answer.member_of) == person.member_of

    def _check_estimate(self, segment_id: str, wire: segment_pb2.SegmentDefinition, definition: d.Definition) -> None:
        request = segment_service_pb2.EstimateSegmentRequest(
            workspace_id=WORKSPACE, segment_id=segment_id, definition=wire, sample_size=100
        )
        estimate = self.run(self.replica.servicer.EstimateSegment(request, None)).estimate
        wanted = {**self.newest, segment_id: definition}
        known = {id_: person for id_, person in self.people.items() if person.known}
        would_be = {id_ for id_, person in known.items() if self._is_member(person, segment_id, wanted)}
        serving = {id_: serving for id_, (_, serving) in self.serving.items()}
        is_one = {
            id_
            for id_, person in known.items()
            if segment_id in serving and self._is_member(person, segment_id, serving)
        }
        assert (estimate.profile_count, estimate.evaluated_count, estimate.margin_percent) == (
            len(known),
            len(known),
            0,
        )
        assert set(estimate.member_ids) == would_be
        assert set(estimate.entering_ids) == would_be - is_one
        assert set(estimate.leaving_ids) == is_one - would_be
        assert (estimate.member_count, estimate.entering_count, estimate.leaving_count) == (
            len(would_be),
            len(would_be - is_one),
            len(is_one - would_be),
        )

    def clear(self) -> None:
        async def clear() -> None:
            store = self.bench.store
            for collection in (store.catalogues, store.facts, store.memberships, store.transitions):
                ids = [one.id for one in (await collection.scan(limit=1_000)).documents]
                await collection.delete(ids)

        self.run(clear())

    # --- the oracle ---

    def _live(self) -> None:
        """Let time pass for everybody until now, by what serves."""
        now = self.clock.now()
        for person in self.people.values():
            instants = {at + seconds * SECOND for at, _ in person.visits for seconds in WINDOWS.values() if seconds}
            for instant in sorted(instants):
                if self.seen_until < instant <= now:
                    self._evaluate(person, Cause.TIME, instant)
        self.seen_until = now

    def _notice_switches(self) -> None:
        """See what serves by now, and since when: since this instant, if it's news."""

        async def read() -> dict[str, tuple[int, d.Definition]]:
            catalogue = await self.replica.registry.refresh(WORKSPACE)
            self.edition = catalogue.edition
            rules = self.replica.registry.rules(WORKSPACE)
            return {id_: (published.version, published.definition) for id_, published in rules.by_id.items()}

        serving = self.run(read())
        if serving == self.serving:
            return
        self._live()
        self.serving = serving
        for person in self.people.values():
            self._evaluate(person, Cause.EDIT)

    def _evaluate(self, person: Person, cause: Cause, at: int | None = None) -> None:
        at = self.clock.now() if at is None else at
        if not person.known:
            return
        serving = {id_: definition for id_, (_, definition) in self.serving.items()}
        for segment_id in FIRST:
            member = self._is_member(person, segment_id, serving, at)
            if member is not (segment_id in person.member_of):
                (person.member_of.add if member else person.member_of.discard)(segment_id)
                person.told.append((segment_id, member, at, cause, self.serving[segment_id][0]))

    def _is_member(
        self, person: Person, segment_id: str, segments: dict[str, d.Definition], at: int | None = None
    ) -> bool:
        at = self.clock.now() if at is None else at
        definition = segments[segment_id]
        value = naive(definition.condition, person.facts(), at, segments)
        return definition.missing if value is None else value

    # --- how ---

    def _change(self, profile_id: str) -> ProfileChanged:
        profile = profile_pb2.Profile(workspace_id=WORKSPACE, profile_id=profile_id, revision=1 + self.revision)
        if country := self.people[profile_id].country:
            profile.attributes["country"].value.string_value = country
        return ProfileChanged(profile=profile)

    async def _mortally(self, life: int | None, act: Any) -> None:
        if life is None:
            await act(self.replica)
            return
        lifetime = Life(life)
        collections = (self.bench.database.collection(schema) for schema in SCHEMAS)
        store = Store(*(Mortal(collection, lifetime) for collection in collections))
        try:
            await act(Replica(store, self.clock, published=self.published, page=1))
        except Died:
            pass

    async def _fire(self, replica: Replica) -> None:
        timers = Timers(replica.profiles, replica.merging, None, replica.relayed.extend)  # type: ignore[arg-type]
        for partition in range(PARTITIONS):
            page = await self.bench.store.facts.query("wake", partition, below=self.clock.now() + 1, limit=100)
            await timers.fire(page.documents)
            assert not await self.bench.store.facts.count("wake", partition, below=self.clock.now() + 1)

    async def _owing(self) -> list[Any]:
        pages = [await self.bench.store.facts.query("outbox", number, limit=100) for number in range(PARTITIONS)]
        return [document for page in pages for document in page.documents]

    def _listed(self, segment_id: str) -> set[str]:
        request = segment_service_pb2.ListMembersRequest(workspace_id=WORKSPACE, segment_id=segment_id)
        return set(self.run(self.replica.servicer.ListMembers(request, None)).profile_ids)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("publishing") / "segment.db", {})
    yield bench
    bench.close()


ONE_IS_HELD_UP = [
    ("visit", {"who": "ana", "ago": 0}),
    ("edit", {"segment_id": "often", "condition": visits(1, "")}),
    ("fire_timers", {"life": None}),
    ("edit", {"segment_id": "new", "condition": ASKS}),
    ("edit", {"segment_id": "new", "condition": visits(1, "45s")}),
    ("visit", {"who": "ana", "ago": 0}),
    ("visit", {"who": "bo", "ago": 0}),
    ("edit", {"segment_id": "asking", "condition": ASKS}),
    ("visit", {"who": "ana", "ago": 0}),
]
"""`new` is switched to, while `often`, published before it, waits for `asking`."""


@settings(max_examples=100)
@example(life=ONE_IS_HELD_UP)
@given(life=st.lists(steps, min_size=15, max_size=40))
def test_an_edit_serves_for_everybody_from_one_instant_on(bench: Bench, life: list[Step]) -> None:
    world = World(bench)
    try:
        for name, arguments in life:
            getattr(world, name)(**arguments)
            world.check_edge()
        world.end()
    finally:
        world.clear()
