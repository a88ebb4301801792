"""What a journey or a campaign names must have been published."""

from __future__ import annotations

from camino.channels.v1 import template_pb2
from camino.segment.v1 import segment_pb2
from camino.testing.fake.refusal import Violation
from camino.testing.fake.world import World
from camino.type.v1 import messaging_pb2


class References:
    """Looks up what a definition names, and keeps what is wrong in `violations`."""

    def __init__(self, world: World, workspace_id: str) -> None:
        self._world = world
        self._workspace_id = workspace_id
        self.violations: list[Violation] = []

    def template(self, send: messaging_pb2.SendSpec, where: str) -> int:
        """The version of a template that is for the channel; 0 if there is none."""
        found = self._world.get(template_pb2.Template, self._workspace_id, send.template_id)
        if found is None:
            message = f"there is no template {send.template_id!r}; publish it first"
            self.violations.append(Violation(f"{where}.template_id", message))
            return 0
        content = found.content
        channel = messaging_pb2.CHANNEL_EMAIL if content.HasField("email") else content.text.channel
        if channel != send.channel:
            message = f"template {send.template_id!r} is for {messaging_pb2.Channel.Name(channel)}"
            self.violations.append(Violation(f"{where}.channel", message))
        return found.version

    def segment(self, segment_id: str, field: str) -> None:
        if self._world.get(segment_pb2.Segment, self._workspace_id, segment_id) is None:
            self.violations.append(Violation(field, f"there is no segment {segment_id!r}; publish it first"))
