"""Definitions as they come in: checked as a whole, against the other services too, before anything is kept."""

from __future__ import annotations

from hashlib import sha256

from camino.channels.v1 import template_pb2
from camino.orchestrator.v1 import campaign_pb2, journey_pb2
from camino.type.v1 import messaging_pb2
from google.protobuf.message import Message

from services.chassis.errors import EtagMismatch, InvalidDefinition, Violation
from services.orchestrator import convert
from services.orchestrator.clients import Segments, Templates
from services.orchestrator.domain.journey import violations


def etag_of(definition: Message, *more: object) -> str:
    """The same for the same definition, whoever computes it."""
    seen = definition.SerializeToString(deterministic=True) + repr(more).encode()
    return sha256(seen).hexdigest()[:16]


def check_etag(given: str, current: str) -> None:
    """Raise `EtagMismatch` if an etag is given and isn't the current one (AIP-154)."""
    if given and given != current:
        raise EtagMismatch(current)


class Checks:
    """What a definition names must exist: templates of the right channel, and segments."""

    def __init__(self, templates: Templates, segments: Segments) -> None:
        self._templates = templates
        self._segments = segments

    async def journey(self, workspace_id: str, definition: journey_pb2.JourneyDefinition) -> dict[str, int]:
        """The versions of the templates that the journey uses from now on. Raises `InvalidDefinition` with every
        violation."""
        found = list(violations(convert.steps_of(definition, {})))
        versions: dict[str, int] = {}
        for number, step in enumerate(definition.steps):
            where = f"definition.steps[{number}]"
            if step.HasField("send"):
                version = await self._template(workspace_id, step.send, f"{where}.send", found)
                versions[step.send.template_id] = version
            for branch_number, branch in enumerate(step.condition.branches):
                field = f"{where}.condition.branches[{branch_number}].in_segment"
                if branch.in_segment:
                    await self._segment(workspace_id, branch.in_segment, field, found)
        if found:
            raise InvalidDefinition(found)
        return versions

    async def campaign(self, workspace_id: str, definition: campaign_pb2.CampaignDefinition) -> int:
        """The version of the template that the campaign uses. Raises `InvalidDefinition` with every violation."""
        found: list[Violation] = []
        version = await self._template(workspace_id, definition.send, "definition.send", found)
        await self._segment(workspace_id, definition.segment_id, "definition.segment_id", found)
        if found:
            raise InvalidDefinition(found)
        return version

    async def _template(
        self, workspace_id: str, send: messaging_pb2.SendSpec, where: str, found: list[Violation]
    ) -> int:
        template = await self._templates.get(workspace_id, send.template_id)
        if template is None:
            found.append(
                Violation(f"{where}.template_id", f"there is no template {send.template_id!r}; publish it first")
            )
            return 0
        if (channel := _channel_of(template.content)) != send.channel:
            name = messaging_pb2.Channel.Name(channel)
            found.append(Violation(f"{where}.channel", f"template {send.template_id!r} is for {name}"))
        return int(template.version)

    async def _segment(self, workspace_id: str, segment_id: str, field: str, found: list[Violation]) -> None:
        if not await self._segments.exists(workspace_id, segment_id):
            found.append(Violation(field, f"there is no segment {segment_id!r}; publish it first"))


def _channel_of(content: template_pb2.TemplateContent) -> int:
    return messaging_pb2.CHANNEL_EMAIL if content.HasField("email") else int(content.text.channel)
