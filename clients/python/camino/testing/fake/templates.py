"""`camino.channels.v1.TemplateService`: templates and their versions."""

from __future__ import annotations

from camino.channels.v1 import template_pb2
from camino.channels.v1 import template_service_pb2 as pb
from camino.errors.v1 import reason_pb2
from camino.testing.fake.publishing import published
from camino.testing.fake.refusal import invalid, not_found
from camino.testing.fake.rendering import Liquid
from camino.testing.fake.showing import names
from camino.testing.fake.world import World


class Templates:
    """Each version is kept as its publisher was answered."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._liquid = Liquid()

    def PublishTemplate(self, request: pb.PublishTemplateRequest) -> pb.PublishTemplateResponse:
        violations = list(self._liquid.violations(request.content))
        if violations:
            raise invalid(violations, reason_pb2.REASON_INVALID_DEFINITION)
        template = published(self._world, template_pb2.Template, request)
        if template:
            self._world.put(request.workspace_id, request.template_id, template)
            version = pb.PublishTemplateResponse(template=template)
            self._world.put(request.workspace_id, f"{request.template_id}@{template.version}", version)
        return pb.PublishTemplateResponse(template=self._current(request.workspace_id, request.template_id))

    def GetTemplate(self, request: pb.GetTemplateRequest) -> pb.GetTemplateResponse:
        if not request.version:
            return pb.GetTemplateResponse(template=self._current(request.workspace_id, request.template_id))
        id_ = f"{request.template_id}@{request.version}"
        version = self._world.get(pb.PublishTemplateResponse, request.workspace_id, id_)
        if version is None:
            raise not_found("template", id_)
        return pb.GetTemplateResponse(template=version.template)

    def RenderTemplate(self, request: pb.RenderTemplateRequest) -> pb.RenderTemplateResponse:
        template = self._current(request.workspace_id, request.template_id)
        shown = names(request.profile, request.event, self._world.now())
        return pb.RenderTemplateResponse(**self._liquid.render(template.content, shown))

    def _current(self, workspace_id: str, template_id: str) -> template_pb2.Template:
        found = self._world.get(template_pb2.Template, workspace_id, template_id)
        if found is None:
            raise not_found("template", template_id)
        return found
