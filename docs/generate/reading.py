"""Reading a descriptor set with source information: what it declares, with its comments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from buf.validate import validate_pb2
from camino.errors.v1 import reason_pb2
from camino.options.v1 import options_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
    ServiceDescriptorProto,
)

from docs.generate import rules
from docs.generate.schema import Choice, Enum, Field, File, Message, Option, Rpc, Schema, Service, Type, Value

Place = tuple[int, ...]
"""Where something is declared in its file, as `SourceCodeInfo.Location.path` has it: field numbers and indexes."""

_MESSAGE, _ENUM, _SERVICE, _EXTENSION = 4, 5, 6, 7
"""In a file."""
_FIELD, _NESTED_MESSAGE, _NESTED_ENUM = 2, 3, 4
"""In a message."""
_MEMBER = 2
"""Of values in an enum, and of methods in a service."""


def read(described: FileDescriptorSet) -> Schema:
    """Camino's own files of a descriptor set that has their imports and source information. Raises
    `rules.UnknownRule`."""
    enums = dict(_all_enums(described))
    own = sorted((file for file in described.file if file.package.startswith("camino.")), key=lambda file: file.name)
    return Schema(tuple(_Reader(file, enums).file() for file in own))


def _all_enums(described: FileDescriptorSet) -> Iterator[tuple[str, dict[int, str]]]:
    """The names of all enums' values, by the enum's full name."""

    def inside(prefix: str, holder: FileDescriptorProto | DescriptorProto) -> Iterator[tuple[str, dict[int, str]]]:
        for enum in holder.enum_type:
            yield f"{prefix}.{enum.name}", {value.number: value.name for value in enum.value}
        nested = holder.message_type if isinstance(holder, FileDescriptorProto) else holder.nested_type
        for message in nested:
            yield from inside(f"{prefix}.{message.name}", message)

    for file in described.file:
        yield from inside(file.package, file)


class _Reader:
    """Reads one file."""

    def __init__(self, file: FileDescriptorProto, enums: Mapping[str, Mapping[int, str]]) -> None:
        self._file = file
        self._enums = enums
        self._comments = {
            tuple(found.path): _comment(found.leading_comments or found.trailing_comments)
            for found in file.source_code_info.location
        }

    def file(self) -> File:
        file = self._file
        messages: list[Message] = []
        enums = [self._enum("", enum, (_ENUM, place)) for place, enum in enumerate(file.enum_type)]
        for place, message in enumerate(file.message_type):
            self._message("", message, (_MESSAGE, place), messages, enums)
        return File(
            file.name,
            file.package,
            tuple(self._service(service, (_SERVICE, place)) for place, service in enumerate(file.service)),
            tuple(messages),
            tuple(enums),
            tuple(self._option(option, (_EXTENSION, place)) for place, option in enumerate(file.extension)),
        )

    def _full(self, name: str) -> str:
        return f"{self._file.package}.{name}"

    def _said(self, place: Place) -> str:
        return self._comments.get(place, "")

    def _message(
        self, outer: str, message: DescriptorProto, place: Place, messages: list[Message], enums: list[Enum]
    ) -> None:
        """Add a message, and after it what is nested in it."""
        name = f"{outer}{message.name}"
        maps = {
            f".{self._full(name)}.{nested.name}": (nested.field[0], nested.field[1])
            for nested in message.nested_type
            if nested.options.map_entry
        }
        options = message.options.Extensions
        messages.append(
            Message(
                name,
                self._full(name),
                self._said(place),
                tuple(
                    self._field(message, field, (*place, _FIELD, index), maps)
                    for index, field in enumerate(message.field)
                ),
                tuple(_choices(message)),
                tuple(rules.of_message(options[validate_pb2.message])),
                options[options_pb2.subject_key],
            )
        )
        for index, enum in enumerate(message.enum_type):
            enums.append(self._enum(f"{name}.", enum, (*place, _NESTED_ENUM, index)))
        for index, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                self._message(f"{name}.", nested, (*place, _NESTED_MESSAGE, index), messages, enums)

    def _field(
        self,
        message: DescriptorProto,
        field: FieldDescriptorProto,
        place: Place,
        maps: Mapping[str, tuple[FieldDescriptorProto, FieldDescriptorProto]],
    ) -> Field:
        key, value = maps.get(field.type_name, (None, field))
        options = field.options.Extensions
        in_choice = field.HasField("oneof_index") and not field.proto3_optional
        return Field(
            field.name,
            Type(
                _type_name(value),
                many=field.label == FieldDescriptorProto.LABEL_REPEATED and key is None,
                key=_type_name(key) if key else "",
            ),
            self._said(place),
            tuple(rules.of_field(options[validate_pb2.field], self._enums.get(_type_name(field), {}))),
            options[options_pb2.sensitive],
            message.oneof_decl[field.oneof_index].name if in_choice else "",
        )

    def _enum(self, outer: str, enum: EnumDescriptorProto, place: Place) -> Enum:
        return Enum(
            f"{outer}{enum.name}",
            self._full(f"{outer}{enum.name}"),
            self._said(place),
            tuple(
                Value(
                    value.name,
                    value.number,
                    self._said((*place, _MEMBER, index)),
                    value.options.Extensions[reason_pb2.status],
                    value.options.Extensions[reason_pb2.common],
                )
                for index, value in enumerate(enum.value)
            ),
        )

    def _service(self, service: ServiceDescriptorProto, place: Place) -> Service:
        full_name = self._full(service.name)
        return Service(
            service.name,
            full_name,
            self._said(place),
            tuple(
                self._rpc(full_name, method, (*place, _MEMBER, index)) for index, method in enumerate(service.method)
            ),
        )

    def _rpc(self, service: str, method: MethodDescriptorProto, place: Place) -> Rpc:
        options = method.options.Extensions
        return Rpc(
            method.name,
            f"{service}.{method.name}",
            self._said(place),
            method.input_type.removeprefix("."),
            method.output_type.removeprefix("."),
            method.client_streaming,
            method.server_streaming,
            method.options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS,
            method.options.idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN,
            options[options_pb2.required_scope],
            options[options_pb2.items_field],
            tuple(options[options_pb2.reasons]),
            tuple(options[options_pb2.item_reasons]),
        )

    def _option(self, option: FieldDescriptorProto, place: Place) -> Option:
        many = option.label == FieldDescriptorProto.LABEL_REPEATED
        return Option(
            self._full(option.name),
            option.extendee.removeprefix("."),
            Type(_type_name(option), many),
            self._said(place),
        )


def _choices(message: DescriptorProto) -> Iterable[Choice]:
    for index, choice in enumerate(message.oneof_decl):
        fields = [
            field.name
            for field in message.field
            if field.HasField("oneof_index") and field.oneof_index == index and not field.proto3_optional
        ]
        # What is `optional` has a oneof of its own in the descriptor, which nobody declared.
        if fields:
            yield Choice(choice.name, tuple(fields), choice.options.Extensions[validate_pb2.oneof].required)


def _type_name(field: FieldDescriptorProto) -> str:
    name: str = field.type_name or FieldDescriptorProto.Type.Name(field.type).lower()
    return name.removeprefix(".").removeprefix("type_")


def _comment(text: str) -> str:
    """A comment's text, without the blank that follows each `//`."""
    return "\n".join(line.removeprefix(" ").rstrip() for line in text.strip("\n").split("\n"))
