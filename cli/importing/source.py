"""The file itself: its content, how far it has been read, and by what it's known again."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, cast

STDIN = "-"


class Form(StrEnum):
    CSV = "csv"
    NDJSON = "ndjson"


_SUFFIXES = {".csv": Form.CSV, ".tsv": Form.CSV, ".ndjson": Form.NDJSON, ".jsonl": Form.NDJSON}


@dataclass(frozen=True, slots=True)
class Source:
    """An opened file, or standard input."""

    content: BinaryIO
    """Uncompressed."""
    size: int | None
    """Of the file as it lies there; None if that isn't known, as of a pipe."""
    _raw: BinaryIO

    def read_bytes(self) -> int:
        """How much of the size was read."""
        return self._raw.tell() if self.size is not None else 0


@contextmanager
def opened(file: str) -> Iterator[Source]:
    """Raises OSError."""
    if file == STDIN:
        yield Source(sys.stdin.buffer, None, sys.stdin.buffer)
        return
    path = Path(file)
    with path.open("rb") as raw:
        size = path.stat().st_size if path.is_file() else None
        if path.suffix == ".gz":
            unpacked = io.BufferedReader(gzip.GzipFile(fileobj=raw))
            yield Source(cast(BinaryIO, unpacked), size, raw)
        else:
            yield Source(raw, size, raw)


def form_of(file: str) -> Form | None:
    """By the file's name."""
    return _SUFFIXES.get(_suffix(file))


def delimiter_of(file: str) -> str:
    return "\t" if _suffix(file) == ".tsv" else ","


def is_kept(file: str) -> bool:
    """Whether it can be read again: not standard input, nor a pipe."""
    return file != STDIN and Path(file).is_file()


def fingerprint(file: str) -> str:
    """The SHA-256 of the file. Reading it takes a thousandth of the time that sending it does. Raises OSError."""
    with Path(file).open("rb") as opened_file:
        return hashlib.file_digest(opened_file, "sha256").hexdigest()


def _suffix(file: str) -> str:
    return Path(file.removesuffix(".gz")).suffix.lower()
