"""`camino.segment.v1.MembershipWebhookService`: webhooks are checked and kept, and told nothing. A test message counts
as taken, without being posted."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import urlsplit

from camino.errors.v1 import reason_pb2
from camino.segment.v1 import membership_webhook_pb2, segment_pb2
from camino.segment.v1 import membership_webhook_service_pb2 as pb
from camino.testing.fake.publishing import published
from camino.testing.fake.refusal import Refusal, Violation, invalid, not_found
from camino.testing.fake.values import timestamp
from camino.testing.fake.world import World

_DAY = 24 * 3600 * 1_000_000
_MOST_SECRETS = 10

Webhook = membership_webhook_pb2.MembershipWebhook


class MembershipWebhooks:
    def __init__(self, world: World) -> None:
        self._world = world

    def PutMembershipWebhook(self, request: pb.PutMembershipWebhookRequest) -> pb.PutMembershipWebhookResponse:
        workspace_id, webhook_id = request.workspace_id, request.membership_webhook_id
        violations = list(_of_url(request.definition.url))
        for place, segment_id in enumerate(request.definition.segment_ids):
            if self._world.get(segment_pb2.Segment, workspace_id, segment_id) is None:
                violations.append(Violation(f"definition.segment_ids[{place}]", f"there is no segment {segment_id!r}"))
        if violations:
            raise invalid(violations, reason_pb2.REASON_INVALID_DEFINITION)
        before = self._world.get(Webhook, workspace_id, webhook_id)
        webhook = published(self._world, Webhook, request)
        if webhook is None:
            webhook = Webhook()
            webhook.CopyFrom(self._known(workspace_id, webhook_id))
        _let_go_on(webhook)
        self._world.put(workspace_id, webhook_id, webhook)
        return pb.PutMembershipWebhookResponse(membership_webhook=webhook, secret="" if before else self._new_secret())

    def DeleteMembershipWebhook(self, request: pb.DeleteMembershipWebhookRequest) -> pb.DeleteMembershipWebhookResponse:
        self._world.remove(Webhook, request.workspace_id, request.membership_webhook_id)
        for id_ in self._rotations(request.workspace_id, request.membership_webhook_id):
            self._world.remove(pb.RotateWebhookSecretResponse, request.workspace_id, id_)
        return pb.DeleteMembershipWebhookResponse()

    def RotateWebhookSecret(self, request: pb.RotateWebhookSecretRequest) -> pb.RotateWebhookSecretResponse:
        webhook = Webhook()
        webhook.CopyFrom(self._known(request.workspace_id, request.membership_webhook_id))
        now = self._world.now()
        rotations = self._rotations(request.workspace_id, request.membership_webhook_id)
        signing = [ends for ends in rotations.values() if ends > now]
        if len(signing) + 1 >= _MOST_SECRETS:
            message = f"{_MOST_SECRETS} secrets sign for this webhook already"
            raise Refusal(reason_pb2.REASON_WRONG_STATE, message)
        reply = pb.RotateWebhookSecretResponse(secret=self._new_secret(), old_secret_expire_time=timestamp(now + _DAY))
        self._world.put(request.workspace_id, f"{request.membership_webhook_id}/{len(rotations)}", reply)
        webhook.old_secret_expire_time.CopyFrom(reply.old_secret_expire_time)
        self._world.put(request.workspace_id, request.membership_webhook_id, webhook)
        return reply

    def SendTestWebhook(self, request: pb.SendTestWebhookRequest) -> pb.SendTestWebhookResponse:
        self._known(request.workspace_id, request.membership_webhook_id)
        reply = pb.SendTestWebhookResponse(delivered=True, status=204)
        reply.latency.SetInParent()
        return reply

    def _known(self, workspace_id: str, webhook_id: str) -> Webhook:
        found = self._world.get(Webhook, workspace_id, webhook_id)
        if found is None:
            raise not_found("membership_webhook", webhook_id)
        return found

    def _rotations(self, workspace_id: str, webhook_id: str) -> dict[str, int]:
        """When each secret from before signs no more."""
        kept = self._world.all(pb.RotateWebhookSecretResponse, workspace_id)
        return {
            id_: reply.old_secret_expire_time.ToMicroseconds()
            for id_, reply in kept
            if id_.partition("/")[0] == webhook_id
        }

    def _new_secret(self) -> str:
        return "whsec_" + b64encode(sha256(self._world.new_id().encode()).digest()).decode()


def _let_go_on(webhook: Webhook) -> None:
    """Have it go on, unless its definition says that it's paused."""
    if webhook.definition.paused:
        webhook.state = membership_webhook_pb2.WEBHOOK_STATE_PAUSED
        webhook.pause = membership_webhook_pb2.WEBHOOK_PAUSE_DEFINITION
        return
    failing = webhook.HasField("failure")
    webhook.state = (
        membership_webhook_pb2.WEBHOOK_STATE_FAILING if failing else membership_webhook_pb2.WEBHOOK_STATE_ACTIVE
    )
    webhook.pause = membership_webhook_pb2.WEBHOOK_PAUSE_UNSPECIFIED


def _of_url(text: str) -> Iterator[Violation]:
    try:
        url = urlsplit(text)
        host = url.hostname or ""
        url.port  # noqa: B018 - raises for one out of range
    except ValueError:
        yield Violation("definition.url", "isn't a URL")
        return
    if url.scheme not in ("http", "https"):
        yield Violation("definition.url", "must begin with https://")
    elif not host or any(character.isspace() for character in text):
        yield Violation("definition.url", "must have a host, and no spaces")
    elif "@" in url.netloc:
        yield Violation("definition.url", "must have no user and no password")
    elif "#" in text:
        yield Violation("definition.url", "must have no fragment")
    elif url.scheme == "http" and not _is_loopback(host):
        yield Violation("definition.url", "must begin with https://")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
