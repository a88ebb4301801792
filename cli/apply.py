"""`camino apply`: publish what YAML documents say there should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import grpc
import typer
from camino.client import from_rpc_error

from cli import output, reading
from cli.documents import Document
from cli.source import Problem
from cli.targets import Targets


def apply(
    targets: Targets,
    file: reading.Files,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the documents, and send nothing.")] = False,
) -> None:
    """Publish rules, templates, segments, webhooks of memberships, journeys and campaigns.

    All documents are checked first; if anything is wrong, nothing is sent.
    """
    rows = []
    secrets = []
    failed = 0
    for document in reading.documents(file, targets.workspace):
        published = _Published("", "valid") if dry_run else _publish(targets, document)
        rows.append((document.kind.name, document.id, published.version, published.result))
        failed += bool(published.problems)
        for problem in published.problems:
            output.complain(f"{document.kind.words} {document.id}: {problem}")
        if published.secret:
            secrets.append(f"the secret of {document.kind.words} {document.id}, shown this once: {published.secret}")
    output.table("", ("kind", "id", "version", "result"), rows)
    for secret in secrets:
        output.say(secret)
    if failed:
        output.complain(f"{failed} of {len(rows)} failed")
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Published:
    """What became of one document."""

    version: object
    result: str
    problems: Sequence[Problem] = ()
    secret: str = ""


def _publish(targets: Targets, document: Document) -> _Published:
    kind = document.kind
    channel = targets.channel(kind.service)
    try:
        before = _etag(targets, document)
        now, secret = kind.publish(channel, document.request)
    except grpc.RpcError as error:
        return _Published("", "failed", _problems(document, error))
    result = "created" if before is None else "unchanged" if before == now.etag else "updated"
    return _Published(getattr(now, "version", ""), result, secret=secret)


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
