"""`camino.segment.v1.MembershipWebhookService`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from camino.segment.v1 import membership_webhook_service_pb2 as pb
from camino.segment.v1 import membership_webhook_service_pb2_grpc
from camino.segment.v1.segment_events_pb2 import MembershipChanged

from services.chassis.clock import Clock
from services.chassis.documents import Document, change
from services.chassis.errors import Contention, EtagMismatch, InvalidDefinition, NotFound, Violation
from services.chassis.server import Mounted
from services.chassis.tail import Tail
from services.chassis.wire import timestamp
from services.segment.registry import Registry
from services.segment.store import Store
from services.segment.webhooks import convert, messages, urls
from services.segment.webhooks.posting import Poster
from services.segment.webhooks.signing import headers, new_secret
from services.segment.webhooks.webhook import OLD_SECRETS_SIGN_FOR, Definition, Webhook


class MembershipWebhookServicer(membership_webhook_service_pb2_grpc.MembershipWebhookServiceServicer):  # type: ignore[misc]
    """`put` is told that there is something to do; `http` says whether URLs may be without TLS."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        tail: Tail[MembershipChanged],
        poster: Poster,
        clock: Clock,
        partitions: int,
        put: Callable[[], None],
        http: bool,
    ) -> None:
        self._webhooks = store.webhooks
        self._registry = registry
        self._tail = tail
        self._poster = poster
        self._clock = clock
        self._partitions = partitions
        self._put = put
        self._http = http

    async def PutMembershipWebhook(self, request: Any, context: object) -> pb.PutMembershipWebhookResponse:
        definition = convert.definition_of(request.definition)
        if violations := [*self._violations(definition), *await self._unknown(request.workspace_id, definition)]:
            raise InvalidDefinition(violations)
        key = convert.key_of(request.workspace_id, request.membership_webhook_id)
        etag = convert.etag_of(definition)
        known = await self._webhooks.get([key])
        # A new one begins here; what is published after this was asked is told.
        begin = await self._tail.newest() if key not in known else None
        secret = new_secret()
        now = self._clock.now()
        made = False

        def put(_key: str, document: Document | None) -> convert.Body | None:
            nonlocal made
            made = False
            before = convert.webhook_of(document.body) if document else None
            current = convert.etag_of(before.definition) if before else ""
            if current != etag and request.etag not in ("", current):
                raise EtagMismatch(current)
            if before is not None:
                after = before.put(definition, now)
                return None if after is before else convert.body_of(key, after, self._partitions)
            if begin is None:
                raise Contention("the webhook was deleted meanwhile")
            made = True
            return convert.body_of(key, Webhook.new(definition, secret, begin, now), self._partitions)

        written = (await change(self._webhooks, [key], put, known=known))[key]
        self._put()
        webhook = convert.webhook_of(written.body)
        return pb.PutMembershipWebhookResponse(
            membership_webhook=convert.wire_of(key, webhook, now), secret=secret if made else ""
        )

    async def GetMembershipWebhook(self, request: Any, context: object) -> pb.GetMembershipWebhookResponse:
        key, webhook = await self._found(request)
        return pb.GetMembershipWebhookResponse(membership_webhook=convert.wire_of(key, webhook, self._clock.now()))

    async def ListMembershipWebhooks(self, request: Any, context: object) -> pb.ListMembershipWebhooksResponse:
        page = await self._webhooks.scan(
            limit=request.page_size or 100, after=request.page_token, prefix=f"{request.workspace_id}/"
        )
        now = self._clock.now()
        return pb.ListMembershipWebhooksResponse(
            membership_webhooks=[
                convert.wire_of(document.id, convert.webhook_of(document.body), now) for document in page.documents
            ],
            next_page_token=page.next,
        )

    async def DeleteMembershipWebhook(self, request: Any, context: object) -> pb.DeleteMembershipWebhookResponse:
        await self._webhooks.delete([convert.key_of(request.workspace_id, request.membership_webhook_id)])
        self._put()
        return pb.DeleteMembershipWebhookResponse()

    async def RotateWebhookSecret(self, request: Any, context: object) -> pb.RotateWebhookSecretResponse:
        key = convert.key_of(request.workspace_id, request.membership_webhook_id)
        secret = new_secret()
        now = self._clock.now()

        def rotate(_key: str, document: Document | None) -> convert.Body:
            if document is None:
                raise NotFound.of("membership_webhook", request.membership_webhook_id)
            return convert.body_of(key, convert.webhook_of(document.body).rotated(secret, now), self._partitions)

        await change(self._webhooks, [key], rotate)
        return pb.RotateWebhookSecretResponse(
            secret=secret, old_secret_expire_time=timestamp(now + OLD_SECRETS_SIGN_FOR)
        )

    async def SendTestWebhook(self, request: Any, context: object) -> pb.SendTestWebhookResponse:
        key, webhook = await self._found(request)
        message = messages.test(key)
        began = self._clock.now()
        signed = headers(message.id, began, message.body, webhook.keys(began))
        outcome = await self._poster.post(webhook.definition.url, message.body, signed)
        response = pb.SendTestWebhookResponse(delivered=outcome.taken, status=outcome.status, error=outcome.error)
        response.latency.FromMicroseconds(max(0, self._clock.now() - began))
        return response

    async def _found(self, request: Any) -> tuple[str, Webhook]:
        """Raises `NotFound`."""
        key = convert.key_of(request.workspace_id, request.membership_webhook_id)
        document = (await self._webhooks.get([key])).get(key)
        if document is None:
            raise NotFound.of("membership_webhook", request.membership_webhook_id)
        return key, convert.webhook_of(document.body)

    def _violations(self, definition: Definition) -> Iterable[Violation]:
        if found := urls.problem(definition.url, http=self._http):
            yield Violation("definition.url", found)

    async def _unknown(self, workspace_id: str, definition: Definition) -> list[Violation]:
        """Segments that aren't published."""
        if not definition.segment_ids:
            return []
        heads = (await self._registry.refresh(workspace_id)).heads
        return [
            Violation(f"definition.segment_ids[{place}]", f"there is no segment {segment_id!r}; publish it first")
            for place, segment_id in enumerate(definition.segment_ids)
            if segment_id not in heads
        ]


def mounted(servicer: MembershipWebhookServicer) -> Mounted:
    return Mounted(
        membership_webhook_service_pb2_grpc.add_MembershipWebhookServiceServicer_to_server,
        servicer,
        "camino.segment.v1.MembershipWebhookService",
    )
