"""Erasing people: a marker for each id, and nothing personal left in what goes by those ids.

The markers come first. Whoever begins something for a person looks for them after it is written: so either erasing
finds what was written, or the writer finds the marker and has it erased.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable

from services.chassis import documents
from services.chassis.clock import Clock
from services.chassis.documents import Document, change
from services.orchestrator import convert, obligations
from services.orchestrator.campaigns import shard
from services.orchestrator.convert import Body
from services.orchestrator.domain.engine import RunState
from services.orchestrator.store import Store

_PAGE = 200

Purge = Callable[[str, str], Awaitable[object]]
"""Removes the facts from the broker whose key in a workspace is this."""


class Erasing:
    """Erases people, who go by `<workspace>/<profile_id>`: one such name for each of their ids."""

    def __init__(self, store: Store, clock: Clock, purge: Purge) -> None:
        self._store = store
        self._clock = clock
        self._purge = purge

    async def mark(self, people: Iterable[str]) -> None:
        """Note that these were erased. From then on nothing begins for them."""
        await self._store.erased.put([Document(person, {}) for person in people])

    async def marked(self, people: Iterable[str]) -> set[str]:
        """Those of these people who were erased, or are being erased."""
        return set(await self._store.erased.get(people))

    async def sweep(self, people: Collection[str]) -> Counter[str]:
        """Erase what there is of people who are marked. How much of each kind there was. What it leaves when it's
        broken off, it finds the next time."""
        erased: Counter[str] = Counter()
        shards: set[str] = set()
        for person in people:
            workspace_id, _, profile_id = person.partition("/")
            async for page in _pages(self._store.runs, profile_id):
                erased["runs"] += await self.end(run for run in page if workspace_of(run.id) == workspace_id)
            async for page in _pages(self._store.decisions, person):
                shards.update(_shards_of(page))
        erased["recipients"] += await self.take_out(shards, people)
        # Last, because they tell which shards the person is in.
        for person in people:
            async for page in _pages(self._store.decisions, person):
                erased["decisions"] += await self._store.decisions.delete([decision.id for decision in page])
        return erased

    async def end(self, runs: Iterable[Document]) -> int:
        """End runs as erased, with nothing left in them but that they were. How many were not so yet."""
        left = [run for run in runs if run.body["state"] != RunState.ERASED]
        for run in left:
            await self._call_off(run, "run")
        now = self._clock.now()

        def decide(_id: str, run: Document | None) -> Body | None:
            return convert.erased_run(run.body, now) if run and run.body["state"] != RunState.ERASED else None

        await change(self._store.runs, [run.id for run in left], decide)
        return len(left)

    async def take_out(self, shards: Collection[str], people: Collection[str]) -> int:
        """Take people out of what shards of campaigns owe and hold. How many places they had in there."""
        found = await self._store.shards.get(shards) if shards else {}
        audiences = await self._store.audiences.get(found) if found else {}
        return sum([await self._take_out(found[id_], audience, people) for id_, audience in audiences.items()])

    async def _take_out(self, document: Document, audience: Document, people: Collection[str]) -> int:
        workspace_id = workspace_of(document.id)
        ids = {person.partition("/")[2] for person in people if workspace_of(person) == workspace_id}
        dropped = 0

        def decide(_id: str, found: Document | None) -> Body | None:
            nonlocal dropped
            after = shard.without(found.body, audience.body["recipients"], ids) if found else None
            dropped = shard.erased(after) - shard.erased(found.body) if found and after else 0
            return after

        if decide(document.id, document):
            # Requests for others in the shard may go, too: those are made again.
            await self._call_off(document, "shard")
            await change(self._store.shards, [document.id], decide)
        return dropped

    async def _call_off(self, document: Document, kind: str) -> None:
        if document.body["owed"] or document.body["unknown"]:
            workspace_id, _, name = document.id.partition("/")
            await self._purge(workspace_id, f"{kind}:{name}")

    async def owing_runs(self, due: list[Document]) -> list[Document]:
        """These runs, which owe messages, without those of people who were erased: they end."""
        erased = await self.marked(f"{workspace_of(run.id)}/{run.body['profile']}" for run in due)
        gone = {run.id for run in due if f"{workspace_of(run.id)}/{run.body['profile']}" in erased}
        await self.end(run for run in due if run.id in gone)
        return [run for run in due if run.id not in gone]

    async def owing_shards(self, due: list[Document]) -> list[Document]:
        """These shards, which owe messages, once those to people who were erased are called off."""
        ids = [document.id for document in due]
        erased = await self.marked(
            f"{workspace_of(document.id)}/{profile_id}"
            for document in due
            for profile_id in obligations.recipients(document.body)
        )
        if not erased:
            return due
        await self.take_out(ids, erased)
        return list((await self._store.shards.get(ids)).values())


def workspace_of(id_: str) -> str:
    return id_.partition("/")[0]


async def _pages(collection: documents.Collection, person: str) -> AsyncIterator[list[Document]]:
    """What a collection holds about a person."""
    after = ""
    while True:
        page = await collection.query("by_profile", person, limit=_PAGE, after=after)
        yield page.documents
        after = page.next
        if not after:
            return


def _shards_of(decisions: Iterable[Document]) -> Iterable[str]:
    """The shards in which these decisions were made."""
    for decision in decisions:
        kind, _, name = decision.body.get("by", "").partition(":")
        if kind == "shard":
            yield f"{workspace_of(decision.id)}/{name}"
