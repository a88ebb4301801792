"""Rows as profiles, by a mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from camino.profile.v1.profile_pb2 import CONSENT_STATE_OPTED_IN, CONSENT_STATE_OPTED_OUT, Consent, ConsentState
from camino.profile.v1.profile_service_pb2 import ProfileInput
from camino.type.v1.messaging_pb2 import Channel
from google.protobuf.timestamp_pb2 import Timestamp

from cli.importing import cells
from cli.importing.cells import Cell, Row
from cli.importing.columns import column
from cli.importing.instants import instant_reader, timestamp, zone_of
from cli.importing.records import Record, Unmappable
from cli.importing.row_fields import NamedValues, at_column, text_at

if TYPE_CHECKING:
    from cli.importing.mapping import ProfileMapping

_STATES = {"opted_in": CONSENT_STATE_OPTED_IN, "opted_out": CONSENT_STATE_OPTED_OUT}


class ProfileRows:
    """Makes profiles of records."""

    def __init__(self, mapping: ProfileMapping) -> None:
        zone = zone_of(mapping.default_zone)
        as_of = timestamp(instant_reader(column("as_of"), zone)(mapping.as_of)) if mapping.as_of else None
        self._mapping = mapping
        self._attributes = NamedValues("attributes", mapping.attributes, zone)
        self._observed_at = _Since("observed_at", mapping.observed_at, zone, as_of)
        self._changed_at = _Since("changed_at", mapping.changed_at, zone, as_of)
        self._consents = [
            (Channel.Value(f"CHANNEL_{channel.upper()}"), topic, name)
            for (channel, _, topic), name in (
                (written.partition("/"), name) for written, name in mapping.consents.items()
            )
        ]

    @property
    def columns(self) -> frozenset[str]:
        """Those that it needs."""
        mapping = self._mapping
        single = {mapping.time_zone, mapping.locale, self._observed_at.column, self._changed_at.column}
        several = {*mapping.identity.values(), *self._attributes.columns, *mapping.consents.values()}
        return frozenset((several | single) - {""})

    def __call__(self, record: Record) -> ProfileInput:
        """Raises `Unmappable`."""
        row, mapping = record.row, self._mapping
        profile = ProfileInput(source=mapping.source)
        if (observed_at := self._observed_at.of(row)) is not None:
            profile.observed_at.CopyFrom(observed_at)
        for namespace, name in mapping.identity.items():
            if value := text_at("identities.value", name, row):
                profile.identities.add(namespace=namespace, value=value)
        if not profile.identities:
            raise Unmappable("identities", f"nothing in {' or '.join(map(repr, mapping.identity.values()))}")
        self._set_attributes(profile, row)
        self._add_consents(profile, row)
        if mapping.time_zone:
            profile.time_zone = text_at("time_zone", mapping.time_zone, row)
        if mapping.locale:
            profile.locale = text_at("locale", mapping.locale, row)
        return profile

    def _set_attributes(self, profile: ProfileInput, row: Row) -> None:
        for name, value in self._attributes.of(row):
            profile.attributes[name].value.CopyFrom(value)

    def _add_consents(self, profile: ProfileInput, row: Row) -> None:
        for channel, topic, name in self._consents:
            cell = row.get(name, "")
            if cell == "":
                continue
            state = at_column("consents.state", name, _state, cell)
            profile.consents.append(
                Consent(
                    channel=channel,
                    topic=topic,
                    state=state,
                    changed_at=self._changed_at.of(row),
                    source=self._mapping.consent_source,
                )
            )


class _Since:
    """Since when what a row says holds: by its column, else since the instant of which the file tells."""

    def __init__(self, field: str, written: str | None, zone: ZoneInfo | None, as_of: Timestamp | None) -> None:
        parsed = column(written) if written else None
        self.column = parsed.name if parsed else ""
        self._field = field
        self._read = instant_reader(parsed, zone) if parsed else None
        self._as_of = as_of

    def of(self, row: Row) -> Timestamp | None:
        """None if nothing says it. Raises `Unmappable` if the column is there to say it, and doesn't."""
        cell = row.get(self.column, "")
        if self._read is None or (cell == "" and self._as_of is not None):
            return self._as_of
        return timestamp(at_column(self._field, self.column, self._read, cell))


def _state(cell: Cell) -> ConsentState:
    word = cells.text(cell).strip().lower()
    if word in _STATES:
        return _STATES[word]
    try:
        return CONSENT_STATE_OPTED_IN if cells.flag(cell) else CONSENT_STATE_OPTED_OUT
    except ValueError:
        raise ValueError(f"{cells.shown(cell)} is neither opted_in nor opted_out, yes nor no") from None
