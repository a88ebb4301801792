"""NDJSON as records: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from cli.importing.cells import Cell, Literal
from cli.importing.lines import Lines, TooLong
from cli.importing.records import START, Position, Record


def ndjson_records(stream: BinaryIO, *, wanted: frozenset[str] = frozenset(), at: Position = START) -> Iterator[Record]:
    """The records of a stream that stands at its start, from the position `at` on. Blank lines are none.

    Of each object the `wanted` members are its cells, which can't be objects; if none is, only the text is given.
    """
    if at != START:
        stream.seek(at.offset)
    return _records(Lines(stream, at), wanted)


def _records(lines: Lines, wanted: frozenset[str]) -> Iterator[Record]:
    while True:
        line = lines.position.line
        problem = ""
        try:
            next(lines)
        except StopIteration:
            return
        except TooLong:
            problem = "longer than 4 MiB"
        text, is_utf8 = lines.take()
        if not text.strip():
            continue
        if not problem and not is_utf8:
            problem = "not UTF-8"
        row: dict[str, Cell] = {}
        if wanted and not problem:
            try:
                row = _row(text, wanted)
            except (ValueError, RecursionError) as error:
                problem = f"not a JSON object as it is mapped: {error}"
        yield Record(line, text, lines.position, row, problem)


def _row(text: str, wanted: frozenset[str]) -> dict[str, Cell]:
    found = json.loads(text, parse_int=Literal, parse_float=Literal, parse_constant=_no_constant)
    if not isinstance(found, dict):
        raise ValueError("the line holds something else")
    return {name: _cell(name, member) for name, member in found.items() if name in wanted}


def _cell(name: str, member: Any) -> Cell:
    if member is None:
        return ""
    if isinstance(member, str | bool):
        return member
    if isinstance(member, list) and all(isinstance(each, str) for each in member):
        return [str(each) for each in member]
    kind = "an object" if isinstance(member, dict) else "a list of other things than texts"
    raise ValueError(f"{name!r} is {kind}")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
