"""What is owed: requests for messages, kept with what decided them until their end is known.

A run or a shard holds its obligations in itself, so that deciding and owing is one write. They're published at once, on
the fast path, and again later for as long as no end is reported: the channels answer a repeated request for a message
that has ended with its end. So nothing needs to be marked as published, a message lost by the broker is only late, and
an obligation goes when its message is terminal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from camino.channels.v1 import channels_events_pb2, message_pb2
from camino.orchestrator.v1 import orchestrator_events_pb2

from services.chassis import documents
from services.chassis.clock import Clock
from services.chassis.documents import Document, change
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.ids import partition_of
from services.chassis.wire import set_instant, set_values
from services.orchestrator.convert import Body
from services.orchestrator.domain.decision import SendSpec
from services.orchestrator.domain.person import Person
from services.orchestrator.store import resend_after

_UNKNOWN = "unknown"

SendRequested = orchestrator_events_pb2.SendRequested
MessageSettled = channels_events_pb2.MessageSettled

_ENDED = {
    message_pb2.MESSAGE_STATE_SENT: "sent",
    message_pb2.MESSAGE_STATE_FAILED: "failed",
    message_pb2.MESSAGE_STATE_SUPPRESSED: "suppressed",
    message_pb2.MESSAGE_STATE_CANCELLED: "cancelled",
    message_pb2.MESSAGE_STATE_EXPIRED: "expired",
    message_pb2.MESSAGE_STATE_UNKNOWN: "unknown",
}


def request(
    spec: SendSpec,
    person: Person,
    *,
    workspace_id: str,
    send_id: str,
    endpoint: str,
    source_key: str,
    source_id: str,
    not_after: int,
    event: Mapping[str, Any] | None = None,
) -> orchestrator_events_pb2.SendRequested:
    """The request for one message, with what its template sees."""
    wire = SendRequested(
        workspace_id=workspace_id,
        send_id=send_id,
        profile_id=person.profile_id,
        channel=spec.channel,
        endpoint=endpoint,
        template_id=spec.template_id,
        template_version=spec.template_version,
        topic=spec.topic,
        purpose=spec.purpose,
        unknown_policy=spec.unknown_policy,
        source_key=source_key,
        source_id=source_id,
    )
    set_instant(wire.not_after, not_after)
    set_values(wire.profile, person.attributes)
    if person.locale:
        wire.profile["locale"].string_value = person.locale
    if person.time_zone:
        wire.profile["time_zone"].string_value = person.time_zone
    if event:
        set_values(wire.event, event)
    return wire


@dataclass(frozen=True, slots=True)
class Owed:
    """A request that is to be published, and where what asked for it is in its trace, if that is traced."""

    wire: orchestrator_events_pb2.SendRequested
    traceparent: str


class Obligations:
    """Publishes what is owed, repeats it while no end is known, and settles it."""

    def __init__(self, publisher: Publisher, clock: Clock, partitions: int) -> None:
        self._publisher = publisher
        self._clock = clock
        self._partitions = partitions

    async def publish(self, requests: Iterable[Owed]) -> None:
        await self._publisher.publish(
            [
                Outgoing(
                    subject_of(
                        SendRequested,
                        owed.wire.workspace_id,
                        partition_of(owed.wire.source_key, self._partitions),
                        owed.wire.source_key,
                    ),
                    owed.wire,
                    owed.wire.send_id,
                    owed.traceparent,
                )
                for owed in requests
            ]
        )

    async def repeat(self, collection: documents.Collection, due: list[Document]) -> None:
        """Request again what these documents owe, or don't know the end of, and put off the next time."""
        await self.publish(
            Owed(SendRequested.FromString(wire), document.body.get("traceparent", ""))
            for document in due
            for wire in (*document.body["owed"].values(), *document.body["unknown"].values())
        )
        now = self._clock.now()

        def put_off(_id: str, document: Document | None) -> Body | None:
            if document is None or document.body["resend_at"] is None:
                return None
            attempt = document.body["resends"] + 1
            return {**document.body, "resends": attempt, "resend_at": now + resend_after(attempt)}

        await change(collection, [document.id for document in due], put_off)


def owe(body: Body, requests: Iterable[orchestrator_events_pb2.SendRequested], now: int) -> None:
    """Add obligations to a document that is about to be written."""
    owed = dict(body.get("owed") or {})
    owed.update((wire.send_id, wire.SerializeToString()) for wire in requests)
    body["owed"] = owed
    body["resends"] = 0 if owed else body.get("resends", 0)
    body["resend_at"] = now + resend_after(0) if owed else None


def recipients(body: Body) -> set[str]:
    """Whom a document owes messages, or doesn't know the end of one."""
    return {_recipient(wire) for wire in (*body["owed"].values(), *body["unknown"].values())}


def call_off(body: Body, profile_ids: Collection[str]) -> tuple[int, int]:
    """Take messages to these profiles out of what a document owes. How many were owed, and how many of unknown end."""
    owed, unknown = (
        {send_id: wire for send_id, wire in body[field].items() if _recipient(wire) not in profile_ids}
        for field in ("owed", "unknown")
    )
    called_off = len(body["owed"]) - len(owed), len(body["unknown"]) - len(unknown)
    body["owed"], body["unknown"] = owed, unknown
    if not owed and not unknown:
        body["resend_at"] = None
    return called_off


def _recipient(request_bytes: bytes) -> str:
    return str(SendRequested.FromString(request_bytes).profile_id)


def settle(body: Body, settled: Iterable[channels_events_pb2.MessageSettled]) -> dict[str, tuple[str, str]]:
    """Take ended messages out of what a document owes. What each had ended as before (empty: not yet) and has now; what
    was known is left out.

    A message that ended as unknown is no longer owed, but still asked for now and then: someone may find out what
    became of it.
    """
    owed, unknown = dict(body["owed"]), dict(body["unknown"])
    ended: dict[str, tuple[str, str]] = {}
    for wire in settled:
        state = _ENDED[wire.state]
        if wire.send_id in owed:
            request_bytes = owed.pop(wire.send_id)
            ended[wire.send_id] = ("", state)
            if state == _UNKNOWN:
                unknown[wire.send_id] = request_bytes
        elif wire.send_id in unknown and state != _UNKNOWN:
            del unknown[wire.send_id]
            ended[wire.send_id] = (ended.get(wire.send_id, (_UNKNOWN, ""))[0], state)
    body["owed"], body["unknown"] = owed, unknown
    if not owed and not unknown:
        body["resend_at"] = None
    return ended
