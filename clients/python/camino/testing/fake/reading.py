"""Getting and listing resources, which is the same for nearly all: what differs is read from the descriptors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from camino.channels.v1 import message_pb2
from camino.ops.v1 import dead_letter_pb2
from camino.orchestrator.v1 import decision_pb2, journey_pb2
from camino.profile.v1 import operation_pb2
from camino.testing.fake.pages import page
from camino.testing.fake.refusal import not_found
from camino.testing.fake.values import instant
from camino.testing.fake.world import World
from camino.testing.rpcs import Rpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_NEWEST_FIRST: dict[type[Message], str] = {
    operation_pb2.Operation: "create_time",
    journey_pb2.Run: "create_time",
    decision_pb2.Decision: "decide_time",
}
_OLDEST_FIRST: dict[type[Message], str] = {
    message_pb2.Message: "update_time",
    dead_letter_pb2.DeadLetter: "create_time",
}
"""All others are listed in the order of their ids."""


def reading(world: World, rpc: Rpc) -> Callable[[Any], Message] | None:
    """How to answer a method that gets or lists resources; None if it does something else."""
    if rpc.pages and rpc.reply.DESCRIPTOR.fields_by_name[rpc.listed].message_type:
        return partial(listing, world, rpc)
    if rpc.method.startswith("Get"):
        return partial(getting, world, rpc)
    return None


def getting(world: World, rpc: Rpc, request: Any) -> Message:
    """The resource with the id in the request. Raises `Refusal` (NOT_FOUND)."""
    [field] = rpc.reply.DESCRIPTOR.fields
    kind = _kind(field)
    [id_field] = [name for name in rpc.request.DESCRIPTOR.fields_by_name if _names_resource(name)]
    id_ = getattr(request, id_field)
    found = world.get(kind, request.workspace_id, id_)
    if found is None:
        raise not_found(field.name, id_)
    return rpc.reply(**{field.name: found})


def _names_resource(field: str) -> bool:
    return field.endswith("_id") and field != "workspace_id"


def listing(world: World, rpc: Rpc, request: Any) -> Any:
    """A page of the resources that have what the request says, e.g. a profile or a state."""
    field = rpc.reply.DESCRIPTOR.fields_by_name[rpc.listed]
    kind = _kind(field)
    asked = {
        name: getattr(request, name)
        for name in rpc.request.DESCRIPTOR.fields_by_name
        if name in kind.DESCRIPTOR.fields_by_name and name != "workspace_id"
    }
    resources = world.all(kind, request.workspace_id) if rpc.has("workspace_id") else world.everywhere(kind)
    instant_field = _NEWEST_FIRST.get(kind) or _OLDEST_FIRST.get(kind)
    items = [
        ((instant(getattr(resource, instant_field)) if instant_field else 0, id_), resource)
        for id_, resource in resources
        if all(_is(world, request, name, getattr(resource, name), value) for name, value in asked.items())
    ]
    chosen, token = page(request, items, newest_first=kind in _NEWEST_FIRST)
    reply = rpc.reply(**{rpc.listed: chosen, "next_page_token": token})
    if "total_size" in rpc.reply.DESCRIPTOR.fields_by_name:
        setattr(reply, "total_size", len(items))  # noqa: B010 - no field of messages in general
    return reply


def _is(world: World, request: Any, name: str, found: object, asked: object) -> bool:
    """Whether a resource has what is asked for; of profiles that turned out to be one person each id means all."""
    if name != "profile_id":
        return found == asked
    ledger = world.ledger(request.workspace_id)
    return ledger.meant(str(found)) == ledger.meant(str(asked))


def _kind(field: Any) -> type[Message]:
    """What a field holds."""
    kind: type[Message] = GetMessageClass(field.message_type)
    return kind
