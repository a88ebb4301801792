"""What an import is to do, as the command line says it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.importing.csv_records import csv_records
from cli.importing.items import Item, MakeItem, items
from cli.importing.ndjson_records import ndjson_records
from cli.importing.records import START, Position, Record, Rejection
from cli.importing.source import STDIN, Form, Source


@dataclass(frozen=True, slots=True)
class Order:
    file: str
    """A path, or `-`."""
    form: Form
    delimiter: str
    make: MakeItem
    """What its records become."""
    mapping: str
    """A digest of how they become it."""
    state: Path
    restart: bool
    rejects: Path
    max_rejects: int | None
    dry_run: bool
    quiet: bool

    @property
    def digest(self) -> str:
        """Differs for all that read the file in another way."""
        return hashlib.sha256(f"{self.form} {self.delimiter!r} {self.mapping}".encode()).hexdigest()

    def items(self, source: Source, at: Position = START) -> Iterator[tuple[Record, Item | Rejection]]:
        """Of the file, from a position on. Raises `HeaderError`, and OSError or EOFError while it's read."""
        wanted = self.make.columns
        if self.form is Form.CSV:
            return items(csv_records(source.content, delimiter=self.delimiter, wanted=wanted, at=at), self.make)
        return items(ndjson_records(source.content, wanted=wanted, at=at), self.make)


def beside(file: str, suffix: str) -> Path:
    """A file of ours, next to the imported one; of standard input, in the working directory."""
    return Path("stdin" + suffix if file == STDIN else file + suffix)
