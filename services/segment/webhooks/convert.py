"""Webhooks between the wire, the domain and the store."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from camino.segment.v1 import membership_webhook_pb2 as pb

from services.chassis.clock import Instant
from services.chassis.ids import partition_of
from services.chassis.tail import Place
from services.chassis.wire import timestamp
from services.segment.webhooks.messages import lost_changes
from services.segment.webhooks.webhook import Definition, Failure, Loss, Secret, Standing, Webhook

Body = dict[str, Any]

_STATES = {
    Standing.ACTIVE: pb.WEBHOOK_STATE_ACTIVE,
    Standing.FAILING: pb.WEBHOOK_STATE_FAILING,
    Standing.PAUSED: pb.WEBHOOK_STATE_PAUSED,
}


def key_of(workspace_id: str, webhook_id: str) -> str:
    return f"{workspace_id}/{webhook_id}"


# --- documents --------------------------------------------------------------------------------------------------------


def body_of(key: str, webhook: Webhook, partitions: int) -> Body:
    """With `active_in`, the partition that tells it, unless it's paused; and `failing_in` and `failing_since`, if it
    fails."""
    definition, failure, lost = webhook.definition, webhook.failure, webhook.lost
    body: Body = {
        "url": definition.url,
        "segments": list(definition.segment_ids),
        "paused": definition.paused,
        "secrets": [[secret.key, secret.until] for secret in webhook.secrets],
        "created_at": webhook.created_at,
        "updated_at": webhook.updated_at,
        "place": list(webhook.place),
        "hand": list(webhook.hand) if webhook.hand else None,
        "gone": webhook.gone,
        "told_at": webhook.told_at,
        "failure": [failure.began_at, failure.attempts, failure.error, failure.retry_at] if failure else None,
        "losses": webhook.losses,
        "lost": [lost.after, lost.noticed_at] if lost else None,
        "owes_notice": webhook.owes_notice,
    }
    partition = partition_of(key, partitions)
    if webhook.standing is not Standing.PAUSED:
        body["active_in"] = partition
    if failure and webhook.standing is Standing.FAILING:
        body.update(failing_in=partition, failing_since=failure.began_at)
    return body


def webhook_of(body: Body) -> Webhook:
    return Webhook(
        Definition(body["url"], tuple(body["segments"]), body["paused"]),
        tuple(Secret(*row) for row in body["secrets"]),
        body["created_at"],
        body["updated_at"],
        Place(*body["place"]),
        Place(*body["hand"]) if body["hand"] else None,
        body["gone"],
        body["told_at"],
        Failure(*body["failure"]) if body["failure"] else None,
        body["losses"],
        Loss(*body["lost"]) if body["lost"] else None,
        body["owes_notice"],
    )


# --- the wire ---------------------------------------------------------------------------------------------------------


def definition_of(wire: pb.MembershipWebhookDefinition) -> Definition:
    return Definition(wire.url, tuple(wire.segment_ids), wire.paused)


def etag_of(definition: Definition) -> str:
    """The same definition has the same."""
    data: bytes = _definition(definition).SerializeToString(deterministic=True)
    return sha256(data).hexdigest()[:32]


def wire_of(key: str, webhook: Webhook, now: Instant) -> pb.MembershipWebhook:
    """A webhook as callers see it: without its secrets."""
    workspace_id, _, webhook_id = key.partition("/")
    wire = pb.MembershipWebhook(
        workspace_id=workspace_id,
        membership_webhook_id=webhook_id,
        definition=_definition(webhook.definition),
        etag=etag_of(webhook.definition),
        create_time=timestamp(webhook.created_at),
        update_time=timestamp(webhook.updated_at),
        state=_STATES[webhook.standing],
        pause=_pause(webhook),
        deliver_time=timestamp(webhook.told_at) if webhook.told_at else None,
        failure=_failure(webhook.failure) if webhook.failure else None,
        loss_count=webhook.losses,
        lost=lost_changes(webhook.lost) if webhook.lost else None,
    )
    ends = [secret.until for secret in webhook.secrets if secret.until > now]
    if ends:
        wire.old_secret_expire_time.CopyFrom(timestamp(max(ends)))
    return wire


def _definition(definition: Definition) -> pb.MembershipWebhookDefinition:
    return pb.MembershipWebhookDefinition(
        url=definition.url, segment_ids=definition.segment_ids, paused=definition.paused
    )


def _pause(webhook: Webhook) -> pb.WebhookPause:
    if webhook.definition.paused:
        return pb.WEBHOOK_PAUSE_DEFINITION
    return pb.WEBHOOK_PAUSE_GONE if webhook.gone else pb.WEBHOOK_PAUSE_UNSPECIFIED


def _failure(failure: Failure) -> pb.WebhookFailure:
    return pb.WebhookFailure(
        begin_time=timestamp(failure.began_at),
        attempts=failure.attempts,
        error=failure.error,
        retry_time=timestamp(failure.retry_at) if failure.retry_at else None,
    )
