"""What is read from a file, one after the other, and where it stands there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cli.importing.cells import Row


@dataclass(frozen=True, slots=True)
class Position:
    """Between two records of a file."""

    offset: int
    """In bytes of its content, uncompressed."""
    line: int
    """The next line, from 1."""


START = Position(0, 1)


@dataclass(frozen=True, slots=True)
class Record:
    line: int
    """Its first line, from 1; a record of CSV may have several."""
    text: str
    """As it stands in the file, without the end of its line."""
    after: Position
    """Where the next one begins."""
    row: Row = field(default_factory=dict)
    """Its cells by the names of their columns."""
    problem: str = ""
    """Why it can't be read; empty if it can."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a record wasn't taken."""

    reason: str
    """`UNREADABLE`, `UNMAPPABLE`, or the service's, such as `INVALID_FIELD`."""
    field: str
    """Of the item that it was to become, such as `properties.value`; empty if it's about no field."""
    message: str


class Unmappable(Exception):
    """A record that doesn't become an item."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class HeaderError(Exception):
    """The first row of a CSV file doesn't name its columns as the mapping needs them."""


def check_header(columns: Mapping[str, int], wanted: frozenset[str]) -> None:
    """`columns`: how often each is in the header. Raises `HeaderError`."""
    missing = sorted(name for name in wanted if name not in columns)
    if missing:
        raise HeaderError(f"there is no column {_names(missing)}; the file has {_names(list(columns)) or 'none'}")
    twice = sorted(name for name in wanted if columns[name] > 1)
    if twice:
        raise HeaderError(f"several columns are named {_names(twice)}: which is meant?")


def _names(names: list[str]) -> str:
    return ", ".join(map(repr, names))
