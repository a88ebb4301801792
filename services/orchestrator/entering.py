"""Who enters which journey. What counts is the person: an event begins no run that began under another of their ids."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from camino.profile.v1 import profile_events_pb2

from services.chassis.documents import Collection
from services.chassis.ids import derive_id
from services.chassis.tracing import traceparent_of
from services.chassis.wire import instant, value_of
from services.orchestrator import convert
from services.orchestrator.clients import Profiles
from services.orchestrator.domain.engine import Event, Run, RunState
from services.orchestrator.domain.journey import Journey
from services.orchestrator.domain.person import Person
from services.orchestrator.erasing import Erasing
from services.orchestrator.registry import Published, Registry
from services.orchestrator.store import Store
from services.orchestrator.walk import Walk


@dataclass(frozen=True, slots=True)
class _Entry:
    """A journey that an event, which was taken at `received`, triggers. `ids` are all that the person is known by,
    those of the fact included."""

    workspace_id: str
    published: Published
    event: Event
    received: int
    person: Person
    ids: frozenset[str]
    traceparent: str
    run_id: str = field(init=False)
    keys: frozenset[str] = field(init=False)
    """Where the run is if it has begun, under whichever id."""

    def __post_init__(self) -> None:
        run_ids = self._run_ids()
        object.__setattr__(self, "run_id", run_ids[0])
        object.__setattr__(self, "keys", frozenset(f"{self.workspace_id}/{run_id}" for run_id in run_ids))

    def _run_ids(self) -> list[str]:
        """The run's id, then those that it may have begun with: the same for the same trigger, whoever computes them.

        An event is told of another profile after a merge, so that doesn't count. Its id alone isn't enough: it may come
        again in a workspace that was deleted.
        """
        journey = self.published.journey
        if journey.once:
            return [once_id(journey, id_) for id_ in (self.person.profile_id, *self.ids)]
        return [_run_id(journey, f"{self.event.event_id}/{self.received}")]

    @property
    def people(self) -> set[str]:
        return {f"{self.workspace_id}/{id_}" for id_ in self.ids}

    def of(self, person: Person) -> _Entry:
        return replace(self, person=person, ids=self.ids.union(person.ids))

    def walk(self, now: int) -> Walk:
        journey = self.published.journey
        run = Run(self.run_id, self.person.profile_id, self.event, journey.first, now)
        return Walk(self.workspace_id, journey, run, None, self.person, self.published.paused, self.traceparent)


def once_id(journey: Journey, profile_id: str) -> str:
    """The id of a profile's one run of a journey that is for once."""
    return _run_id(journey, profile_id)


def _run_id(journey: Journey, entry: str) -> str:
    return derive_id("run", journey.workspace_id, journey.journey_id, entry)


class Entering:
    """Makes the runs that facts begin."""

    def __init__(self, store: Store, registry: Registry, profiles: Profiles, erasing: Erasing) -> None:
        self._runs = store.runs
        self._registry = registry
        self._profiles = profiles
        self._erasing = erasing

    async def begin(self, changes: Iterable[profile_events_pb2.ProfileChanged], now: int) -> list[Walk]:
        """The walks of these facts' runs that have not begun. A fact that comes again finds its runs there, and one of
        somebody who was erased begins none."""
        entries = [entry for change in changes if change.HasField("event") for entry in self._triggered(change, now)]
        if not entries:
            return []
        begun, erased = await asyncio.gather(
            _there(self._runs, entries), self._erasing.marked(person for entry in entries for person in entry.people)
        )
        if erased:
            # This fact may have begun a run already, in a process that died before it saw the marker.
            await self._erasing.sweep(erased)
        fresh = [entry for entry in entries if begun.isdisjoint(entry.keys) and erased.isdisjoint(entry.people)]
        fresh = await self._now(fresh)
        walks = []
        taken: set[str] = set()
        for entry in fresh:
            if taken.isdisjoint(entry.keys):
                walks.append(entry.walk(now))
            taken |= entry.keys
        return walks

    def _triggered(self, change: profile_events_pb2.ProfileChanged, now: int) -> Iterator[_Entry]:
        wire = change.event
        triggered = self._registry.triggered_by(wire.workspace_id, wire.type)
        if not triggered:
            return
        properties = {name: value_of(value) for name, value in wire.properties.items()}
        age = now - instant(wire.occurred_at)
        entered = [
            published
            for published in triggered
            if published.takes_in and published.journey.takes(wire.type, properties, age)
        ]
        if not entered:
            return
        person = convert.person_of(change.profile)
        event = Event(wire.event_id, wire.type, properties)
        received = instant(wire.receive_time)
        ids = frozenset((*person.ids, wire.profile_id))
        for published in entered:
            yield _Entry(wire.workspace_id, published, event, received, person, ids, traceparent_of(change))

    async def _now(self, entries: list[_Entry]) -> list[_Entry]:
        """The entries, of those that are for once with the person as of now, and without those that have begun under
        yet another id.

        A merge is told by facts of the profile that stays, of which this one knows nothing if it was under way: so the
        profiles are asked, once for each person and journey.
        """
        wanted: dict[str, set[str]] = {}
        for entry in entries:
            if entry.published.journey.once:
                wanted.setdefault(entry.workspace_id, set()).add(entry.person.profile_id)
        people = {
            workspace_id: await self._profiles.get(workspace_id, profile_ids)
            for workspace_id, profile_ids in wanted.items()
        }
        known: list[_Entry] = []
        merged: list[_Entry] = []
        for entry in entries:
            if not entry.published.journey.once:
                known.append(entry)
            elif person := people[entry.workspace_id].get(entry.person.profile_id):
                (known if entry.ids.issuperset(person.ids) else merged).append(entry.of(person))
        if not merged:
            return known
        begun = await _there(self._runs, merged)
        return known + [entry for entry in merged if begun.isdisjoint(entry.keys)]


async def _there(runs: Collection, entries: Iterable[_Entry]) -> set[str]:
    """Of all the places where these entries' runs may be, those where one is."""
    return set(await runs.get({key for entry in entries for key in entry.keys}))


async def second_runs(runs: Collection, walks: Sequence[Walk], now: int) -> dict[str, str]:
    """Of walks that are about to go on those of a person who began the journey, which is for once, earlier under an id
    that has turned out to be theirs too: by the walk's key the id of the run that began first. One read."""
    others: dict[str, set[str]] = {}
    for walk in walks:
        if walk.journey.once and walk.person and walk.run.state is RunState.ACTIVE and walk.run.wake_at <= now:
            keys = {f"{walk.workspace_id}/{once_id(walk.journey, id_)}" for id_ in walk.person.ids} - {walk.key}
            if keys:
                others[walk.key] = keys
    found = await runs.get({key for keys in others.values() for key in keys}) if others else {}
    second: dict[str, str] = {}
    for walk in walks:
        there = [found[key] for key in others.get(walk.key, ()) if key in found]
        began = min(((document.body["created"], document.id.partition("/")[2]) for document in there), default=None)
        if began and began < (walk.run.created_at, walk.run.run_id):
            second[walk.key] = began[1]
    return second
