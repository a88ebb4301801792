"""`camino apply`: publish what YAML documents say there should be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import grpc
import typer
from camino.client import from_rpc_error

from cli import output
from cli.documents import Document, Parser
from cli.source import Problem
from cli.targets import Targets

_SUFFIXES = (".yaml", ".yml")


def apply(
    targets: Targets,
    file: Annotated[
        list[Path], typer.Option("--file", "-f", help="A YAML file, a directory of them, or - for standard input.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the documents, and send nothing.")] = False,
) -> None:
    """Publish rules, templates, segments, journeys and campaigns.

    All documents are checked first; if anything is wrong, nothing is sent.
    """
    parser = Parser(targets.workspace)
    for path in file:
        _read(parser, path)
    if parser.problems:
        for problem in parser.problems:
            output.complain(str(problem))
        output.complain(f"nothing was sent: {len(parser.problems)} to mend")
        raise typer.Exit(1)
    rows = []
    failed = 0
    for document in parser.in_order():
        version, result, problems = ("", "valid", []) if dry_run else _publish(targets, document)
        rows.append((document.kind.name, document.id, version, result))
        failed += bool(problems)
        for problem in problems:
            output.complain(f"{document.kind.words} {document.id}: {problem}")
    output.table("", ("kind", "id", "version", "result"), rows)
    if failed:
        output.complain(f"{failed} of {len(rows)} failed")
        raise typer.Exit(1)


def _read(parser: Parser, path: Path) -> None:
    if str(path) == "-":
        parser.read("standard input", sys.stdin.read())
        return
    paths = [path]
    if path.is_dir():
        paths = sorted(found for found in path.iterdir() if found.suffix in _SUFFIXES)
        if not paths:
            fix = "name a file, or a directory with *.yaml in it"
            parser.problems.append(Problem(str(path), 0, "", "holds no YAML file", fix))
    for each in paths:
        try:
            text = each.read_text(encoding="utf-8")
        except OSError as error:
            parser.problems.append(Problem(str(each), 0, "", f"can't be read: {error.strerror}", "name another file"))
        except UnicodeDecodeError:
            parser.problems.append(Problem(str(each), 0, "", "isn't UTF-8", "save it as UTF-8"))
        else:
            parser.read(str(each), text)


def _publish(targets: Targets, document: Document) -> tuple[object, str, list[Problem]]:
    """(version, result, problems) of one document."""
    kind = document.kind
    channel = targets.channel(kind.service)
    try:
        before = _etag(targets, document)
        now = kind.publish(channel, document.request)
    except grpc.RpcError as error:
        return "", "failed", _problems(document, error)
    result = "created" if before is None else "unchanged" if before == now.etag else "updated"
    return getattr(now, "version", ""), result, []


def _etag(targets: Targets, document: Document) -> str | None:
    """The etag of what there is now, or None."""
    try:
        found = document.kind.get(targets.channel(document.kind.service), document.workspace, document.id)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise
    if document.kind.single and not found.HasField("create_time"):
        # What holds where nothing was published.
        return None
    return str(found.etag)


def _problems(document: Document, error: grpc.RpcError) -> list[Problem]:
    failure = from_rpc_error(error)
    if not failure.violations:
        return [document.problem("", str(failure))]
    return [document.problem(violation.field, violation.description) for violation in failure.violations]
