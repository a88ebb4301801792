"""CSV (RFC 4180) as records: the first row names the columns."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from cli.importing.lines import Lines, TooLong
from cli.importing.records import START, HeaderError, Position, Record, check_header


def csv_records(
    stream: BinaryIO, *, delimiter: str = ",", wanted: frozenset[str] = frozenset(), at: Position = START
) -> Iterator[Record]:
    """The records of a stream that stands at its start, from the position `at` on; rows without a cell are none.

    Raises `HeaderError` at once if the first row isn't a header with the `wanted` columns, each once.
    """
    lines = Lines(stream)
    try:
        header = next(csv.reader(lines, delimiter=delimiter, strict=True), [])
    except (csv.Error, TooLong) as error:
        raise HeaderError(f"the first row is no header: {error or 'it is too long'}") from None
    if not lines.take()[1]:
        raise HeaderError("the first row isn't UTF-8")
    check_header(Counter(header), wanted)
    if at != START:
        stream.seek(at.offset)
        lines = Lines(stream, at)
    return _rows(lines, header, delimiter)


def _rows(lines: Lines, header: list[str], delimiter: str) -> Iterator[Record]:
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = lines.position.line
        problem = ""
        cells: list[str] = []
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"not CSV: {error}"
        except TooLong:
            problem = "longer than 4 MiB"
        text, is_utf8 = lines.take()
        if not problem and not cells:
            continue
        if not problem and not is_utf8:
            problem = "not UTF-8"
        if not problem and len(cells) != len(header):
            problem = f"has {len(cells)} cells, and the header names {len(header)} columns"
        yield Record(line, text, lines.position, {} if problem else dict(zip(header, cells, strict=True)), problem)
