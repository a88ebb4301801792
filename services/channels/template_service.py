"""`camino.channels.v1.TemplateService`."""

from __future__ import annotations

from typing import Any

from camino.channels.v1 import template_service_pb2, template_service_pb2_grpc

from services.channels import convert
from services.channels.library import Library
from services.channels.scope import Scope
from services.channels.store import Store
from services.channels.templates import RenderError
from services.chassis.clock import Clock
from services.chassis.errors import InvalidArgument, InvalidDefinition, Violation
from services.chassis.server import Mounted


class TemplateServicer(template_service_pb2_grpc.TemplateServiceServicer):
    def __init__(self, store: Store, library: Library, clock: Clock) -> None:
        self._store = store
        self._library = library
        self._clock = clock

    async def PublishTemplate(self, request: Any, context: object) -> template_service_pb2.PublishTemplateResponse:
        document = await self._library.publish(
            request.workspace_id, request.template_id, request.content, request.etag, self._clock.now()
        )
        response = template_service_pb2.PublishTemplateResponse()
        convert.fill_template(response.template, request.workspace_id, request.template_id, document.body)
        return response

    async def GetTemplate(self, request: Any, context: object) -> template_service_pb2.GetTemplateResponse:
        document = await self._library.read((request.workspace_id, request.template_id, request.version))
        response = template_service_pb2.GetTemplateResponse()
        convert.fill_template(response.template, request.workspace_id, request.template_id, document.body)
        return response

    async def ListTemplates(self, request: Any, context: object) -> template_service_pb2.ListTemplatesResponse:
        page = await self._store.templates.scan(
            limit=request.page_size or 100, after=request.page_token, prefix=f"{request.workspace_id}/"
        )
        response = template_service_pb2.ListTemplatesResponse(next_page_token=page.next)
        for document in page.documents:
            template_id = document.id.partition("/")[2]
            convert.fill_template(response.templates.add(), request.workspace_id, template_id, document.body)
        return response

    async def RenderTemplate(self, request: Any, context: object) -> template_service_pb2.RenderTemplateResponse:
        name = (request.workspace_id, request.template_id, 0)
        await self._library.read(name)
        template = (await self._library.compiled([name]))[name]
        if isinstance(template, InvalidDefinition):
            raise template
        scope = Scope(
            profile=request.profile,
            event=request.event,
            read=convert.shown_value,
            profile_id="profile",
            message_id="message",
            topic="topic",
            now=self._clock.now(),
        )
        try:
            rendered = template.render(scope)
        except RenderError as error:
            raise InvalidArgument(
                str(error), reason="TEMPLATE_RENDER_FAILED", violations=[Violation(error.field, str(error))]
            ) from None
        return template_service_pb2.RenderTemplateResponse(
            subject=rendered.subject, text=rendered.text, html=rendered.html
        )


def mounted(servicer: TemplateServicer) -> Mounted:
    return Mounted(
        template_service_pb2_grpc.add_TemplateServiceServicer_to_server, servicer, "camino.channels.v1.TemplateService"
    )
