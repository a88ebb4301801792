"""Every way that changes of several profiles can go: writers on profiles that overlap, processes that stop between any
two steps for as long as they like or for ever, others that give up what they were at or carry it out, and readers that
see some of it.

It's the real `Joining` that runs, on a store in memory. Each read, and each write of one document, is a step, as on a
cluster; between any two of them any other process may go on. All states are visited: the search goes on by every
process from each, and a state is what is stored, together with all that each process has seen. (Of a revision only
counts whether it's still the stored one: what is behind never catches up.) From each state the search also looks at
what comes of it if everybody dies there, and only the sweeps go on. So what is asserted holds whatever dies, and
whenever.

What it can't say: that what was given up may be forgotten after a while. Here it's remembered for ever, so a process
may sleep as long as it likes; in truth for an hour.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, cast

import pytest

from services.chassis.clock import HOUR
from services.chassis.documents import Document, Page, PutResult
from services.chassis.testing import FakeClock
from services.profile import convert, finding, joining
from services.profile.joining import Change, Joining
from services.profile.store import Store

Body = dict[str, Any]
Key = tuple[str, str]
"""A collection and an id in it."""

NEW = "new"
SWEEPS = -1


class Step:
    """What a process waits for: something that is done to the store at once."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act

    def __await__(self) -> Generator[Step, Any, Any]:
        return (yield self)


@dataclass
class Shelf:
    """A collection in memory."""

    name: str
    world: World

    async def get(self, ids: Iterable[str]) -> dict[str, Document]:
        return cast("dict[str, Document]", await Step(lambda: self.world.read(self.name, sorted(ids))))

    async def put(self, documents: Sequence[Document]) -> PutResult:
        result = PutResult()
        for document in documents:
            outcome = await Step(partial(self.world.write, self.name, document))
            getattr(result, outcome).append(document.id)
        return result

    async def delete(self, ids: Iterable[str]) -> int:
        return sum([await Step(partial(self.world.remove, self.name, id_)) for id_ in sorted(ids)])

    async def scan(self, *, limit: int, prefix: str = "") -> Page:
        ids = sorted(id_ for name, id_ in self.world.stored if name == self.name)
        return Page(list((await self.get(ids)).values()))


