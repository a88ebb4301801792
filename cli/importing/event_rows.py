"""Rows as events, by a mapping."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from camino.client import derived_event_id
from camino.profile.v1.profile_pb2 import Identity
from camino.profile.v1.profile_service_pb2 import EventInput

from cli.importing import cells
from cli.importing.cells import Cell, Row
from cli.importing.columns import column
from cli.importing.instants import instant_reader, timestamp, zone_of
from cli.importing.records import Record, Unmappable
from cli.importing.row_fields import NamedValues, at_column, text_at

if TYPE_CHECKING:
    from cli.importing.mapping import EventMapping


class EventRows:
    """Makes events of records."""

    def __init__(self, mapping: EventMapping) -> None:
        zone = zone_of(mapping.default_zone)
        self._mapping = mapping
        self._properties = NamedValues("properties", mapping.properties, zone)
        self._occurred_at = column(mapping.occurred_at) if mapping.occurred_at else None
        self._instant = instant_reader(self._occurred_at, zone) if self._occurred_at else None

    @property
    def columns(self) -> frozenset[str]:
        """Those that it needs."""
        mapping = self._mapping
        single = {mapping.event_id, mapping.type_from, self._occurred_at.name if self._occurred_at else ""}
        return frozenset(
            {*mapping.identity.values(), *mapping.event_id_from, *self._properties.columns, *single} - {""}
        )

    def __call__(self, record: Record) -> EventInput:
        """Raises `Unmappable`."""
        row, mapping = record.row, self._mapping
        event = EventInput(identity=self._identity(row))
        event.type = mapping.type or _required(row, mapping.type_from, "type")
        event.event_id = self._event_id(event.type, record)
        if self._occurred_at and self._instant:
            name = self._occurred_at.name
            event.occurred_at.CopyFrom(timestamp(at_column("occurred_at", name, self._instant, row.get(name, ""))))
        for name, value in self._properties.of(row):
            event.properties[name].CopyFrom(value)
        return event

    def _identity(self, row: Row) -> Identity:
        for namespace, name in self._mapping.identity.items():
            if value := text_at("identity.value", name, row):
                return Identity(namespace=namespace, value=value)
        raise Unmappable("identity", f"nothing in {' or '.join(map(repr, self._mapping.identity.values()))}")

    def _event_id(self, type_: str, record: Record) -> str:
        mapping = self._mapping
        if mapping.event_id:
            return _required(record.row, mapping.event_id, "event_id")
        if not mapping.event_id_from:
            return line_event_id(record)
        facts = [_fact(record.row.get(name, "")) for name in mapping.event_id_from]
        if not any(facts):
            raise Unmappable("event_id", f"nothing in {' and '.join(map(repr, mapping.event_id_from))}")
        try:
            return derived_event_id(type_, *facts)
        except ValueError as error:
            raise Unmappable("event_id", str(error)) from None


def line_event_id(record: Record) -> str:
    """The id of an event that has no name of its own: the same whenever the same line stands at the same place of a
    file, and another for each of several lines that are alike."""
    # A digest, because the text may hold any character.
    return derived_event_id("import", str(record.line), hashlib.sha256(record.text.encode()).hexdigest())


def _required(row: Row, name: str, field: str) -> str:
    if value := text_at(field, name, row):
        return value
    raise Unmappable(field, f"nothing in {name!r}")


def _fact(cell: Cell) -> str:
    return cells.text(cell) if not isinstance(cell, list) else ",".join(cell)
