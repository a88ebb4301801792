"""Changing several profiles at once: wholly or not at all, whatever dies in between.

There are no transactions over several documents. So whoever changes several profiles

1. locks them: writes `join`, the change's id, into each;
2. decides, from what it has locked, what becomes of them;
3. writes that down as a document of `joins`, under the change's id: from then on it's settled that it happens;
4. carries it out: makes the profiles that come to be, gives identities their owners, and then each locked profile its
   new body, which has no lock any more;
5. deletes what was written down.

Whoever comes upon a lock can finish the change, or give it up when it wasn't written down for too long. Giving up is
writing that down, under the same id: of the two the first holds. Everything that is carried out may be so twice and by
several at once: an identity's owner changes only while all profiles of the change are locked, a locked profile gets its
body only while it's locked by this change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import random
from typing import Any

from services.chassis.clock import DAY, SECOND, Clock
from services.chassis.documents import Document, change
from services.chassis.errors import Contention
from services.chassis.ids import new_id, partition_of
from services.profile import convert
from services.profile.convert import Body
from services.profile.store import Store

PATIENCE = 2 * SECOND
"""How long a lock may stand without anything written down of what is to happen."""

_FORGET = DAY
_ATTEMPTS = 40
_SHORTEST_S, _LONGEST_S = 0.002, 0.1


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of locked profiles."""

    bodies: Mapping[str, Body]
    """Of profiles, by id: locked ones, and such as come to be. Locked ones that aren't here stay as they were."""
    identities: Mapping[str, Body]
    """Of identities, by key: what is to be stored of each."""
    records: Sequence[Document] = field(default=())
    """What there is to tell of it."""


Decide = Callable[[Mapping[str, Document]], Awaitable[Change | None]]
"""From locked profiles, by id (with a bare body where there was none), to what becomes of them; None to let go and look
again. An error lets go too."""


