"""Whatever is done to the embedded engine, in whatever order, it holds what a dictionary would hold."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.chassis.documents import Document, Index, Owner, Page, Schema
from services.chassis.sqlite import SqliteDatabase

THINGS = Schema("things", (Index("by_at", ("at",)), Index("by_group", ("group", "at"))), owner=Owner.SERVICE)
FIELDS = {index.name: index.fields for index in THINGS.indexes}

ids = st.sampled_from(["", "a", "a/1", "a/2", "b", "é", "\uffff", "😀"])
groups = st.sampled_from(["g", "h"])
times = st.integers(0, 5)
bodies = st.fixed_dictionaries(
    {},
    optional={"group": st.none() | groups, "at": st.none() | times, "other": st.binary() | st.floats(allow_nan=False)},
)
revisions = st.sampled_from(["new", "current", "stale"])
batches = st.dictionaries(ids, st.tuples(bodies, revisions), max_size=8)


class Documents(RuleBasedStateMachine):
    """The engine, and beside it what it should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.held: dict[str, Document] = {}
        self.past: dict[str, int] = {}
        self._open()

    def _open(self) -> None:
        self.database = self.runner.run(SqliteDatabase.open(Path(self.directory.name) / "documents.db"))
        self.runner.run(self.database.migrate([THINGS]))
        self.things = self.database.collection(THINGS)

    def teardown(self) -> None:
        self.runner.run(self.database.close())
        self.runner.close()
        self.directory.cleanup()

    @rule(batch=batches)
    def put(self, batch: dict[str, tuple[dict[str, Any], str]]) -> None:
        documents = [Document(id_, body, self._revision(id_, kind)) for id_, (body, kind) in batch.items()]
        expected: dict[str, list[str]] = {"saved": [], "conflicted": [], "duplicate": []}
        for document in documents:
            present = self.held[document.id].rev if document.id in self.held else 0
            outcome = "saved" if document.rev == present else "conflicted" if document.rev else "duplicate"
            expected[outcome].append(document.id)
        result = self.runner.run(self.things.put(documents))
        assert {kind: sorted(getattr(result, kind)) for kind in expected} == {
            kind: sorted(named) for kind, named in expected.items()
        }
        for document in documents:
            if document.id in result.saved:
                if document.id in self.held:
                    self.past[document.id] = self.held[document.id].rev
                assert document.rev > self.past.get(document.id, 0) or document.id not in self.held
                self.held[document.id] = document

    def _revision(self, id_: str, kind: str) -> int:
        if kind == "current" and id_ in self.held:
            return self.held[id_].rev
        return self.past.get(id_, 1) if kind == "stale" else 0

    @rule(unwanted=st.lists(ids, max_size=4))
    def delete(self, unwanted: list[str]) -> None:
        there = set(unwanted) & set(self.held)
        assert self.runner.run(self.things.delete(unwanted)) == len(there)
        for id_ in there:
            self.past[id_] = self.held.pop(id_).rev

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.database.close())
        self._open()

    @rule(size=st.integers(1, 4), prefix=st.sampled_from(["", "a", "a/", "\uffff", "z"]))
    def scan(self, size: int, prefix: str) -> None:
        found: list[Document] = []
        page = Page([], "")
        while not found or page.next:
            page = self.runner.run(self.things.scan(limit=size, prefix=prefix, after=page.next))
            found += page.documents
            if not page.documents:
                break
        assert found == [self.held[id_] for id_ in sorted(self.held) if id_.startswith(prefix)]

    @rule(
        index=st.sampled_from(list(FIELDS)),
        group=st.none() | groups,
        low=st.none() | times,
        high=st.none() | times,
        size=st.integers(1, 4),
        descending=st.booleans(),
    )
    def query(
        self, index: str, group: str | None, low: int | None, high: int | None, size: int, descending: bool
    ) -> None:
        equal = () if index == "by_at" or group is None else (group,)
        if index == "by_group" and not equal:
            low = high = None  # they would bound the group
        found: list[Document] = []
        page = Page([], "")
        while not found or page.next:
            page = self.runner.run(
                self.things.query(
                    index, *equal, at_least=low, below=high, limit=size, after=page.next, descending=descending
                )
            )
            found += page.documents
            if not page.documents:
                break
        expected = self._expected(index, equal, low, high, descending)
        assert found == expected
        assert self.runner.run(self.things.count(index, *equal, at_least=low, below=high)) == len(expected)

    def _expected(
        self, index: str, equal: tuple[str, ...], low: int | None, high: int | None, descending: bool
    ) -> list[Document]:
        keys = {
            (*(document.body[name] for name in FIELDS[index]), document.id): document
            for document in self.held.values()
            if all(document.body.get(name) is not None for name in FIELDS[index])
        }
        return [
            document
            for key, document in sorted(keys.items(), reverse=descending)
            if key[: len(equal)] == equal
            and (low is None or key[len(equal)] >= low)
            and (high is None or key[len(equal)] < high)
        ]

    @invariant()
    def everything_is_there(self) -> None:
        assert self.runner.run(self.things.get([*self.held, "missing"])) == self.held


TestDocuments = Documents.TestCase
TestDocuments.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
