"""The lines of a file, by bytes: so that a position in the middle of it can be named and gone to."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from camino.client.ingestion.pace import MOST_BYTES

from cli.importing.records import START, Position

_KEPT_OF_TOO_LONG = 1_000


class TooLong(Exception):
    """A record is larger than any call may be."""


class Lines(Iterator[str]):
    """Lines as text, their ends included. Bytes that aren't UTF-8 are kept as lone surrogates (PEP 383); a byte order
    mark at the start is dropped."""

    def __init__(self, stream: BinaryIO, at: Position = START) -> None:
        """`stream` stands at `at`."""
        self.position = at
        self._stream = stream
        self._taken: list[bytes] = []
        self._bytes = 0

    def __next__(self) -> str:
        """Raises `TooLong` for the line by which the record gets larger than 4 MiB; what comes after can be read."""
        line = self._stream.readline(MOST_BYTES + 1)
        if not line:
            raise StopIteration
        read = len(line)
        begun = line
        while len(line) > MOST_BYTES and not line.endswith(b"\n"):
            line = self._stream.readline(MOST_BYTES + 1)
            read += len(line)
        at_start = self.position == START
        self.position = Position(self.position.offset + read, self.position.line + 1)
        self._bytes += read
        if self._bytes > MOST_BYTES:
            self._taken = [b"".join([*self._taken, begun])[:_KEPT_OF_TOO_LONG]]
            raise TooLong
        if at_start:
            begun = begun.removeprefix(codecs.BOM_UTF8)
        self._taken.append(begun)
        return begun.decode("utf-8", "surrogateescape")

    def take(self) -> tuple[str, bool]:
        """The text of all lines since this was asked last, without the last one's end, and whether it is UTF-8; what
        isn't is shown as `\\xff`."""
        raw = b"".join(self._taken).removesuffix(b"\n").removesuffix(b"\r")
        self._taken, self._bytes = [], 0
        try:
            return raw.decode("utf-8"), True
        except UnicodeDecodeError:
            return raw.decode("utf-8", "backslashreplace"), False
