"""What a test can see of a fake, and do to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, TypeVar

from camino.channels.v1 import message_pb2
from camino.errors.v1.reason_pb2 import Reason
from camino.ops.v1 import dead_letter_pb2, dead_letter_service_pb2
from camino.profile.v1 import profile_pb2
from camino.testing.fake.answers import answers
from camino.testing.fake.boundary import Boundary
from camino.testing.fake.callers import Caller
from camino.testing.fake.operations import workspace_of
from camino.testing.fake.profile_rules import rules_of
from camino.testing.fake.refusal import Refusal
from camino.testing.fake.script import Held, Script
from camino.testing.fake.segments import Segments
from camino.testing.fake.values import timestamp
from camino.testing.fake.world import World
from camino.type.v1 import messaging_pb2
from google.protobuf.message import Message
from protovalidate import Validator

R = TypeVar("R", bound=Message)


class Inside:
    """Everything but the server. What is put here stands for what Camino would have decided, computed or sent."""

    def __init__(self, tokens: Iterable[Caller], now: Callable[[], datetime], deletable: str) -> None:
        self._world = World(now)
        self._script = Script()
        self._segments = Segments(self._world)
        self._answers = answers(self._world, self._segments, deletable)
        self._boundary = Boundary(tokens, self._script, self._world.lock)
        self._validator = Validator()

    def events(self, workspace_id: str) -> list[profile_pb2.Event]:
        """The events that were taken, in that order."""
        return self.resources(profile_pb2.Event, workspace_id)

    def profiles(self, workspace_id: str) -> list[profile_pb2.Profile]:
        """The profiles, in the order in which they were made."""
        return self.resources(profile_pb2.Profile, workspace_id)

    def resources(self, kind: type[R], workspace_id: str) -> list[R]:
        """All of a kind that a workspace has, e.g. of `Journey`, `Run` or `Suppression`, first made first."""
        with self._world.lock:
            return [_copy(found) for _, found in self._world.all(kind, workspace_id)]

    def requests(self, method: str) -> Sequence[Message]:
        """What was asked by a method such as `camino.profile.v1.ProfileService/IngestEvents`, in order: the requests
        that were allowed and valid, also those that failed later. Raises ValueError for no method."""
        return self._script.requests(method)

    def state(self) -> object:
        """Everything that is held: equal to an earlier one if nothing has changed."""
        with self._world.lock:
            return self._world.snapshot()

    def fail_next(
        self, method: str, *, reason: Reason, message: str = "scripted", times: int = 1, done: bool = False
    ) -> None:
        """Let the next calls of a method fail. With `done`, what they ask for happens, and only the reply is lost, as
        when a connection breaks. Raises ValueError for a method that isn't there, and for a reason for which it can't
        fail by its contract."""
        self._script.fail_next(method, reason, message, times, done)

    def hold(self, method: str) -> AbstractContextManager[Held]:
        """Let the calls of a method hang, until their callers give them up. Raises ValueError for no method."""
        return self._script.hold(method)

    def put(self, resource: Message) -> None:
        """Put a resource there as it is, in the place of one with the same id: a campaign that runs, say. Raises
        ValueError for one that breaks the rules of the schema, and for what isn't a resource with an id."""
        has = resource.DESCRIPTOR.fields_by_name
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", resource.DESCRIPTOR.name).lower()
        id_field = next((field for field in (f"{name}_id", "send_id") if field in has), "")
        if not id_field or "workspace_id" not in has:
            raise ValueError(f"{resource.DESCRIPTOR.full_name} is no resource with an id in a workspace")
        self._put(getattr(resource, "workspace_id"), getattr(resource, id_field), resource)  # noqa: B009

    def put_message(self, workspace_id: str, **fields: Any) -> message_pb2.Message:
        """Put a message there, SENT unless `fields` say otherwise: what they leave out is made up."""
        now = timestamp(self._world.now())
        message = message_pb2.Message(
            **{
                "workspace_id": workspace_id,
                "send_id": self._world.new_id(),
                "profile_id": "somebody",
                "channel": messaging_pb2.CHANNEL_EMAIL,
                "endpoint": "somebody@example.com",
                "template_id": "template",
                "template_version": 1,
                "state": message_pb2.MESSAGE_STATE_SENT,
                "attempt": 1,
                "create_time": now,
                "update_time": now,
                "source_id": "source",
                **fields,
            }
        )
        self._put(workspace_id, message.send_id, message)
        return message

    def put_member(self, workspace_id: str, segment_id: str, profile_id: str, *, member: bool = True) -> None:
        """Say whether a profile is in a segment, which must have been published. Raises ValueError if it wasn't."""
        try:
            with self._world.lock:
                self._segments.put_member(workspace_id, segment_id, profile_id, member)
        except Refusal as refusal:
            raise ValueError(refusal.message) from None

    def put_dead_letter(self, workspace_id: str, *, handled: bool = False, **fields: Any) -> dead_letter_pb2.DeadLetter:
        """Put a dead letter there; what `fields` leave out is made up. `handled`: whether it's taken when it's
        redriven."""
        letter = dead_letter_pb2.DeadLetter(
            **{
                "dead_letter_id": f"{workspace_id}/{self._world.new_id()}",
                "consumer": "consumer",
                "subject": f"camino.profile.v1.ProfileChanged.{workspace_id}.0.somebody",
                "reason": "INVALID_FIELD: it can't be read",
                "create_time": timestamp(self._world.now()),
                **fields,
            }
        )
        reply = dead_letter_service_pb2.RedriveDeadLetterResponse(
            handled=handled, reason="" if handled else letter.reason
        )
        with self._world.lock:
            self._put(workspace_of(letter.dead_letter_id), letter.dead_letter_id, letter)
            self._world.put(workspace_of(letter.dead_letter_id), letter.dead_letter_id, reply)
        return letter

    def _put(self, workspace_id: str, id_: str, resource: Message) -> None:
        broken = self._validator.collect_violations(resource)
        if broken:
            raise ValueError(f"{resource.DESCRIPTOR.name} breaks its own rules: {broken[0].proto.message}")
        with self._world.lock:
            if isinstance(resource, profile_pb2.Profile):
                self._world.ledger(workspace_id).put(_copy(resource), rules_of(self._world, workspace_id))
            else:
                self._world.put(workspace_id, id_, _copy(resource))


def _copy(resource: R) -> R:
    copy = type(resource)()
    copy.CopyFrom(resource)
    return copy
