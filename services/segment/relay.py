"""Transitions on their way out: into the memberships collection, and onto the broker."""

from __future__ import annotations

from camino.segment.v1 import segment_events_pb2

from services.chassis.documents import Document, change
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.ids import derive_id
from services.segment import convert
from services.segment.convert import Body
from services.segment.store import Store
from services.segment.tracking import Transition


class Relay:
    """Delivers the transitions in facts documents, in order per profile, and only then takes them out. Delivering one
    twice changes nothing."""

    def __init__(self, store: Store, publisher: Publisher) -> None:
        self._store = store
        self._publisher = publisher

    async def deliver(self, documents: list[Document]) -> None:
        latest: dict[str, Transition] = {}
        outgoing: list[Outgoing] = []
        sequences: dict[str, int] = {}
        for document in {document.id: document for document in documents}.values():
            workspace_id, _, profile_id = document.id.partition("/")
            for row in document.body["outbox"]:
                transition = Transition(*row)
                latest[f"{workspace_id}/{transition.segment_id}/{profile_id}"] = transition
                sequences[document.id] = transition.sequence
                outgoing.append(_outgoing(workspace_id, profile_id, document.body["partition"], transition))

        def project(id_: str, document: Document | None) -> Body | None:
            transition = latest[id_]
            if document and document.body["sequence"] >= transition.sequence:
                return None
            segment_key, _, profile_id = id_.rpartition("/")
            entered = document.body["entered"] if document else 0
            return {
                "profile": profile_id,
                "member_of": segment_key if transition.member else None,
                "entered": transition.effective_at if transition.member else entered,
                "exited": 0 if transition.member else transition.effective_at,
                "sequence": transition.sequence,
            }

        await change(self._store.memberships, latest, project)
        await self._publisher.publish(outgoing)

        def clear(id_: str, document: Document | None) -> Body | None:
            if document is None:
                return None
            left = [row for row in document.body["outbox"] if Transition(*row).sequence > sequences[id_]]
            if len(left) == len(document.body["outbox"]):
                return None
            return {**document.body, "outbox": left, "relay_at": document.body["relay_at"] if left else None}

        await change(self._store.facts, sequences, clear)


def _outgoing(workspace_id: str, profile_id: str, partition: int, transition: Transition) -> Outgoing:
    return Outgoing(
        subject_of(segment_events_pb2.MembershipChanged, workspace_id, partition, profile_id),
        convert.membership_changed(workspace_id, profile_id, transition),
        derive_id("membership", workspace_id, profile_id, str(transition.sequence)),
    )
