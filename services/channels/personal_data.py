"""What the channels hold on a person: messages, and whether the person's endpoints are suppressed.

To erase somebody, the marker of each profile id is written first, then the endpoints' hashes, and then what there is is
gone through. A message is looked at by the gate after it was stored; so either erasing finds it, or the gate finds the
marker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from camino.channels.v1 import message_pb2, message_service_pb2
from google.protobuf.message import Message

from services.channels import convert, domain
from services.channels.domain import State
from services.channels.gate import Work
from services.channels.sender import Sender
from services.channels.store import Store
from services.channels.suppressions import Suppressions
from services.chassis.clock import Clock
from services.chassis.documents import Document, change
from services.chassis.engine import order, position, token
from services.chassis.errors import InvalidPageToken
from services.chassis.personal_data import Held, Subject

_PAGE = 200
_ORDER = order("personal-data", "channels")


class ChannelsPersonalData:
    """Implements `PersonalData`."""

    def __init__(self, store: Store, suppressions: Suppressions, sender: Sender, clock: Clock) -> None:
        self._store = store
        self._suppressions = suppressions
        self._sender = sender
        self._clock = clock
        self.held: Sequence[Held] = (
            Held("messages", self._messages),
            Held("suppressions", self._suppressed),
        )

    async def erase(self, subject: Subject) -> Mapping[str, int]:
        """Erase what there is. A message that is being given to a provider is stripped at once, and ends as that
        call does; there is nothing to wait for. Raises `Contention`, `StoreUnavailable` and `BrokerUnavailable`."""
        workspace_id, ids = subject.workspace_id, dict.fromkeys(subject.profile_ids)
        await self._suppressions.mark([convert.person_key(workspace_id, id_) for id_ in ids])
        endpoints = _keys(subject)
        await self._suppressions.hide(endpoints, self._clock.now())
        messages = sum([await self._erase_messages(workspace_id, id_) for id_ in ids])
        # Last: a message that was refused at its endpoint suppresses that before it ends.
        return {"messages": messages, "suppressions": await self._suppressions.drop_plain(endpoints)}

    async def _erase_messages(self, workspace_id: str, profile_id: str) -> int:
        """Erase what a profile was to be sent. How many messages that was."""
        erased, after = 0, ""
        while True:
            page = await self._store.messages.query("by_profile", workspace_id, profile_id, limit=_PAGE, after=after)
            erased += await self._strip(page.documents)
            after = page.next
            if not after:
                return erased

    async def _strip(self, found: Iterable[Document]) -> int:
        now = self._clock.now()
        known = {document.id: document for document in found}

        def decide(key: str, document: Document | None) -> dict[str, Any] | None:
            if document is None or (message := convert.message_of(key, document.body)).erased:
                return None
            return convert.next_body(document.body, domain.erase(message, now), convert.request_of(document.body))

        stripped = await change(self._store.messages, known, decide, known=known)
        works = [
            Work(document, convert.message_of(key, document.body), convert.request_of(document.body))
            for key, document in stripped.items()
        ]
        # Should this fail, whoever owes them asks for them again, and is told then.
        await self._sender.settle(work for work in works if work.message.state is State.CANCELLED)
        return len(works)

    async def _messages(self, subject: Subject, limit: int, after: str) -> tuple[Sequence[Message], str]:
        """One profile id after the other, oldest first."""
        whose, place = _place(after)
        ids = list(dict.fromkeys(subject.profile_ids))
        if whose >= len(ids):
            raise InvalidPageToken
        page = await self._store.messages.query(
            "by_profile", subject.workspace_id, ids[whose], limit=limit, after=place
        )
        shown = []
        for document in page.documents:
            wire = message_pb2.Message()
            convert.fill_message(wire, document.id, document.body, history=True)
            shown.append(wire)
        if page.next:
            return shown, token(_ORDER, [whose, page.next])
        return shown, token(_ORDER, [whose + 1, ""]) if whose + 1 < len(ids) else ""

    async def _suppressed(self, subject: Subject, limit: int, after: str) -> tuple[Sequence[Message], str]:
        """In the order of the endpoints that are asked for."""
        start, _ = _place(after)
        keys = _keys(subject)
        found = await self._suppressions.holding(keys[start : start + limit], self._clock.now())
        shown = []
        for key, body in found.items():
            wire = message_service_pb2.Suppression()
            convert.fill_suppression(wire, key, body)
            shown.append(wire)
        return shown, token(_ORDER, [start + limit, ""]) if start + limit < len(keys) else ""


def _keys(subject: Subject) -> list[str]:
    """What the person's endpoints go by. What is no endpoint of any channel is never sent to."""
    keys = (convert.suppression_key(subject.workspace_id, channel, where) for channel, where in subject.endpoints)
    return list(dict.fromkeys(key for key in keys if key))


def _place(after: str) -> tuple[int, str]:
    """Where a page begins: with which of the subject's ids or endpoints, and where among the things of that one."""
    if not after:
        return 0, ""
    number, place = position(_ORDER, after, 2)
    if not isinstance(number, int) or number < 0:
        raise InvalidPageToken
    return number, str(place)
