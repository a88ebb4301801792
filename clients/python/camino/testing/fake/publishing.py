"""Publishing definitions, which is the same for all of them: a version and an etag, and nothing happens when the same
comes again."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, TypeVar

from camino.testing.fake.refusal import etag_mismatch
from camino.testing.fake.values import timestamp
from camino.testing.fake.world import World
from google.protobuf.message import Message

R = TypeVar("R", bound=Message)


def published(world: World, kind: type[R], request: Any, *uses: object) -> R | None:
    """The resource as it becomes by the request, not put anywhere yet; None when it says this already.

    `uses` is what else the definition stands for, such as the versions of the templates it names. Raises `Refusal`
    (ETAG_MISMATCH).
    """
    id_, field = id_of(request), definition_field(request)
    definition: Message = getattr(request, field)
    etag = sha256(definition.SerializeToString(deterministic=True) + repr(uses).encode()).hexdigest()[:16]
    before: Any = world.get(kind, request.workspace_id, id_)
    current = before.etag if before else ""
    if etag == current:
        return None
    if request.etag and request.etag != current:
        raise etag_mismatch(current)
    after: Any = kind()
    if before:
        after.CopyFrom(before)
    after.workspace_id = request.workspace_id
    setattr(after, id_field(request), id_)
    getattr(after, field).CopyFrom(definition)
    after.etag = etag
    has = kind.DESCRIPTOR.fields_by_name
    now = timestamp(world.now())
    if "version" in has:
        after.version += 1
    if "update_time" in has:
        after.update_time.CopyFrom(now)
    # What isn't updated is made anew with each version.
    if before is None or "update_time" not in has:
        after.create_time.CopyFrom(now)
    published: R = after
    return published


def id_field(request: Message) -> str:
    """The field of the request that names the resource."""
    [name] = [name for name in request.DESCRIPTOR.fields_by_name if name.endswith("_id") and name != "workspace_id"]
    return name


def id_of(request: Message) -> str:
    id_: str = getattr(request, id_field(request))
    return id_


def definition_field(request: Message) -> str:
    [name] = [field.name for field in request.DESCRIPTOR.fields if field.message_type]
    return name
