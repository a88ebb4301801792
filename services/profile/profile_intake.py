"""Taking what is said about people: a batch is a few reads and a few writes, whatever its size.

The order of writes makes a crash between any two harmless: identities first (one that points at a profile that isn't
there yet, or doesn't know it, is made good when it's used next), then profiles, then records. Sending the same again
finishes what was begun. What concerns several profiles is a matter for `Linking`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from camino.profile.v1 import profile_service_pb2

from services.chassis.clock import Clock
from services.chassis.documents import Document
from services.chassis.errors import CaminoError, Contention, FailedPrecondition, Violation
from services.profile import convert, finding, records
from services.profile.absorbing import Absorbing, Held, Taken
from services.profile.domain import links
from services.profile.domain.profile import Facts
from services.profile.domain.rules import Rules
from services.profile.domain.values import Identity
from services.profile.joining import Joining, give_way
from services.profile.linking import Linking
from services.profile.store import Store
from services.profile.storing import OWING, stored

ItemResult = profile_service_pb2.ItemResult
Outcome = Taken | CaminoError
_ROUNDS = 60
_AT_ONCE = 16
"""Items that concern several profiles each, and are taken at the same time."""


@dataclass(frozen=True, slots=True)
class Said:
    """What an item says, and the item itself: the wire's consents have their proof, and it knows its trace."""

    facts: Facts
    item: Any