class World:
    """What is stored, and the processes that are at it."""

    def __init__(self, scene: Scene) -> None:
        self.stored: dict[Key, tuple[int, str]] = {}
        """By its place the revision of a document, and its body."""
        self.results: dict[int, object] = {}
        """What the processes that came to their end say."""
        self._sweeping = scene.sweeps
        self._revision = 0
        self._running = -1
        self._made: dict[int, int] = {}
        shelves = {name: Shelf(name, self) for name in ("profiles", "identities", "joins", "records")}
        others = dict.fromkeys(("exports", "operations", "events", "rules"))
        self.store = Store(**cast("Any", {**shelves, **others}))
        self._answered: list[tuple[Key, int, str]] = []
        for id_ in scene.people:
            theirs = [["x", name] for name in scene.names if name[0] == id_]
            self.write("profiles", Document(f"w/{id_}", person(1, theirs, [])))
            for _, name in theirs:
                self.write("identities", Document(f"w/x:{name}", {"profile_id": id_}))
        self._processes = [process(self) for process in scene.processes]
        self._seen = [0] * len(self._processes)
        """All that each was answered, as a hash."""
        self._held: list[list[tuple[Key, int]]] = [[] for _ in self._processes]
        """The revisions of what each read or wrote."""
        self._waiting: list[Step | None] = [None] * len(self._processes)
        for index in range(len(self._processes)):
            self._go_on(index, None)

    def ready(self) -> list[int]:
        """Who can go on."""
        ready = [index for index, step in enumerate(self._waiting) if step is not None]
        left_over = any(place[0] == "joins" or '"join"' in body for place, (_, body) in self.stored.items())
        return [*ready, SWEEPS] if left_over and self._sweeping else ready

    def go(self, index: int) -> None:
        """Let a process take a step, or `SWEEPS` do all that there is for them to do."""
        if index == SWEEPS:
            done(sweep(self))
            return
        step = self._waiting[index]
        assert step is not None
        self._answered.clear()
        found = step.act()
        self._held[index] += [(place, revision) for place, revision, _ in self._answered]
        told = found if isinstance(found, (str, int)) else 0
        self._seen[index] = hash((self._seen[index], told, *((place, body) for place, _, body in self._answered)))
        self._go_on(index, found)

    def _go_on(self, index: int, found: object) -> None:
        self._running = index
        try:
            self._waiting[index] = self._processes[index].send(found)
        except StopIteration as end:
            self._waiting[index] = None
            self.results[index] = end.value

    def close(self) -> None:
        for process in self._processes:
            process.close()

    def key(self) -> int:
        """What tells two worlds apart."""
        known: list[object] = []
        for index, step in enumerate(self._waiting):
            if step is None:
                known.append(self.results[index])
            else:
                held = self._held[index]
                known.append((self._seen[index], *(self.stored.get(place, (0, ""))[0] == rev for place, rev in held)))
        return hash((self.content(), *known))

    def content(self) -> frozenset[tuple[Key, str]]:
        return frozenset((place, body) for place, (_, body) in self.stored.items())

    def read(self, name: str, ids: Sequence[str]) -> dict[str, Document]:
        found = {}
        for id_ in ids:
            if there := self.stored.get((name, id_)):
                self._answered.append(((name, id_), *there))
                found[id_] = Document(id_, json.loads(there[1]), there[0])
        return found

    def write(self, name: str, document: Document) -> str:
        place = name, document.id
        if self.stored.get(place, (0, ""))[0] != document.rev:
            return "conflicted" if document.rev else "duplicate"
        self._revision += 1
        document.rev = self._revision
        self.stored[place] = self._revision, json.dumps(document.body, sort_keys=True)
        self._answered.append((place, self._revision, ""))
        return "saved"

    def remove(self, name: str, id_: str) -> int:
        return int(self.stored.pop((name, id_), None) is not None)

    def new_id(self) -> str:
        """The ids that a process makes are the same in all worlds."""
        self._made[self._running] = self._made.get(self._running, 0) + 1
        return f"made-{self._running}-{self._made[self._running]}"

    def recovered(self) -> World:
        """Everybody has died; what the sweeps make of it."""
        after = World(Scene((), (), ()))
        after.stored = dict(self.stored)
        after._revision = self._revision
        for _ in range(2):
            done(sweep(after))
        return after

    def bodies(self, name: str) -> dict[str, Body]:
        """What is in a collection, by id."""
        return {
            id_.partition("/")[2]: json.loads(body)
            for (collection, id_), (_, body) in self.stored.items()
            if collection == name
        }


Process = Callable[[World], Coroutine[Step, Any, object]]


@dataclass(frozen=True)
class Scene:
    """Who is there at the beginning; their names, each of which begins with whose it is; and who sets out to do what.
    `sweeps`: besides those, all that the sweeps have to do may be done at any time, at once."""

    people: tuple[str, ...]
    names: tuple[str, ...]
    processes: tuple[Process, ...]
    sweeps: bool = False


def person(revision: int, identities: Sequence[Sequence[str]], told: Sequence[str]) -> Body:
    return {"partition": 0, "revision": revision, "identities": list(identities), "told": list(told)}


def done(process: Coroutine[Step, Any, object]) -> object:
    """Let a process go on to its end, with nobody between."""
    found = None
    while True:
        try:
            found = process.send(found).act()
        except StopIteration as end:
            return end.value


def joining_of(world: World, *, late: int = 0) -> Joining:
    clock = FakeClock()
    clock.advance(late)
    return Joining(world.store, clock, 1, lambda written: None)


# --- what the processes do --------------------------------------------------------------------------------------------


def merging(into: str, other: str) -> Process:
    """Makes one person of two: the other becomes a grave."""

    async def decide(locked: Mapping[str, Document]) -> Change | None:
        stays, goes = locked[into].body, locked[other].body
        theirs = [*stays["identities"], *goes["identities"]]
        told = [*stays["told"], *goes["told"], f"{other} into {into}"]
        given = {f"w/x:{name}": {"profile_id": into} for _, name in goes["identities"]}
        return Change({into: person(stays["revision"] + 1, theirs, told), other: convert.grave(into)}, given)

    return lambda world: joining_of(world).carry("w", [into, other], decide)


