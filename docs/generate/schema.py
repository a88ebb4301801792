"""What the protos declare, with their comments, as values for the pages to show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from camino.errors.v1 import reason_pb2


@dataclass(frozen=True, slots=True)
class Type:
    """A field's type: a scalar's name or the full name of a message or enum, and whether it's one, many or a map."""

    name: str
    many: bool = False
    key: str = ""
    """The type of a map's keys; empty if it isn't one."""


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: Type
    comment: str
    rules: tuple[str, ...]
    sensitive: bool
    choice: str
    """The oneof it belongs to, if any."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A oneof: at most one of its fields is set."""

    name: str
    fields: tuple[str, ...]
    required: bool


@dataclass(frozen=True, slots=True)
class Message:
    name: str
    """Within its package, e.g. `Profile`."""
    full_name: str
    comment: str
    fields: tuple[Field, ...]
    choices: tuple[Choice, ...]
    rules: tuple[str, ...]
    subject_key: str
    """Of a fact that is published: the path of the field whose value ends its subject."""


@dataclass(frozen=True, slots=True)
class Value:
    name: str
    number: int
    comment: str
    status: str
    """Of a `Reason`: the gRPC status that calls end with; empty if none does."""
    common: bool
    """Of a `Reason`: any call may fail for it."""


@dataclass(frozen=True, slots=True)
class Enum:
    name: str
    full_name: str
    comment: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Rpc:
    name: str
    full_name: str
    comment: str
    request: str
    reply: str
    client_streaming: bool
    server_streaming: bool
    read_only: bool
    idempotent: bool
    scope: str
    items_field: str
    reasons: tuple[int, ...]
    item_reasons: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    full_name: str
    comment: str
    rpcs: tuple[Rpc, ...]


@dataclass(frozen=True, slots=True)
class Option:
    """An option of Camino's own, as methods, fields and the like carry it."""

    full_name: str
    extends: str
    type: Type
    comment: str


@dataclass(frozen=True)
class File:
    """One file of the package `camino.*`."""

    name: str
    package: str
    services: tuple[Service, ...]
    messages: tuple[Message, ...]
    enums: tuple[Enum, ...]
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Schema:
    files: tuple[File, ...]

    @cached_property
    def messages(self) -> Mapping[str, Message]:
        """By full name, nested ones too."""
        return {message.full_name: message for file in self.files for message in file.messages}

    @property
    def services(self) -> Iterator[Service]:
        return (service for file in self.files for service in file.services)

    @property
    def facts(self) -> Iterator[Message]:
        """The messages that are published to JetStream."""
        return (message for message in self.messages.values() if message.subject_key)

    @cached_property
    def reasons(self) -> Mapping[int, Value]:
        """The values of `camino.errors.v1.Reason` by their numbers."""
        [found] = [
            enum
            for file in self.files
            for enum in file.enums
            if enum.full_name == reason_pb2.Reason.DESCRIPTOR.full_name
        ]
        return {value.number: value for value in found.values}
