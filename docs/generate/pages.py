"""The pages of the reference: from what the protos declare, and the examples, to Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from camino.errors.v1 import reason_pb2
from camino.testing.contract.examples import Example
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from docs.generate import calls, places
from docs.generate.places import Links
from docs.generate.schema import Field, File, Rpc, Schema

_TEMPLATES = Path(__file__).with_name("templates")
_OWN_TEMPLATE = ("errors", "events", "options")
"""Pages that are more than a list of definitions."""

USUAL = {
    "workspace_id": "The workspace it belongs to. Nothing is seen or changed across workspaces.",
    "profile_id": "The profile, by the id that Camino gave it.",
    "page_token": "Where to go on: the last page's `next_page_token`. Empty for the first page.",
    "next_page_token": "Where to go on. Empty on the last page.",
    "create_time": "When it was first stored.",
    "update_time": "When it last changed.",
}
"""What fields of these names mean wherever their comment doesn't say more."""


def pages(schema: Schema, examples: Mapping[str, Example]) -> dict[str, str]:
    """The text of each page by its file name. Raises KeyError for a method or a fact without an example, and for an
    example that comes after a call which doesn't exist."""
    environment = _environment(schema, examples)
    files: dict[str, list[File]] = {}
    for file in schema.files:
        files.setdefault(places.page_of(file), []).append(file)
    rendered = {}
    for page, shown in files.items():
        name = page if page in _OWN_TEMPLATE else "definitions"
        rendered[f"{page}.md"] = _finished(environment.get_template(f"{name}.md.j2").render(here=page, files=shown))
    services = sorted(schema.services, key=lambda service: (calls.rank(service.full_name), service.name))
    index = environment.get_template("README.md.j2").render(here="README", services=services)
    return {"README.md": _finished(index), **rendered}


def _environment(schema: Schema, examples: Mapping[str, Example]) -> Environment:
    links = Links(schema)
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown
    )
    environment.globals.update(
        schema=schema,
        examples=examples,
        link=links.to,
        type=links.type,
        grpcurl=calls.grpcurl,
        port_of=calls.port_of,
        ports=calls.PORTS,
        users_of=_users_of(schema),
        reason_link=lambda number, here: links.to(
            f"{reason_pb2.Reason.DESCRIPTOR.full_name}.{schema.reasons[number].name}", here
        ),
        beside_calls=lambda shown: _beside_calls(schema, shown),
    )
    environment.filters.update(cell=_cell, meaning=_meaning, rules=_rules, first=_first_sentence)
    return environment


def _users_of(schema: Schema) -> dict[int, list[Rpc]]:
    """The methods that declare a reason, for calls or for items."""
    found: dict[int, list[Rpc]] = {number: [] for number in schema.reasons}
    for service in schema.services:
        for rpc in service.rpcs:
            for number in dict.fromkeys((*rpc.reasons, *rpc.item_reasons)):
                found[number].append(rpc)
    return found


def _beside_calls(schema: Schema, shown: Iterable[File]) -> File:
    """What some files declare beside the requests and replies of methods, as one file."""
    wired = {name for service in schema.services for rpc in service.rpcs for name in (rpc.request, rpc.reply)}
    shown = list(shown)
    return File(
        shown[0].name,
        shown[0].package,
        tuple(service for file in shown for service in file.services),
        tuple(message for file in shown for message in file.messages if message.full_name not in wired),
        tuple(enum for file in shown for enum in file.enums),
        (),
    )


def _meaning(field: Field) -> str:
    return field.comment or USUAL.get(field.name, "")


def _rules(field: Field) -> str:
    said = list(field.rules)
    if field.choice:
        said.insert(0, f"one of `{field.choice}`")
    if field.sensitive:
        said.append("[sensitive](README.md#sensitive-fields)")
    return "; ".join(said)


def _cell(text: str) -> str:
    """Text for a cell of a table: one line, in which no bar ends the cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _first_sentence(comment: str) -> str:
    """What a list says of a thing: its comment up to the first full stop."""
    text = " ".join(comment.split())
    return text.partition(". ")[0].removesuffix(".") + "."


def _finished(text: str) -> str:
    """A page without runs of blank lines, which conditions in templates leave behind; not inside code."""
    parts = text.split("```")
    for index in range(0, len(parts), 2):
        while "\n\n\n" in parts[index]:
            parts[index] = parts[index].replace("\n\n\n", "\n\n")
    return "```".join(parts).strip() + "\n"
