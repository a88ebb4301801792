"""What the orchestrator holds on a person: the runs, and the decisions, those of campaigns included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from google.protobuf.message import Message

from services.chassis.documents import Collection, Document
from services.chassis.personal_data import Held, Subject
from services.orchestrator import convert, decisions
from services.orchestrator.domain.engine import RunState
from services.orchestrator.erasing import Erasing, workspace_of
from services.orchestrator.store import Store


class OrchestratorPersonalData:
    def __init__(self, store: Store, erasing: Erasing) -> None:
        self._store = store
        self._erasing = erasing

    @property
    def held(self) -> Sequence[Held]:
        return Held("runs", self._runs), Held("decisions", self._decisions)

    async def erase(self, subject: Subject) -> Mapping[str, int]:
        people = _people(subject)
        await self._erasing.mark(people)
        return await self._erasing.sweep(people)

    async def _runs(self, subject: Subject, limit: int, after: str) -> tuple[Sequence[Message], str]:
        def theirs(run: Document) -> bool:
            return workspace_of(run.id) == subject.workspace_id and run.body["state"] != RunState.ERASED

        found, following = await _page(self._store.runs, subject.profile_ids, limit, after, theirs)
        return [convert.wire_run(subject.workspace_id, run.id.partition("/")[2], run.body) for run in found], following

    async def _decisions(self, subject: Subject, limit: int, after: str) -> tuple[Sequence[Message], str]:
        found, following = await _page(self._store.decisions, _people(subject), limit, after, lambda decision: True)
        return [decisions.wire(decision) for decision in found], following


def _people(subject: Subject) -> list[str]:
    return [f"{subject.workspace_id}/{id_}" for id_ in subject.profile_ids]


async def _page(
    collection: Collection, people: Sequence[str], limit: int, after: str, wanted: Callable[[Document], bool]
) -> tuple[list[Document], str]:
    """A page of what a collection has about people, one after the other, and the token of the next: whose turn it is,
    and how far theirs is."""
    number, _, place = after.partition(":")
    whose = int(number or 0)
    page = await collection.query("by_profile", people[whose], limit=limit, after=place)
    following = ""
    if page.next:
        following = f"{whose}:{page.next}"
    elif whose + 1 < len(people):
        following = f"{whose + 1}:"
    return [document for document in page.documents if wanted(document)], following
