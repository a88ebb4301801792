"""Lines that hold items as the API has them, in protobuf's JSON mapping."""

from __future__ import annotations

from camino.profile.v1.profile_service_pb2 import EventInput
from google.protobuf.json_format import Parse, ParseError

from cli.importing.event_rows import line_event_id
from cli.importing.items import Item
from cli.importing.records import Record, Unmappable


class ProtoJson:
    """Makes items of this kind; an event without an id gets the one of its line."""

    columns: frozenset[str] = frozenset()
    """It needs none."""

    def __init__(self, kind: type[Item]) -> None:
        self._kind = kind

    def __call__(self, record: Record) -> Item:
        """Raises `Unmappable`."""
        item = self._kind()
        if not record.text.lstrip().startswith("{"):  # Of other JSON, the parser makes what it can.
            raise Unmappable("", f"no {self._kind.DESCRIPTOR.name} in JSON: the line is no object")
        try:
            Parse(record.text, item)
        except (ParseError, RecursionError) as error:
            raise Unmappable("", f"no {self._kind.DESCRIPTOR.name} in JSON: {error}") from None
        if isinstance(item, EventInput) and not item.event_id:
            item.event_id = line_event_id(record)
        return item