class Joining:
    def __init__(
        self, store: Store, clock: Clock, partitions: int, written: Callable[[Iterable[Document]], None]
    ) -> None:
        """`written` is told of profiles that are to be published."""
        self._store = store
        self._clock = clock
        self._partitions = partitions
        self._written = written

    async def carry(self, workspace_id: str, profile_ids: Iterable[str], decide: Decide) -> bool:
        """Lock profiles, and do to them what is decided. False when others were at them, or nothing was decided: then
        nothing is done, and what was read is to be read again. When it's True, all is durable and done."""
        keys = {f"{workspace_id}/{id_}": id_ for id_ in profile_ids}
        found = await self._store.profiles.get(keys)
        if any(convert.lock_of(document.body) for document in found.values()):
            await self.settle(found.values())
            return False
        if not all(convert.stands(document.body) for document in found.values()):
            # No sweep would find a lock there.
            return False
        join_id = new_id()
        locked = [self._lock(key, found.get(key), join_id) for key in keys]
        outcome = await self._store.profiles.put(locked)
        lost = {*outcome.conflicted, *outcome.duplicate}
        mine = {keys[document.id]: document for document in locked if document.id not in lost}
        if lost:
            await self._let_go(mine.values(), join_id)
            return False
        try:
            change_ = await decide(mine)
        except BaseException:
            await self._let_go(mine.values(), join_id)
            raise
        if change_ is None:
            await self._let_go(mine.values(), join_id)
            return False
        plan = Document(
            f"{workspace_id}/{join_id}",
            {
                "locked": list(mine),
                "bodies": [list(pair) for pair in change_.bodies.items()],
                "identities": [list(pair) for pair in change_.identities.items()],
                "records": [[record.id, record.body] for record in change_.records],
                "partition": partition_of(join_id, self._partitions),
                "due_at": self._clock.now() + PATIENCE,
            },
        )
        if (await self._store.joins.put([plan])).duplicate:
            # Given up by others, who thought that we had died.
            return False
        await self._carry_out(plan)
        return True

    async def settle(self, documents: Iterable[Document]) -> None:
        """Do what is to be done about locked profiles: finish the changes that are settled, undo the locks of those
        that were given up, and give up those that nothing was written down of for too long."""
        locked: dict[str, list[Document]] = {}
        for document in documents:
            if join_id := convert.lock_of(document.body):
                locked.setdefault(f"{document.id.partition('/')[0]}/{join_id}", []).append(document)
        plans = await self._store.joins.get(locked)
        now = self._clock.now()
        dead = [key for key in locked if key not in plans and min(one.body["due_at"] for one in locked[key]) <= now]
        if dead:
            await self._store.joins.put([self._given_up(key, now) for key in dead])
            plans.update(await self._store.joins.get(dead))
        for key, plan in plans.items():
            if "bodies" in plan.body:
                await self._carry_out(plan)
            else:
                await self._let_go(locked[key], key.partition("/")[2])

    async def due(self, plans: list[Document]) -> None:
        """Carry out what was written down by somebody who died, and forget what was given up long ago."""
        for plan in plans:
            if "bodies" in plan.body:
                await self._carry_out(plan)
        await self._store.joins.delete([plan.id for plan in plans if "bodies" not in plan.body])

    def _lock(self, key: str, found: Document | None, join_id: str) -> Document:
        body = found.body if found else {"partition": partition_of(key.partition("/")[2], self._partitions)}
        return Document(
            key, {**body, "join": join_id, "due_at": self._clock.now() + PATIENCE}, found.rev if found else 0
        )

    def _given_up(self, key: str, now: int) -> Document:
        # Kept for longer than any process sleeps between locking and writing down.
        return Document(key, {"partition": partition_of(key, self._partitions), "due_at": now + _FORGET})

    async def _let_go(self, documents: Iterable[Document], join_id: str) -> None:
        def decide(_key: str, found: Document | None) -> dict[str, Any] | None:
            return unlocked(found.body) if found and convert.lock_of(found.body) == join_id else None

        await change(self._store.profiles, [document.id for document in documents], decide)

    async def _carry_out(self, plan: Document) -> None:
        workspace_id, _, join_id = plan.id.partition("/")
        bodies = {f"{workspace_id}/{id_}": body for id_, body in plan.body["bodies"]}
        locked = {f"{workspace_id}/{id_}" for id_ in plan.body["locked"]}
        if records := [Document(id_, body) for id_, body in plan.body["records"]]:
            await self._store.records.put(records)
        fresh = [Document(key, body) for key, body in bodies.items() if key not in locked]
        if fresh:
            made = set((await self._store.profiles.put(fresh)).saved)
            self._written(document for document in fresh if document.id in made)
        if identities := dict(plan.body["identities"]):
            await self._give(identities, locked, join_id)

        def decide(key: str, found: Document | None) -> dict[str, Any] | None:
            if not found or convert.lock_of(found.body) != join_id:
                return None
            return bodies.get(key) or unlocked(found.body)

        done = await change(self._store.profiles, locked, decide)
        self._written(document for document in done.values() if "publish_at" in document.body)
        await self._store.joins.delete([plan.id])

    async def _give(self, identities: Mapping[str, Body], locked: set[str], join_id: str) -> None:
        """Store what is to be stored of identities."""
        for attempt in range(_ATTEMPTS):
            found = await self._store.identities.get(identities)
            # After the identities: so if all are still locked now, nobody has touched these since they were read,
            # unless their revision tells.
            profiles = await self._store.profiles.get(locked)
            if any(convert.lock_of(profile.body) != join_id for profile in profiles.values()):
                return
            writes = [
                Document(key, body, found[key].rev if key in found else 0)
                for key, body in identities.items()
                if key not in found or found[key].body != body
            ]
            if not writes:
                return
            outcome = await self._store.identities.put(writes)
            if not outcome.conflicted and not outcome.duplicate:
                return
            await give_way(attempt)
        raise Contention("identities kept changing under us")


def unlocked(body: Body) -> Body:
    """A body without its lock."""
    return {name: value for name, value in body.items() if name not in ("join", "due_at")}


async def give_way(attempt: int) -> None:
    """Wait a moment before another attempt, ever longer, by chance: those that meet on one profile must not meet again
    and again."""
    await asyncio.sleep(random() * min(_SHORTEST_S * 1.4**attempt, _LONGEST_S))
