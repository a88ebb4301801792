"""Messages as text for logs, without what their schema marks as sensitive."""

from __future__ import annotations

from camino.options.v1 import options_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import Error, MessageToDict
from google.protobuf.message import Message

_HIDDEN = "***"


def redacted(message: Message) -> dict[str, object]:
    """The message as a JSON-like dict in which each sensitive field that is set reads `***`."""
    try:
        shown: dict[str, object] = MessageToDict(message, preserving_proto_field_name=True)
    except Error:
        # A timestamp out of range, say, has no text. The log must go on all the same, without the error's words.
        return {"not shown": message.DESCRIPTOR.full_name}
    return _hide(shown, message.DESCRIPTOR)


def _hide(shown: dict[str, object], kind: Descriptor) -> dict[str, object]:
    for name, value in shown.items():
        field = kind.fields_by_name.get(name)
        if field is None:
            continue
        if field.GetOptions().Extensions[options_pb2.sensitive]:
            shown[name] = _HIDDEN
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            shown[name] = _hide_in(value, field)
    return shown


def _hide_in(value: object, field: FieldDescriptor) -> object:
    kind = field.message_type
    if kind.GetOptions().map_entry:
        inner = kind.fields_by_name["value"]
        if inner.type != FieldDescriptor.TYPE_MESSAGE or not isinstance(value, dict):
            return value
        return {key: _hide_in(item, inner) for key, item in value.items()}
    if isinstance(value, list):
        return [_hide_in(item, field) for item in value]
    # Well-known types are shown as plain strings, which hold nothing further.
    return _hide(value, kind) if isinstance(value, dict) else value
