"""What evaluating everybody anew is made of: reading, evaluating, writing back. In this process, over a million.

People with ten purchases each, and twenty of the rules in `examples/cdnow`, asked as of the middle of 1998: so windows
hold what they held then. Nobody has been evaluated yet: so everybody enters several segments.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from bench.segments.running import PARTITIONS, WORKSPACE
from cli.documents import Parser
from cli.stack import ROOT
from services.chassis import collector
from services.chassis.clock import DAY, SECOND
from services.chassis.documents import Document
from services.chassis.ids import new_id, partition_of
from services.chassis.sqlite import SqliteDatabase
from services.segment import convert, definitions
from services.segment.domain import Person
from services.segment.rules import Published, Rules
from services.segment.state import Event, ProfileState
from services.segment.store import SCHEMAS, Store

PEOPLE = int(os.environ.get("PEOPLE", "1000000"))
"""At least as many as are then looked at."""
RULES = (
    "one-timers",
    "loyal",
    "on-a-spree",
    "steady",
    "regulars-who-left",
    "big-spenders",
    "spending",
    "small-baskets",
    "never-cheap",
    "middling",
    "started-big",
    "last-was-many",
    "active",
    "lapsed",
    "cooling",
    "newcomers",
    "came-back-soon",
    "big-then-small",
    "twice-in-a-fortnight",
    "win-back",
)
PURCHASES = 10
NOW = 899_251_200 * SECOND
_EDITION = 1
_HISTORIES = 2_000
_WRITE = 5_000
_PAGE = 500
_PAGES = 40


def rules() -> Rules:
    """Of every kind of rule over events; the last asks two of the others."""
    parser = Parser(WORKSPACE)
    for path in sorted((ROOT / "examples/cdnow/segments").iterdir()):
        parser.read(path.name, path.read_text())
    segments: dict[str, Published] = {}
    for document in parser.in_order():
        definition = definitions.definition_of(document.request.definition)
        segments[document.id] = Published.of(document.id, 1, _EDITION, definition, segments, serves_from=_EDITION)
    return Rules(_EDITION, [segments[segment_id] for segment_id in RULES])


def people(count: int) -> Iterator[Document]:
    """Profiles as they're stored before anything is published. Some thousand histories, each had by many."""
    chance = Random(1)
    known = [_body(chance) for _ in range(_HISTORIES)]
    for number in range(count):
        profile_id = new_id()
        body = {**known[number % _HISTORIES], "partition": partition_of(profile_id, PARTITIONS)}
        yield Document(convert.key_of(WORKSPACE, profile_id), body)


def _body(chance: Random) -> dict[str, Any]:
    state = ProfileState()
    nothing = Rules(0, ())
    state.observe_profile(1, Person({"first_name": "Ana", "city": "Madrid"}), nothing, NOW)
    for number in range(PURCHASES):
        at = NOW - chance.randrange(540 * DAY)
        bought = {"cds": float(chance.randrange(1, 9)), "value": chance.randrange(500, 9000) / 100}
        state.observe_event(Event(f"purchase-{number}", "purchase", at, bought), nothing, NOW)
    return convert.state_body(state, WORKSPACE, 0)


async def write(store: Store, count: int) -> None:
    documents = people(count)
    while page := list(islice(documents, _WRITE)):
        await store.facts.put(page)


@dataclass
class Evaluated:
    """CPU µs a profile of each part, page by page. CPU is that of all threads."""

    parts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    rules: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Each rule by itself."""
    seed_us: float = 0.0
    transitions: list[float] = field(default_factory=list)
    """A profile."""
    memory_mb: float = 0.0


async def evaluated() -> Evaluated:
    # As a service's process does.
    collector.spare()
    found = Evaluated()
    with tempfile.TemporaryDirectory(prefix="camino-bench-") as directory:
        database = await SqliteDatabase.open(Path(directory) / "segment.db")
        await database.migrate(SCHEMAS)
        store = Store.of(database)
        began = time.perf_counter()
        await write(store, PEOPLE)
        found.seed_us = (time.perf_counter() - began) / PEOPLE * 1e6
        await _pages(store, found)
        await database.close()
    found.memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


async def _pages(store: Store, found: Evaluated) -> None:
    """Some pages of them, one after the other."""
    asked = rules()
    for number in range(_PAGES):
        with _cpu(found.parts["read by index, and decode"]):
            page = await store.facts.query("by_edition", WORKSPACE, number % PARTITIONS, below=_EDITION, limit=_PAGE)
        with _cpu(found.parts["make states of documents"]):
            states = [convert.state_of(document.body) for document in page.documents]
        with _cpu(found.parts["evaluate, and note transitions"]):
            for state in states:
                state.catch_up(asked, NOW)
        with _cpu(found.parts["make documents of states"]):
            documents = [
                Document(old.id, convert.state_body(state, WORKSPACE, old.body["partition"]), old.rev)
                for state, old in zip(states, page.documents, strict=True)
            ]
        with _cpu(found.parts["encode, and write back"]):
            await store.facts.put(documents)
        found.transitions.append(sum(len(state.outbox) for state in states) / _PAGE)
        for segment in asked.by_id.values():
            with _cpu(found.rules[segment.segment_id]):
                for state in states:
                    segment.ask(state.facts, NOW)


@contextmanager
def _cpu(into: list[float]) -> Iterator[None]:
    began = time.process_time()
    yield
    into.append((time.process_time() - began) / _PAGE * 1e6)
