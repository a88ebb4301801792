"""How answers are shown: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import yaml
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_PIPED_WIDTH = 240


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """What is in the cells is shown as it is: never as markup."""
    console = _console()
    rows = list(rows)
    if not rows:
        console.print(Text(f"{title}: none" if title else "none"))
        return
    if title:
        console.print(Text(title))
    shown = Table()
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(str(cell)) for cell in row))
    console.print(shown)


def say(text: str) -> None:
    _console().print(Text(text), soft_wrap=True)


def complain(text: str) -> None:
    """On standard error."""
    _console(stderr=True).print(Text(text, style="red"), soft_wrap=True)


def show(what: RenderableType) -> None:
    _console().print(what)


def dump(value: Any, form: Format) -> None:
    if form is Format.JSON:
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


def plain(message: Message) -> dict[str, Any]:
    """A message in protobuf's JSON mapping."""
    return MessageToDict(message)


def instant(at: Timestamp) -> str:
    """RFC 3339, to the second; empty when it's not set."""
    return at.ToDatetime().strftime("%Y-%m-%dT%H:%M:%SZ") if at.seconds or at.nanos else ""


def enum_name(message: Message, field: str) -> str:
    """The value of an enum field without the enum's prefix, in lower case, such as `opted_in`."""
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    number = getattr(message, field)
    known = descriptor.enum_type.values_by_number.get(number)
    if known is None:
        return str(number)
    prefix = descriptor.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return known.name.removeprefix(prefix).lower() if number else ""


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=_PIPED_WIDTH)