def moving(name: str, from_: str, to: str) -> Process:
    """Takes a name from one and gives it to another, who is made for it if there's nobody."""

    async def decide(locked: Mapping[str, Document]) -> Change | None:
        one = locked[from_].body
        other = locked[to].body if to in locked else person(0, [], [])
        if ["x", name] not in one["identities"]:
            return None
        told = f"{name} to {to}"
        left = [identity for identity in one["identities"] if identity[1] != name]
        less = person(one["revision"] + 1, left, [*one["told"], told])
        more = person(other["revision"] + 1, [*other["identities"], ["x", name]], [*other["told"], told])
        return Change({from_: less, to: more}, {f"w/x:{name}": {"profile_id": to}})

    return lambda world: joining_of(world).carry("w", [from_] if to == NEW else [from_, to], decide)


def sweep(world: World) -> Coroutine[Step, Any, object]:
    """Somebody to whom every lock seems to have stood too long: a clock that is ahead is as good as a long pause."""

    async def run() -> None:
        late = joining_of(world, late=HOUR)
        await late.settle((await world.store.profiles.get([f"w/{id_}" for id_ in "abc"])).values())
        await late.due([plan for plan in (await world.store.joins.scan(limit=9)).documents if "bodies" in plan.body])

    return run()


def absorbing(name: str, told: str, *, looks_again: bool = True) -> Process:
    """Tells a person something, as it's done with what concerns a single profile: without a lock, with
    compare-and-set."""

    async def run(world: World) -> object:
        identity = ("x", name)
        if looks_again:
            owners, places = await finding.located(world.store, "w", [identity])
        else:
            owners = await finding.owners(world.store, "w", [identity])
            places = await finding.standing(world.store, "w", [owners[identity].profile_id])
        place = places[owners[identity].profile_id]
        document = place.document
        assert document is not None
        if convert.lock_of(document.body):
            return False
        body = document.body
        theirs = body["identities"] if place.lists(identity) else [*body["identities"], list(identity)]
        after = person(body["revision"] + 1, theirs, [*body["told"], told])
        return bool((await world.store.profiles.put([Document(document.id, after, document.rev)])).saved)

    return run


def reading(name: str) -> Process:
    """Looks somebody up."""

    async def run(world: World) -> object:
        found = await finding.by_identity(world.store, "w", [("x", name)])
        return tuple(sorted(document.id for document in found.values()))

    return run


# --- the search -------------------------------------------------------------------------------------------------------


@dataclass
class Visited:
    """All that can come of a scene."""

    states: int = 0
    ends: list[tuple[dict[int, object], World]] = field(default_factory=list)
    """What the processes say that came to their end, and what is there when the others have died."""


@cache
def searched(scene: Scene) -> Visited:
    visited = Visited()
    seen: set[int] = set()
    recovered: dict[frozenset[tuple[Key, str]], World] = {}
    said: set[int] = set()
    todo: list[tuple[int, ...]] = [()]
    world = World(scene)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, "new_id", lambda: world.new_id())
        patch.setattr(asyncio, "sleep", _no_time)
        while todo:
            path = todo.pop()
            world = World(scene)
            for index in path:
                world.go(index)
            while (key := world.key()) not in seen:
                seen.add(key)
                content = world.content()
                if content not in recovered:
                    recovered[content] = world.recovered()
                end = hash((content, *sorted((index, repr(result)) for index, result in world.results.items())))
                if end not in said:
                    said.add(end)
                    visited.ends.append((dict(world.results), recovered[content]))
                ready = world.ready()
                if not ready:
                    break
                todo.extend((*path, index) for index in ready[1:])
                path = (*path, ready[0])
                world.go(ready[0])
            world.close()
    visited.states = len(seen)
    return visited


async def _no_time(delay: float) -> None:
    """Whoever waits may be overtaken, as anybody may."""


# --- what holds -------------------------------------------------------------------------------------------------------

MERGE, MOVE, MAKE, TELL = "b into a", "b2 to c", f"b2 to {NEW}", "told"


def scene(*processes: Process, sweeps: bool = False) -> Scene:
    return Scene(("a", "b", "c"), ("a1", "b1", "b2", "c1"), processes, sweeps)


