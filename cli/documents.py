"""Documents that say what there should be: `kind`, `id` (unless a workspace has just one), optionally `workspace`, and
`spec`, many to a file.

Pure: text in, publishable requests and problems out. All problems are found, so that one look mends them.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

import yaml
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from cli import source
from cli.definitions import Reader
from cli.kinds import BY_NAME, Kind
from cli.order import in_order
from cli.schema import Schema
from cli.source import Node, Problem

_FIELDS = ("kind", "id", "workspace", "spec")


@dataclass(frozen=True, slots=True)
class Document:
    """One thing to publish, by `request`, and where in which file it's said."""

    file: str
    line: int
    kind: Kind
    id: str
    workspace: str
    request: Message
    places: dict[str, tuple[str, int]] = field(repr=False)
    """Where the fields stand, `(path as written, line)`, by their path in the request."""

    def problem(self, path: str, message: str, fix: str = "") -> Problem:
        """Something wrong with a field of the request, as the schema or a service names it."""
        known = path
        while known and known not in self.places:
            known = known[: max(known.rfind("."), known.rfind("["), 0)]
        written, line = self.places.get(known, ("", self.line))
        missing = path[len(known) :].lstrip(".")
        shown = f"{written}.{missing}" if written and missing and missing[0] != "[" else f"{written}{missing}"
        return Problem(self.file, line, shown, message, fix)


class Parser:
    """Reads files one after the other; `documents` and `problems` grow."""

    def __init__(self, workspace: str) -> None:
        """`workspace` is that of documents that don't say theirs."""
        self.documents: list[Document] = []
        self.problems: list[Problem] = []
        self._workspace = workspace
        self._seen: dict[tuple[str, str, str], Document] = {}
        self._schema = Schema()

    def read(self, file: str, text: str) -> None:
        before = len(self.documents) + len(self.problems)
        try:
            for node in source.documents(text):
                self._document(file, node)
        except yaml.YAMLError as error:
            self.problems.append(source.yaml_problem(file, error))
        if len(self.documents) + len(self.problems) == before:
            self.problems.append(Problem(file, 1, "", "holds no document", f"begin with one of kind: {_kinds()}"))

    def in_order(self) -> list[Document]:
        """In the order they're published: what is named by others first."""
        return in_order(self.documents)

    def _document(self, file: str, node: Node) -> None:
        if not isinstance(node, yaml.MappingNode):
            message = f"a document must be a mapping, but is {source.named(node)}"
            fix = f"write the fields {', '.join(_FIELDS)}"
            self.problems.append(Problem(file, source.line_of(node), "", message, fix))
            return
        found, problems = _envelope(file, node)
        line = source.line_of(node)
        kind = _kind(file, line, found, problems)
        workspace = (
            _text(file, line, "workspace", found, problems, "name it, or leave it out")
            if "workspace" in found
            else self._workspace
        )
        id_ = _id(file, line, kind, workspace, found, problems)
        if "spec" not in found:
            problems.append(Problem(file, line, "spec", "is missing", "say what it is in spec:"))
        if kind is None or "spec" not in found:
            self.problems += problems
            return
        request = kind.publish_request(workspace, id_)
        reader = Reader(file)
        body = kind.body
        values = reader.message(getattr(request, body).DESCRIPTOR, found["spec"], body, "spec")
        problems += reader.problems
        places = reader.places
        for name, path in (("id", kind.id_field), ("workspace", "workspace_id")):
            places[path] = (name, source.line_of(found[name]) if name in found else line)
        document = Document(file, line, kind, id_, workspace, request, places)
        if not problems:
            problems += self._filled(document, values)
        self.problems += problems
        if not problems:
            self.documents.append(document)

    def _filled(self, document: Document, values: dict[str, object]) -> list[Problem]:
        body = getattr(document.request, document.kind.body)
        try:
            ParseDict(values, body)
        except (ParseError, ValueError) as error:
            return [document.problem(document.kind.body, str(error))]
        body.SetInParent()
        problems = [
            document.problem(path, message, fix) for path, message, fix in self._schema.violations(document.request)
        ]
        key = (document.kind.name, document.workspace, document.id)
        earlier = self._seen.setdefault(key, document)
        if earlier is not document:
            fix = "remove one of them, or give it another id"
            message = f"{document.kind.words} {document.id} is also at {earlier.file}:{earlier.line}"
            problems.append(Problem(document.file, document.line, "id", message, fix))
        return problems


def _envelope(file: str, node: yaml.MappingNode) -> tuple[dict[str, Node], list[Problem]]:
    found: dict[str, Node] = {}
    problems: list[Problem] = []
    for key, value in node.value:
        name = str(key.value)
        if name in found:
            problems.append(
                Problem(file, source.line_of(key), name, "is there twice", "remove one, or put `---` between")
            )
        elif name in _FIELDS:
            found[name] = value
        else:
            near = difflib.get_close_matches(name, _FIELDS, 1)
            fix = (f"did you mean {near[0]}? " if near else "") + f"allowed here: {', '.join(_FIELDS)}"
            problems.append(Problem(file, source.line_of(key), name, "unknown field", fix))
    return found, problems


def _kind(file: str, line: int, found: dict[str, Node], problems: list[Problem]) -> Kind | None:
    before = len(problems)
    name = _text(file, line, "kind", found, problems, f"say which: {_kinds()}")
    if len(problems) > before:
        return None
    if name not in BY_NAME:
        near = difflib.get_close_matches(name.capitalize(), BY_NAME, 1)
        fix = (f"did you mean {near[0]}? " if near else "") + f"there are {_kinds()}"
        problems.append(Problem(file, source.line_of(found["kind"]), "kind", f"unknown kind {name}", fix))
    return BY_NAME.get(name)


def _id(
    file: str, line: int, kind: Kind | None, workspace: str, found: dict[str, Node], problems: list[Problem]
) -> str:
    if kind is None or not kind.single:
        return _text(file, line, "id", found, problems, "give it an id, such as id: thank-you")
    if "id" in found:
        message = f"{kind.name} have none: a workspace has them once"
        problems.append(Problem(file, source.line_of(found["id"]), "id", message, "remove it"))
    return workspace


def _text(file: str, line: int, name: str, found: dict[str, Node], problems: list[Problem], fix: str) -> str:
    node = found.get(name)
    if node is None or source.is_null(node):
        problems.append(Problem(file, source.line_of(node) if node else line, name, "is missing", fix))
        return ""
    value = source.scalar(node) if isinstance(node, yaml.ScalarNode) else None
    if not isinstance(value, str):
        fix = f'write it in quotes: {name}: "{node.value}"' if isinstance(node, yaml.ScalarNode) else "write one word"
        message = f"must be text, but is {source.named(node)}"
        problems.append(Problem(file, source.line_of(node), name, message, fix))
        return ""
    return value


def _kinds() -> str:
    return ", ".join(BY_NAME)
