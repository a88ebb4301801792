"""The law of profiles: the same facts end in the same people, in any order, any grouping, any repetition, told by
several at once.

Held against an oracle that works everything out from all facts, from the beginning, in the plainest way.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from camino.profile.v1 import profile_pb2
from camino.profile.v1 import profile_service_pb2 as pb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.chassis.clock import SECOND
from services.chassis.documents import Document
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import FakeClock
from services.profile import convert, finding
from services.profile.domain.rules import Namespace, Rules
from services.profile.joining import Joining
from services.profile.linking import Linking
from services.profile.profile_intake import ProfileIntake
from services.profile.store import SCHEMAS, Store

RULES = Rules.of(
    [Namespace("crm", 600, unique=True), Namespace("card", 500), Namespace("device", 100)], {"crm": 9, "web": 1}
)
PRIORITY = {"user_id": 1000, "crm": 600, "card": 500, "device": 100}
UNIQUE = {"user_id", "crm"}
NOW = FakeClock().now()
EMAIL = 1

Name = tuple[str, str]


@dataclass(frozen=True)
class Told:
    """What one input says. Instants count seconds back from now; 0 is the latest."""

    names: tuple[Name, ...]
    at: int
    attribute: str | None = None
    source: str = ""
    zone: str = ""
    consent: int = 0

    @property
    def head(self) -> Name:
        return min(self.names, key=lambda name: (-PRIORITY[name[0]], name))


def wire(told: Told) -> pb.ProfileInput:
    item = pb.ProfileInput(source=told.source, time_zone=told.zone)
    item.observed_at.seconds = (NOW // SECOND) - told.at
    for namespace, value in told.names:
        item.identities.add(namespace=namespace, value=value)
    if told.attribute == "":
        item.attributes["x"].unset = True
    elif told.attribute is not None:
        item.attributes["x"].value.string_value = told.attribute
    if told.consent:
        item.consents.add(channel=EMAIL, topic="news", state=told.consent)
    return item


# --- the oracle -------------------------------------------------------------------------------------------------------


def linked(facts: Sequence[Told]) -> dict[frozenset[Name], list[int]]:
    """When which names were seen together; later is greater."""
    seen: dict[frozenset[Name], list[int]] = {}
    for told in facts:
        for name in told.names:
            if name != told.head:
                seen.setdefault(frozenset({told.head, name}), []).append(-told.at)
    return seen


def people(facts: Sequence[Told]) -> set[frozenset[Name]]:
    groups = [{name} for name in {name for told in facts for name in told.names}]
    seen = linked(facts)

    def strength(ends: frozenset[Name]) -> Any:
        return min(PRIORITY[namespace] for namespace, _ in ends), max(seen[ends]), tuple(sorted(ends))

    for ends in sorted(seen, key=strength, reverse=True):
        both = [group for group in groups if group & ends]
        union = set().union(*both)
        unique = [namespace for namespace, _ in union if namespace in UNIQUE]
        if len(both) == 2 and len(unique) == len(set(unique)):
            groups = [group for group in groups if group not in both] + [union]
    return {frozenset(group) for group in groups}


def known_together(one: Name, other: Name, at: int, facts: Sequence[Told]) -> bool:
    """Whether links that were observed by an instant lead from one name to the other."""
    reached = {one}
    while True:
        more = {name for ends, times in linked(facts).items() if min(times) <= at and ends & reached for name in ends}
        if more <= reached:
            return other in reached
        reached |= more


def state(person: frozenset[Name], facts: Sequence[Told]) -> tuple[Any, ...]:
    """What is known of a person."""
    mine = [told for told in facts if told.head in person]
    rank = {"crm": 9, "web": 1, "": 0}
    said = [(-t.at, rank[t.source], t.source, t.attribute) for t in mine if t.attribute is not None]
    # An unset attribute is a None, whose text is before that of any string.
    newest = max(said, key=lambda s: (*s[:3], "NoneType:None" if s[3] == "" else f"str:{s[3]!r}"), default=None)
    zones = [(-t.at, rank[t.source], t.source, f"str:{t.zone!r}", t.zone) for t in mine if t.zone]
    consents = [(-t.at, t.consent, t.head) for t in mine if t.consent]
    standing = [
        old
        for old in consents
        if not any(
            new > old and (new[2] == old[2] or known_together(new[2], old[2], new[0], facts)) for new in consents
        )
    ]
    return (
        newest[3] if newest and newest[3] else None,
        max(zones)[-1] if zones else "",
        max((consent for _, consent, _ in standing), default=0),
    )


# --- the real thing ---------------------------------------------------------------------------------------------------


class Bench:
    """One store, in which each example has a workspace of its own."""

    def __init__(self, path: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.database = self.loop.run_until_complete(SqliteDatabase.open(path))
        self.loop.run_until_complete(self.database.migrate(SCHEMAS))
        self.store = Store.of(self.database)
        self._workspaces = 0

    def close(self) -> None:
        self.loop.run_until_complete(self.database.close())
        self.loop.close()

    def intake(self) -> ProfileIntake:
        clock = FakeClock()
        joining = Joining(self.store, clock, 4, list)
        linking = Linking(self.store, joining, clock, lambda workspace_id: RULES, 4)
        return ProfileIntake(self.store, clock, lambda workspace_id: RULES, joining, linking, 4, list)

    def tell(self, writers: Sequence[Sequence[Sequence[Told]]]) -> dict[frozenset[Name], profile_pb2.Profile]:
        """Let writers tell their batches, all at once; the people that are there then, by their names."""
        self._workspaces += 1
        workspace_id = f"w{self._workspaces}"

        async def write(batches: Sequence[Sequence[Told]]) -> None:
            intake = self.intake()
            for batch in batches:
                for result in await intake.profiles(workspace_id, [wire(told) for told in batch], {}):
                    assert result.outcome == pb.ITEM_OUTCOME_OK, result

        async def everything() -> list[Document]:
            await asyncio.gather(*map(write, writers))
            page = await self.store.profiles.query("by_workspace", workspace_id, limit=1_000)
            await self._sound(workspace_id, page.documents)
            return page.documents

        found = {}
        for document in self.loop.run_until_complete(everything()):
            shown = convert.profile_wire(workspace_id, document.id.partition("/")[2], document.body)
            found[frozenset((identity.namespace, identity.value) for identity in shown.identities)] = shown
        return found

    async def _sound(self, workspace_id: str, profiles: Sequence[Document]) -> None:
        """Every identity is of the profile that has it; nothing is locked or under way."""
        identities = (await self.store.identities.scan(limit=1_000, prefix=f"{workspace_id}/")).documents
        owned = {document.id.partition("/")[2]: document.body["profile_id"] for document in identities}
        places = await finding.standing(self.store, workspace_id, owned.values())
        owners = {name: places[profile_id].profile_id for name, profile_id in owned.items()}
        listed = {
            f"{namespace}:{value}": document.id.partition("/")[2]
            for document in profiles
            for namespace, value in document.body["identities"]
        }
        assert owners == listed
        assert not [document for document in profiles if "join" in document.body]
        assert not (await self.store.joins.scan(limit=1, prefix=f"{workspace_id}/")).documents


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("law") / "profile.db")
    yield bench
    bench.close()


def shown(profile: profile_pb2.Profile) -> tuple[Any, ...]:
    return (
        profile.attributes["x"].value.string_value if "x" in profile.attributes else None,
        profile.time_zone,
        profile.consents[0].state if profile.consents else 0,
    )


def names(*namespaces: str) -> st.SearchStrategy[tuple[Name, ...]]:
    everyone = [(namespace, value) for namespace in namespaces for value in "abc"]

    def possible(chosen: list[Name]) -> bool:
        unique = [namespace for namespace, _ in chosen if namespace in UNIQUE]
        return len(unique) == len(set(unique))

    return st.lists(st.sampled_from(everyone), min_size=1, max_size=3, unique=True).filter(possible).map(tuple)


def facts_of(*namespaces: str) -> st.SearchStrategy[list[Told]]:
    return st.lists(
        st.builds(
            Told,
            names(*namespaces),
            st.integers(0, 6),
            st.sampled_from((None, None, "", "red", "blue")),
            st.sampled_from(("", "web", "crm")),
            st.sampled_from(("", "", "UTC", "Europe/Madrid")),
            st.sampled_from((0, 0, 1, 2)),
        ),
        min_size=1,
        max_size=10,
    )


def arranged(facts: Sequence[Told], chance: random.Random) -> list[list[list[Told]]]:
    """The facts in some order, some of them twice, in batches, by one to three writers."""
    everything = [*facts, *chance.sample(list(facts), chance.randint(0, len(facts)))]
    chance.shuffle(everything)
    writers: list[list[list[Told]]] = [[] for _ in range(chance.randint(1, 3))]
    while everything:
        size = chance.randint(1, len(everything))
        chance.choice(writers).append(everything[:size])
        everything = everything[size:]
    return writers


_SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@_SETTINGS
@given(facts_of("card", "device"), st.randoms(use_true_random=False))
def test_facts_of_people_who_are_never_told_apart_end_the_same(
    bench: Bench, facts: list[Told], chance: random.Random
) -> None:
    wanted = {person: state(person, facts) for person in people(facts)}
    for writers in ([[[told] for told in facts]], arranged(facts, chance), arranged(facts, chance)):
        found = bench.tell(writers)
        assert {person: shown(profile) for person, profile in found.items()} == wanted


@_SETTINGS
@given(facts_of("user_id", "crm", "card", "device"), st.randoms(use_true_random=False))
def test_people_are_told_apart_the_same(bench: Bench, facts: list[Told], chance: random.Random) -> None:
    """And what was told of somebody by the first of all names stays with them, whoever has their other names."""
    told_of_users = [told for told in facts if told.head[0] == "user_id"]
    for writers in ([[[told] for told in facts]], arranged(facts, chance), arranged(facts, chance)):
        found = bench.tell(writers)
        assert set(found) == people(facts)
        if len(told_of_users) == len(facts):
            wanted = {person: state(person, facts) for person in people(facts)}
            assert {person: shown(profile) for person, profile in found.items() if person in wanted} == wanted
