"""Records as items, or why they are none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from camino.profile.v1.profile_service_pb2 import EventInput, ProfileInput

from cli.importing.records import Record, Rejection, Unmappable

Item = EventInput | ProfileInput


class MakeItem(Protocol):
    @property
    def columns(self) -> frozenset[str]:
        """The columns that it needs."""
        ...

    def __call__(self, record: Record) -> Item:
        """Raises `Unmappable`."""
        ...


def items(records: Iterable[Record], make: MakeItem) -> Iterator[tuple[Record, Item | Rejection]]:
    """One for each record, in order."""
    for record in records:
        yield record, _item(record, make)


def _item(record: Record, make: MakeItem) -> Item | Rejection:
    if record.problem:
        return Rejection("UNREADABLE", "", record.problem)
    try:
        return make(record)
    except Unmappable as error:
        return Rejection("UNMAPPABLE", error.field, error.message)
    except UnicodeEncodeError:
        # JSON can write half of a character that takes two; protobuf, and UTF-8, can't.
        return Rejection("UNREADABLE", "", "holds half of a surrogate pair")
