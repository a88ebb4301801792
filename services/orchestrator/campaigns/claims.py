"""Nobody gets a campaign twice who is in its audience under two ids, which turned out to be one person's since.

The audience is frozen, in shards that know nothing of each other. So each recipient whose person may be another
recipient, too, claims the person first; whoever comes second doesn't get it. Those who had their turn while they were
still two people left no claim, but a record of the decision.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping

from services.chassis.clock import HOUR, MINUTE
from services.chassis.documents import Document
from services.orchestrator.domain.decision import Verdict
from services.orchestrator.domain.person import Person
from services.orchestrator.store import Store

_LAG = HOUR
"""A segment lists both ids if it hears of a merge only after its audience was frozen: so merges of this long before the
start count, too."""
_SKEW = MINUTE
"""How far the clocks of replicas may be apart."""
_PAGE = 200


class Claims:
    """Which recipient of an occurrence stands for a person."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def instead(self, occurrence: str, started: int, people: Mapping[str, Person]) -> dict[str, str]:
        """Of recipients, by their ids in the order of their turns, those whose person gets the message as another: as
        which. `occurrence` is `<workspace>/<occurrence_id>`, and `started` is when it was."""
        merged = {id_: person for id_, person in people.items() if person.merged_ids}
        if not merged:
            return {}
        claimed = await self._claimed(occurrence, {one for person in merged.values() for one in person.ids})
        going = {id_: one for id_, one in merged.items() if _first(claimed, one.ids) in ("", id_)}
        # Only who was merged since the start may have had a turn before, as somebody else.
        since = started - _SKEW
        lately = {id_: one for id_, one in going.items() if id_ != one.profile_id or one.updated_at >= since}
        served = await self._served(occurrence, since, lately)
        claims: dict[str, str] = {}
        for id_, person in going.items():
            # Of others no second id can be in the audience. Profiles merge all the time, so they are most.
            in_question = id_ != person.profile_id or person.updated_at >= started - _LAG
            if in_question and not _first(claimed, person.ids):
                claims.setdefault(person.profile_id, served.get(id_, id_))
        outcome = await self._store.claims.put(
            [Document(f"{occurrence}/{profile_id}", {"recipient": id_}) for profile_id, id_ in claims.items()]
        )
        if outcome.duplicate:
            claims |= await self._claimed(occurrence, claims)
        claimed |= claims
        chosen = {id_: served.get(id_) or _first(claimed, person.ids) for id_, person in merged.items()}
        return {id_: as_ for id_, as_ in chosen.items() if as_ not in ("", id_)}

    async def _claimed(self, occurrence: str, profile_ids: Collection[str]) -> dict[str, str]:
        """Which recipients stand for these people."""
        found = await self._store.claims.get({f"{occurrence}/{id_}" for id_ in profile_ids})
        return {key.rpartition("/")[2]: claim.body["recipient"] for key, claim in found.items()}

    async def _served(self, occurrence: str, since: int, people: Mapping[str, Person]) -> dict[str, str]:
        """For each of these recipients the one that was sent to already, of those that are the same person."""
        ids = [(id_, other) for id_, person in people.items() for other in person.ids if other != id_]
        sent = await asyncio.gather(*(self._sent_to(occurrence, since, other) for _, other in ids))
        return {id_: other for (id_, other), was in zip(ids, sent, strict=True) if was}

    async def _sent_to(self, occurrence: str, since: int, profile_id: str) -> bool:
        workspace_id, _, occurrence_id = occurrence.partition("/")
        after = ""
        while True:
            page = await self._store.decisions.query(
                "by_profile", f"{workspace_id}/{profile_id}", at_least=since, limit=_PAGE, after=after
            )
            for decision in page.documents:
                if decision.body["source"][0] == occurrence_id and decision.body["verdict"] == Verdict.SEND:
                    return True
            after = page.next
            if not after:
                return False


def _first(claimed: Mapping[str, str], profile_ids: Iterable[str]) -> str:
    """As which recipient it's claimed to be somebody's. By several it was when they were several people: then the order
    of the ids, which is the same for all of them, says which."""
    return next((claimed[id_] for id_ in profile_ids if id_ in claimed), "")