class ProfileIntake:
    def __init__(
        self,
        store: Store,
        clock: Clock,
        rules: Callable[[str], Rules],
        joining: Joining,
        linking: Linking,
        partitions: int,
        written: Callable[[Iterable[Document]], None],
    ) -> None:
        """`rules` are a workspace's; `written` is told of profiles that are to be published."""
        self._store = store
        self._clock = clock
        self._rules = rules
        self._joining = joining
        self._linking = linking
        self._partitions = partitions
        self._written = written

    async def profiles(
        self,
        workspace_id: str,
        items: Sequence[profile_service_pb2.ProfileInput],
        violations: Mapping[int, Violation],
    ) -> list[ItemResult]:
        """Take items, of which some are known to break a rule: one result for each, in order."""
        now = self._clock.now()
        rules = self._rules(workspace_id)
        results: dict[int, ItemResult] = {index: convert.refused(found) for index, found in violations.items()}
        said: dict[int, Said] = {}
        for index, item in enumerate(items):
            if index in results:
                continue
            try:
                said[index] = Said(told_apart(convert.facts_of(item, rules, now), rules), item)
            except CaminoError as error:
                results[index] = convert.refused(error)
        for index, outcome in (await self.take(workspace_id, said)).items():
            if isinstance(outcome, CaminoError):
                results[index] = convert.refused(outcome)
            else:
                results[index] = convert.ok(outcome.profile_id, outcome.not_linked)
        return [results[index] for index in range(len(items))]

    async def take(self, workspace_id: str, said: Mapping[int, Said]) -> dict[int, Outcome]:
        """Take what is said, each alone. What is taken is durable. Raises only what no item is at fault for."""
        done: dict[int, Outcome] = {}
        pending = dict(said)
        for attempt in range(_ROUNDS):
            if not pending:
                return done
            if attempt:
                await give_way(attempt)
            batch = await self._absorb(workspace_id, pending)
            done.update(await self._write(workspace_id, batch, pending))
            done.update(batch.refused)
            await self._joining.settle(batch.locked.values())
            done.update(await self._take_several(workspace_id, pending, batch.several))
            pending = {index: it for index, it in pending.items() if index not in done}
        lost = Contention("others kept changing the same profile; send it again")
        return {**done, **dict.fromkeys(pending, lost)}

    async def _take_several(
        self, workspace_id: str, said: Mapping[int, Said], several: Mapping[int, set[str]]
    ) -> dict[int, Outcome]:
        """Take inputs that concern several profiles. Those about one profile wait for each other here, rather than at
        its lock in the store, where they'd have to look again and again."""
        turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        free = asyncio.Semaphore(_AT_ONCE)

        async def take(it: Said, profile_ids: set[str]) -> Outcome:
            async with AsyncExitStack() as stack:
                for profile_id in sorted(profile_ids):
                    await stack.enter_async_context(turns[profile_id])
                await stack.enter_async_context(free)
                try:
                    taken = await self._linking.take(workspace_id, it.facts, it.item)
                except CaminoError as error:
                    if error.status.transient and not isinstance(error, Contention):
                        raise
                    return error
                await self._store.records.put(_consents(workspace_id, taken.profile_id, it))
                return taken

        outcomes = await asyncio.gather(*(take(said[index], ids) for index, ids in several.items()))
        return dict(zip(several, outcomes, strict=True))

    async def _absorb(self, workspace_id: str, pending: Mapping[int, Said]) -> Absorbing:
        """What could be settled in one round. What others change meanwhile is left for the next."""
        identities = {identity for it in pending.values() for identity in it.facts.identities}
        owners, places = await finding.located(self._store, workspace_id, identities)
        batch = Absorbing(self._rules(workspace_id), self._clock.now(), owners, places)
        for index, it in pending.items():
            batch.take(index, it.facts)
        return batch

    async def _write(self, workspace_id: str, batch: Absorbing, said: Mapping[int, Said]) -> dict[int, Outcome]:
        """Write what a batch made of its profiles. The outcomes of what is durable now."""
        lost = await self._lost(workspace_id, batch.claims)
        last = {taken.profile_id: index for index, taken in batch.taken.items() if taken.profile_id not in lost}
        writes = [
            self._document(workspace_id, batch.held[profile_id], said[index].item)
            for profile_id, index in last.items()
            if batch.held[profile_id].changed
        ]
        outcome = await self._store.profiles.put(writes)
        failed = {*outcome.conflicted, *outcome.duplicate}
        self._written(document for document in writes if document.id not in failed and "publish_at" in document.body)
        lost |= {key.partition("/")[2] for key in failed}
        done = {index: taken for index, taken in batch.taken.items() if taken.profile_id not in lost}
        told = [
            record for index, taken in done.items() for record in _consents(workspace_id, taken.profile_id, said[index])
        ]
        if told:
            await self._store.records.put(list({record.id: record for record in told}.values()))
        return done

    def _document(self, workspace_id: str, held: Held, cause: object) -> Document:
        profile, document = held.profile, held.document
        rules = self._rules(workspace_id)
        body = stored(workspace_id, profile, rules, self._partitions, self._clock.now(), cause)
        if document is not None and not held.shows:
            # What was owed before still is, and nothing else.
            owed = {name: document.body[name] for name in OWING if name in document.body}
            body = {**{name: value for name, value in body.items() if name not in OWING}, **owed}
        return Document(f"{workspace_id}/{profile.profile_id}", body, document.rev if document else 0)

    async def _lost(self, workspace_id: str, claims: Mapping[Identity, str]) -> set[str]:
        """Write identities for new owners. The owners that lost one of theirs to others meanwhile."""
        if not claims or await finding.claim(self._store, workspace_id, claims):
            return set()
        owners = await finding.owners(self._store, workspace_id, claims)
        return {owner for identity, owner in claims.items() if owners[identity].profile_id != owner}


def told_apart(facts: Facts, rules: Rules) -> Facts:
    """The facts, unless their identities are two people's. Raises `FailedPrecondition` (IDENTITY_CONFLICT)."""
    if links.clashes(facts.identities, rules):
        twice = next(
            namespace
            for namespace, _ in facts.identities
            if rules.namespace(namespace).unique and sum(other == namespace for other, _ in facts.identities) > 1
        )
        message = (
            f"two values of {twice!r}, of which a person has one; send the facts of each person with that person's"
            " identities"
        )
        raise FailedPrecondition(
            f"identities: {message}", reason="IDENTITY_CONFLICT", violations=(Violation("identities", message),)
        )
    return facts


def _consents(workspace_id: str, profile_id: str, it: Said) -> list[Document]:
    if not it.facts.consents:
        return []
    return records.of_consents(workspace_id, profile_id, it.item.consents, it.facts.consents)
