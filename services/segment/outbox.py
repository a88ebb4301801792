"""Telling of transitions: the projection that lists members, the history, the event for everybody else, and then the
outbox is emptied."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from camino.segment.v1.segment_events_pb2 import MembershipChanged

from services.chassis.documents import Document, change
from services.chassis.events import Outgoing, Publisher, subject_of
from services.segment import convert, history
from services.segment.standing import Transition
from services.segment.store import Store


class Outbox:
    """Delivers the transitions in profiles' outboxes. All of it may be repeated, and be done by several at once: the
    projection takes no transition after a later one, and consumers know a transition by its sequence. Who delivers what
    was read before a profile was erased does no harm that lasts: see `erasing`."""

    def __init__(self, store: Store, publisher: Publisher) -> None:
        self._store = store
        self._publisher = publisher

    async def deliver(self, documents: Iterable[Document]) -> None:
        """Project, keep and publish what these profiles owe; only when all is done they owe it no more. What was
        published is in the history."""
        profiles = {document.id: document for document in documents}
        projected: dict[str, tuple[str, Transition]] = {}
        first = dict[str, None]()
        kept: list[Document] = []
        batch: list[Outgoing] = []
        relayed: dict[str, int] = {}
        for key, document in profiles.items():
            workspace_id, _, profile_id = key.partition("/")
            transitions = convert.transitions_of(document.body)
            if not transitions:
                continue
            relayed[key] = transitions[-1].sequence
            subject = subject_of(MembershipChanged, workspace_id, document.body["partition"], profile_id)
            for transition in transitions:
                membership = convert.membership_key(workspace_id, transition.segment_id, profile_id)
                projected[membership] = workspace_id, transition
                if convert.has_never_left(document.body, transition.segment_id):
                    # It has no row yet, unless this is done again.
                    first[membership] = None
                kept.append(history.document(key, transition))
                message = convert.membership_changed(workspace_id, profile_id, transition)
                message_id = f"{key}/{transition.sequence}"
                batch.append(Outgoing(subject, message, message_id, document.body.get("traceparent", "")))

        def project(membership: str, old: Document | None) -> dict[str, Any] | None:
            workspace_id, transition = projected[membership]
            if old is not None and old.body["sequence"] >= transition.sequence:
                return None
            return convert.membership_body(workspace_id, transition)

        def settle(key: str, old: Document | None) -> dict[str, Any] | None:
            return convert.without_relayed(old.body, relayed[key]) if old else None

        # What is kept already is the same, and stays.
        await asyncio.gather(
            change(self._store.memberships, projected, project, known=first), self._store.transitions.put(kept)
        )
        await self._publisher.publish(batch)
        await change(self._store.facts, relayed, settle, known={key: profiles[key] for key in relayed})
