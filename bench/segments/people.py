"""Rules over many kinds of events, people who have a few favourite kinds each, and what happens to them.

Of every kind of events three segments ask. So an event touches three, however many segments there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.segment.v1.segment_pb2 import SegmentDefinition
from google.protobuf.json_format import ParseDict

from bench.segments.running import PARTITIONS, WORKSPACE
from services.chassis.clock import DAY
from services.chassis.documents import Document
from services.chassis.ids import new_id, partition_of
from services.chassis.wire import set_instant, set_value
from services.segment import convert
from services.segment.domain import History, Person
from services.segment.rules import Rules
from services.segment.state import ProfileState
from services.segment.store import Store

HISTORY = 10
"""How many events are known of each."""
_OVER = 60 * DAY
_WRITE = 2_000


def definitions(count: int) -> dict[str, SegmentDefinition]:
    """So many segments, by their ids."""
    found: dict[str, SegmentDefinition] = {}
    for number in range(count):
        kind = f"kind_{number // 3}"
        condition = _conditions(kind, number // 3)[number % 3]
        found[f"segment-{number}"] = ParseDict({"condition": condition}, SegmentDefinition())
    return found


def _conditions(kind: str, number: int) -> list[dict[str, Any]]:
    def event(**rest: Any) -> dict[str, Any]:
        return {"event": {"eventType": kind, **rest}}

    # So that also of those who are new one in twenty enters something.
    often = event(window={"within": "2592000s"}, count={"atLeast": 8 if number % 20 else 1})
    spent = event(window={"within": "7776000s"}, sum={"property": "value", "range": {"atLeast": 400}})
    third = [event(count={"atLeast": 1}), event(window={"within": "3888000s"}, count={"below": 1})]
    if number % 2:
        third = [event(count={"atLeast": 5}), {"attribute": {"name": f"likes_{number}", "equals": {"boolValue": True}}}]
    return [often, spent, {"all": {"conditions": third}}]


@dataclass(slots=True)
class Someone:
    profile_id: str
    kinds: Sequence[str]
    person: Person
    revision: int = 1

    @property
    def key(self) -> str:
        return convert.key_of(WORKSPACE, self.profile_id)


class People:
    """So many people with `favourites` kinds of events each, of those that `segments` segments ask about."""

    def __init__(self, count: int, segments: int, *, favourites: int = 4, seed: int = 1) -> None:
        self._chance = Random(seed)
        kinds = range(segments // 3)
        self.all: list[Someone] = []
        for _ in range(count):
            chosen = self._chance.sample(kinds, favourites)
            attributes = {
                "first_name": "Ana",
                "city": "Madrid",
                "orders": float(self._chance.randrange(9)),
                f"likes_{chosen[0]}": True,
            }
            someone = Someone(
                new_id(), [f"kind_{number}" for number in chosen], Person(attributes, {}, "Europe/Madrid")
            )
            self.all.append(someone)

    def documents(self, rules: Rules, now: int) -> Iterator[tuple[Document, list[Document]]]:
        """What is stored of them when they have been evaluated by the rules, and told of: and of their memberships."""
        for someone in self.all:
            state = ProfileState()
            histories: dict[str, History] = {}
            for at in sorted(now - self._chance.randrange(_OVER) for _ in range(HISTORY)):
                held = histories.setdefault(self._chance.choice(someone.kinds), History([], [], []))
                held.at.append(at)
                held.ids.append(f"known-{at}")
                held.properties.append(self._properties())
            now = state.catch_up(rules, now)
            state.absorb({"before": histories}, rules, now, revision=someone.revision, person=someone.person)
            memberships = [
                Document(
                    convert.membership_key(WORKSPACE, one.segment_id, someone.profile_id),
                    convert.membership_body(WORKSPACE, one),
                )
                for one in state.outbox
            ]
            state.outbox.clear()
            state.absorbed.clear()
            partition = partition_of(someone.profile_id, PARTITIONS)
            yield Document(someone.key, convert.state_body(state, WORKSPACE, partition)), memberships

    async def write(self, store: Store, rules: Rules, now: int) -> None:
        profiles: list[Document] = []
        memberships: list[Document] = []
        for profile, its in self.documents(rules, now):
            profiles.append(profile)
            memberships += its
            if len(profiles) == _WRITE:
                await _put(store, profiles, memberships)
        await _put(store, profiles, memberships)

    def changes(self, count: int, now: int) -> Iterator[ProfileChanged]:
        """So many events of people by chance; with one in ten an attribute changes too."""
        for number in range(count):
            someone = self._chance.choice(self.all)
            if number % 10 == 9:
                someone.revision += 1
                someone.person.attributes[f"likes_{someone.kinds[0].removeprefix('kind_')}"] = bool(number % 20 == 9)
            yield self._change(someone, number, now)

    def arrivals(self, now: int) -> Iterator[ProfileChanged]:
        """The first event of each."""
        for number, someone in enumerate(self.all):
            yield self._change(someone, number, now)

    def _change(self, someone: Someone, number: int, now: int) -> ProfileChanged:
        change = ProfileChanged()
        profile, event = change.profile, change.event
        profile.workspace_id, profile.profile_id, profile.revision = WORKSPACE, someone.profile_id, someone.revision
        profile.time_zone = someone.person.time_zone
        set_instant(profile.create_time, now)
        set_instant(profile.update_time, now)
        profile.identities.add(namespace="email", value=f"{someone.profile_id}@example.com")
        for name, value in someone.person.attributes.items():
            held = profile.attributes[name]
            set_value(held.value, value)
            set_instant(held.observed_at, now)
        event.workspace_id, event.profile_id, event.event_id = WORKSPACE, someone.profile_id, f"new-{number}"
        event.type = self._chance.choice(someone.kinds)
        set_instant(event.occurred_at, now)
        set_instant(event.receive_time, now)
        for name, value in self._properties().items():
            set_value(event.properties[name], value)
        return change

    def _properties(self) -> dict[str, Any]:
        return {"value": float(self._chance.randrange(5, 100)), "sku": "A1"}


async def _put(store: Store, profiles: list[Document], memberships: list[Document]) -> None:
    await store.facts.put(profiles)
    await store.memberships.put(memberships)
    profiles.clear()
    memberships.clear()