SCENES: dict[str, tuple[Scene, tuple[str, ...]]] = {
    "a merge, and a sweep that stops anywhere": (scene(merging("a", "b"), sweep), (MERGE,)),
    "a newcomer, and a sweep that stops anywhere": (scene(moving("b2", "b", NEW), sweep), (MAKE,)),
    "the same move twice": (scene(moving("b2", "b", NEW), moving("b2", "b", NEW)), (MAKE, MAKE)),
    "a chain of merges": (scene(merging("a", "b"), merging("b", "c")), (MERGE, "c into b")),
    "a merge and a move": (scene(merging("a", "b"), moving("b2", "b", "c"), sweeps=True), (MERGE, MOVE)),
    "two moves of one name": (scene(moving("b2", "b", "c"), moving("b2", "b", "a")), (MOVE, "b2 to a")),
    "a move to and fro": (scene(moving("b2", "b", "c"), moving("b2", "c", "b")), (MOVE, "b2 to b")),
    "a move and a newcomer": (scene(moving("b2", "b", "c"), moving("b2", "b", NEW)), (MOVE, MAKE)),
    "a merge, and a fact": (scene(merging("a", "b"), absorbing("b2", TELL), sweeps=True), (MERGE, TELL)),
    "a move, and a fact": (scene(moving("b2", "b", "c"), absorbing("b2", TELL), sweeps=True), (MOVE, TELL)),
    "two facts, and a move": (
        scene(absorbing("b2", TELL), absorbing("b2", "also told"), moving("b2", "b", "c")),
        (TELL, "also told", MOVE),
    ),
}


def faults(world: World) -> list[str]:
    """What isn't as it must be when nothing is under way."""
    profiles = world.bodies("profiles")
    owned: dict[str, str] = {}
    for key, body in world.bodies("identities").items():
        id_ = body["profile_id"]
        while target := convert.joined_to(profiles[id_]):
            id_ = target
        owned[key.partition(":")[2]] = id_
    listed: list[tuple[str, str]] = [
        (name, id_) for id_, body in profiles.items() if convert.is_profile(body) for _, name in body["identities"]
    ]
    found = []
    if sorted(listed) != sorted(owned.items()):
        found.append(f"{owned} own what {listed} have")
    if any("join" in body for body in profiles.values()):
        found.append("locked for ever")
    if any("bodies" in plan for plan in world.bodies("joins").values()):
        found.append("under way for ever")
    return found


def times(world: World, told: str) -> int:
    """How often something was told of anybody."""
    return sum(body["told"].count(told) for body in world.bodies("profiles").values() if convert.is_profile(body))


@pytest.mark.parametrize("name", SCENES)
def test_whoever_dies_and_whenever_each_name_is_one_persons_and_nothing_is_left_locked(name: str) -> None:
    visited = searched(SCENES[name][0])
    assert visited.states > 50
    for _, world in visited.ends:
        assert not faults(world)


@pytest.mark.parametrize("name", SCENES)
def test_what_is_done_is_done_wholly_and_once_and_what_is_not_is_not_at_all(name: str) -> None:
    """Of a move two people are told, of all else one."""
    of, tells = SCENES[name]
    outcomes: set[tuple[object, ...]] = set()
    for results, world in searched(of).ends:
        for index, told in enumerate(tells):
            many = 2 if " to " in told else 1
            how_often = times(world, told)
            if told in tells[:index] or told in tells[index + 1 :]:
                assert how_often in (0, many)
            elif index in results:
                assert how_often == (many if results[index] else 0)
            else:
                assert how_often in (0, many)
        outcomes.add(tuple(results.get(index) for index in range(len(tells))))
    # Each of them may come to its end, well or not, or die.
    for index in range(len(tells)):
        assert {True, False, None} <= {outcome[index] for outcome in outcomes} or "sweep" in name


def test_whoever_is_looked_up_is_found_whatever_is_under_way() -> None:
    visited = searched(scene(moving("b2", "b", "c"), reading("b2"), sweeps=True))
    assert {results[1] for results, _ in visited.ends if 1 in results} == {("w/b",), ("w/c",)}
    visited = searched(scene(merging("a", "b"), reading("b2"), sweeps=True))
    assert {results[1] for results, _ in visited.ends if 1 in results} == {("w/a",), ("w/b",)}


def test_without_a_second_look_at_whose_a_name_is_the_search_finds_that_two_have_it() -> None:
    careless = absorbing("b2", TELL, looks_again=False)
    assert any(faults(world) for _, world in searched(scene(moving("b2", "b", "c"), careless)).ends)
