"""`camino export`: all that is held on a person, as a file."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from camino.profile.v1.operation_pb2 import OPERATION_STATE_DONE, Operation
from camino.profile.v1.operation_service_pb2 import ExportProfileRequest, GetOperationRequest, ReadExportRequest
from camino.profile.v1.operation_service_pb2_grpc import OperationServiceStub

from cli import operations, output
from cli.targets import Targets


def export(
    targets: Targets,
    identity: Annotated[str, typer.Argument(help="Whom: namespace:value, such as email:ana@example.com.")] = "",
    profile: Annotated[str, typer.Option("--profile", help="Or the profile's id.")] = "",
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Where to; <profile id>.json if left out. Only you may read it.")
    ] = None,
    operation_id: Annotated[str, typer.Option("--operation", help="An export that was asked for before.")] = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Only ask for it; fetch it by --operation.")] = False,
) -> None:
    """Write all that the services hold on a person to a file, as JSON."""
    operation = _asked(targets, identity, profile, operation_id)
    output.say(f"profile {operation.profile_id} is being exported by operation {operation.operation_id}")
    if no_wait:
        return
    ended = operations.waited_for(targets, operation)
    if ended.state != OPERATION_STATE_DONE:
        output.complain("the export is gone: its time was over, or the profile was erased")
        raise typer.Exit(1)
    target = file or Path(f"{ended.profile_id}.json")
    try:
        size = _write(target, _parts(targets, ended))
    except OSError as error:
        output.complain(f"{target}: {error.strerror}")
        raise typer.Exit(1) from None
    output.say(f"{size} bytes in {target}; it can be fetched again until {output.instant(ended.expire_time)}")


def _asked(targets: Targets, identity: str, profile: str, operation_id: str) -> Operation:
    stub = OperationServiceStub(targets.channel("profile"))
    if operation_id:
        if identity or profile:
            raise typer.BadParameter("an operation knows whom it's about", param_hint="--operation")
        get = GetOperationRequest(workspace_id=targets.workspace, operation_id=operation_id)
        return stub.GetOperation(get).operation
    request = ExportProfileRequest(
        workspace_id=targets.workspace, request_id=str(uuid.uuid4()), **operations.subject(profile, identity)
    )
    return stub.ExportProfile(request).operation


def _parts(targets: Targets, operation: Operation) -> Iterator[bytes]:
    stub = OperationServiceStub(targets.channel("profile"))
    request = ReadExportRequest(workspace_id=targets.workspace, operation_id=operation.operation_id)
    while True:
        answer = stub.ReadExport(request)
        yield answer.part
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def _write(target: Path, parts: Iterator[bytes]) -> int:
    """Write a file that only its owner may read, wholly or not at all. How many bytes. Raises OSError."""
    size = 0
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as new:
            for part in parts:
                size += new.write(part)
            new.flush()
            os.fsync(new.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return size
