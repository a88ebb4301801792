"""`camino.channels.v1.MessageService`."""

from __future__ import annotations

import asyncio
from typing import Any

from camino.channels.v1 import message_service_pb2, message_service_pb2_grpc

from services.channels import convert, domain
from services.channels.domain import Resolution, State
from services.channels.gate import Work
from services.channels.sender import Sender
from services.channels.store import Store
from services.channels.suppressions import Suppressions
from services.chassis.clock import Clock
from services.chassis.documents import Document, change
from services.chassis.errors import InvalidArgument, NotFound
from services.chassis.server import Mounted


class MessageServicer(message_service_pb2_grpc.MessageServiceServicer):
    def __init__(self, store: Store, suppressions: Suppressions, sender: Sender, clock: Clock) -> None:
        self._store = store
        self._suppressions = suppressions
        self._sender = sender
        self._clock = clock

    async def GetMessage(self, request: Any, context: object) -> message_service_pb2.GetMessageResponse:
        key = convert.message_key(request.workspace_id, request.send_id)
        found = (await self._store.messages.get([key])).get(key)
        if found is None:
            raise NotFound.of("message", request.send_id)
        response = message_service_pb2.GetMessageResponse()
        convert.fill_message(response.message, key, found.body, history=True)
        return response

    async def ListMessages(self, request: Any, context: object) -> message_service_pb2.ListMessagesResponse:
        page = await self._store.messages.query(
            "by_state",
            request.workspace_id,
            int(request.state),
            limit=request.page_size or 100,
            after=request.page_token,
        )
        response = message_service_pb2.ListMessagesResponse(next_page_token=page.next)
        for document in page.documents:
            convert.fill_message(response.messages.add(), document.id, document.body, history=False)
        return response

    async def CountMessages(self, request: Any, context: object) -> message_service_pb2.CountMessagesResponse:
        counts = await asyncio.gather(
            *(self._store.messages.count("by_state", request.workspace_id, int(state)) for state in State)
        )
        response = message_service_pb2.CountMessagesResponse()
        for state, count in zip(State, counts, strict=True):
            response.counts.add(state=int(state), count=count)
        return response

    async def ResolveMessage(self, request: Any, context: object) -> message_service_pb2.ResolveMessageResponse:
        key = convert.message_key(request.workspace_id, request.send_id)
        now = self._clock.now()
        news = False

        def decide(_key: str, document: Document | None) -> dict[str, Any] | None:
            nonlocal news
            if document is None:
                raise NotFound.of("message", request.send_id)
            message = convert.message_of(key, document.body)
            resolved = domain.resolve(message, Resolution(request.resolution), request.note, now)
            news = resolved is not None
            if resolved is None:
                return None
            return convert.next_body(document.body, resolved, convert.request_of(document.body))

        document = (await change(self._store.messages, [key], decide))[key]
        message = convert.message_of(key, document.body)
        if message.terminal:
            # Also when it was resolved before: the caller may ask again because saying so failed.
            say = self._sender.settle if news else self._sender.settle_again
            await say([Work(document, message, convert.request_of(document.body))])
        else:
            self._sender.hint(convert.partition_of(document.body), message.due_at)
        response = message_service_pb2.ResolveMessageResponse()
        convert.fill_message(response.message, key, document.body, history=True)
        return response

    async def SuppressEndpoint(self, request: Any, context: object) -> message_service_pb2.SuppressEndpointResponse:
        key = _suppression(request)
        holding = await self._suppressions.add({key: request.reason or "by hand"}, self._clock.now())
        response = message_service_pb2.SuppressEndpointResponse()
        convert.fill_suppression(response.suppression, key, holding[key])
        return response

    async def UnsuppressEndpoint(self, request: Any, context: object) -> message_service_pb2.UnsuppressEndpointResponse:
        await self._suppressions.lift(_suppression(request), self._clock.now())
        return message_service_pb2.UnsuppressEndpointResponse()

    async def ListSuppressions(self, request: Any, context: object) -> message_service_pb2.ListSuppressionsResponse:
        page = await self._suppressions.page(request.workspace_id, request.page_size or 100, request.page_token)
        response = message_service_pb2.ListSuppressionsResponse(next_page_token=page.next)
        for document in page.documents:
            convert.fill_suppression(response.suppressions.add(), document.id, document.body)
        return response


def _suppression(request: Any) -> str:
    key = convert.suppression_key(request.workspace_id, request.channel, request.endpoint)
    if not key:
        raise InvalidArgument.at("endpoint", "must be one line of visible characters")
    return key


def mounted(servicer: MessageServicer) -> Mounted:
    return Mounted(
        message_service_pb2_grpc.add_MessageServiceServicer_to_server, servicer, "camino.channels.v1.MessageService"
    )
