"""Every method of every `camino.*` service, as its descriptor declares it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import camino
from camino.errors.v1 import reason_pb2
from camino.options.v1 import options_pb2
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_READ_ONLY = 1
_IDEMPOTENT = 2


@dataclass(frozen=True, slots=True)
class Rpc:
    """A method, and what it declares."""

    service: str
    """The service's full name, e.g. `camino.profile.v1.ProfileService`."""
    method: str
    request: type[Message]
    reply: type[Message]
    streaming: bool
    """Takes many requests in one call, and answers each, in order."""
    telling: bool
    """Takes one request, and answers with responses as they come."""
    one_way: bool
    """Streams its requests, and answers none of them."""
    read_only: bool
    idempotent: bool
    """A request may be sent again with no second effect; what is read only may, too."""
    scope: str
    items_field: str
    """The request's field whose items fail alone; empty if the request succeeds or fails as a whole."""
    reasons: frozenset[int]
    """Why a call may fail, the common reasons included."""
    item_reasons: frozenset[int]

    @property
    def name(self) -> str:
        """As the examples call it, e.g. `ProfileService.GetProfile`."""
        return f"{self.service.rpartition('.')[2]}.{self.method}"

    @property
    def full_name(self) -> str:
        return f"{self.service}.{self.method}"

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.method}"

    def has(self, field: str) -> bool:
        """Whether the request has a field of this name."""
        return field in self.request.DESCRIPTOR.fields_by_name

    @property
    def pages(self) -> bool:
        """Whether it lists by pages (AIP-158)."""
        return self._goes_on and any(field.is_repeated for field in self.reply.DESCRIPTOR.fields)

    @property
    def parts(self) -> bool:
        """Whether it reads one thing, part by part."""
        return self._goes_on and not self.pages

    @property
    def _goes_on(self) -> bool:
        return self.has("page_token") and "next_page_token" in self.reply.DESCRIPTOR.fields_by_name

    @property
    def listed(self) -> str:
        """The field of a page that holds its items."""
        [field] = [field.name for field in self.reply.DESCRIPTOR.fields if field.is_repeated]
        return field


@cache
def rpcs() -> tuple[Rpc, ...]:
    """All methods that this version of the contract knows, in a fixed order."""
    return tuple(_rpc(method) for file in files() for service in _services(file) for method in service)


@cache
def files() -> tuple[FileDescriptor, ...]:
    """The files of all `camino.*.v1` packages."""
    found = {path.relative_to(root) for root in map(Path, camino.__path__) for path in root.glob("*/v1/*_pb2.py")}
    modules = (importlib.import_module(".".join(("camino", *path.with_suffix("").parts))) for path in sorted(found))
    return tuple(module.DESCRIPTOR for module in modules)


@cache
def facts() -> tuple[type[Message], ...]:
    """The messages that are published to JetStream: those that declare what their subject ends with."""
    return tuple(
        GetMessageClass(message)
        for file in files()
        for message in file.message_types_by_name.values()
        if message.GetOptions().Extensions[options_pb2.subject_key]
    )


def status_of(reason: int) -> str:
    """The name of the gRPC status that calls which fail for this reason end with; empty if no call does."""
    options = reason_pb2.Reason.DESCRIPTOR.values_by_number[reason].GetOptions()
    return str(options.Extensions[reason_pb2.status])


def reason_name(reason: int) -> str:
    return str(reason_pb2.Reason.Name(reason)).removeprefix("REASON_")


def _services(file: FileDescriptor) -> Iterator[list[MethodDescriptor]]:
    for service in file.services_by_name.values():
        yield list(service.methods)


def _rpc(method: MethodDescriptor) -> Rpc:
    options = method.GetOptions()
    extensions = options.Extensions
    common = {
        value.number
        for value in reason_pb2.Reason.DESCRIPTOR.values
        if value.GetOptions().Extensions[reason_pb2.common]
    }
    return Rpc(
        service=method.containing_service.full_name,
        method=method.name,
        request=GetMessageClass(method.input_type),
        reply=GetMessageClass(method.output_type),
        streaming=method.client_streaming and method.server_streaming,
        telling=method.server_streaming and not method.client_streaming,
        one_way=method.client_streaming and not method.server_streaming,
        read_only=options.idempotency_level == _READ_ONLY,
        idempotent=options.idempotency_level in (_READ_ONLY, _IDEMPOTENT),
        scope=extensions[options_pb2.required_scope],
        items_field=extensions[options_pb2.items_field],
        reasons=frozenset({*common, *extensions[options_pb2.reasons]}),
        item_reasons=frozenset({reason_pb2.REASON_INVALID_FIELD, *extensions[options_pb2.item_reasons]}),
    )
