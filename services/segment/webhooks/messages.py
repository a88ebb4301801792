"""What is posted: messages as JSON, and the ids by which receivers drop those that come again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from camino.segment.v1.membership_webhook_pb2 import LostChanges, WebhookMessage
from camino.segment.v1.segment_events_pb2 import MembershipChanged
from google.protobuf.json_format import MessageToJson

from services.chassis.ids import derive_id, new_id
from services.chassis.tail import Place
from services.chassis.wire import timestamp
from services.segment.webhooks.webhook import Loss, Webhook

CHANGED = "camino.segment.membership_changed"
LOST = "camino.segment.changes_lost"
TEST = "camino.segment.test"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that is ready to be signed."""

    id: str
    body: bytes


def changed(key: str, webhook: Webhook, hand: Place, changes: Iterable[MembershipChanged]) -> Outgoing:
    """Tells what is in hand. Made again it's the same, but for people who were erased meanwhile."""
    message = _message(key, CHANGED)
    message.changes.extend(changes)
    return _outgoing(_id(key, webhook, CHANGED, hand, *webhook.definition.segment_ids), message)


def lost(key: str, webhook: Webhook, loss: Loss) -> Outgoing:
    """Tells of a loss."""
    message = _message(key, LOST)
    message.lost.CopyFrom(lost_changes(loss))
    return _outgoing(_id(key, webhook, LOST), message)


def test(key: str) -> Outgoing:
    """Tells nothing. Each is another one."""
    return _outgoing(f"msg_{new_id()}", _message(key, TEST))


def lost_changes(loss: Loss) -> LostChanges:
    return LostChanges(after_time=timestamp(loss.after), notice_time=timestamp(loss.noticed_at))


def _id(key: str, webhook: Webhook, kind: str, to: Place | None = None, *more: str) -> str:
    places = (_named(place) for place in (webhook.place, to) if place)
    # After a loss the same sequences may be those of other changes.
    return f"msg_{derive_id(kind, key, str(webhook.created_at), str(webhook.losses), *places, *more)}"


def _named(place: Place) -> str:
    return f"{place.made_at} {place.sequence}"


def _message(key: str, kind: str) -> WebhookMessage:
    workspace_id, _, webhook_id = key.partition("/")
    return WebhookMessage(type=kind, workspace_id=workspace_id, membership_webhook_id=webhook_id)


def _outgoing(id_: str, message: WebhookMessage) -> Outgoing:
    # With what is false and 0, so that a receiver needs no schema to know what isn't there.
    text = MessageToJson(message, indent=None, always_print_fields_with_no_presence=True, ensure_ascii=False)
    return Outgoing(id_, text.encode())
