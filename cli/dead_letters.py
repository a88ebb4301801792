"""`camino dead-letters`: inputs that a service could not handle."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import grpc
import typer
from camino.ops.v1 import dead_letter_service_pb2 as wire
from camino.ops.v1.dead_letter_service_pb2_grpc import DeadLetterServiceStub

from cli import failures, output
from cli.targets import SERVICES, Targets

Service = Enum("Service", {name.upper(): name for name in SERVICES}, type=str)  # type: ignore[misc]


def list_dead_letters(
    targets: Targets,
    service: Annotated[Service | None, typer.Option(help="Only this service's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many of a service.")] = 100,
) -> None:
    """List dead letters, oldest first."""
    failed = False
    for name in [service.value] if service else SERVICES:
        try:
            page = DeadLetterServiceStub(targets.channel(name)).ListDeadLetters(
                wire.ListDeadLettersRequest(page_size=limit)
            )
        except grpc.RpcError as error:
            output.complain(f"{name}: {failures.line(error)}")
            failed = True
            continue
        output.table(
            f"dead letters of {name}" + (f" ({page.total_size})" if page.total_size else ""),
            ("id", "consumer", "subject", "reason", "since", "redriven"),
            (
                (
                    letter.dead_letter_id,
                    letter.consumer,
                    letter.subject,
                    letter.reason,
                    output.instant(letter.create_time),
                    letter.redrive_count,
                )
                for letter in page.dead_letters
            ),
        )
    if failed:
        raise typer.Exit(1)


def redrive(
    targets: Targets,
    dead_letter_id: Annotated[str, typer.Argument(metavar="ID")],
    service: Annotated[Service, typer.Option(help="Whose it is.")],
) -> None:
    """Give a dead letter to its handler again."""
    stub = DeadLetterServiceStub(targets.channel(service.value))
    answer = stub.RedriveDeadLetter(wire.RedriveDeadLetterRequest(dead_letter_id=dead_letter_id))
    if answer.handled:
        output.say("handled")
        return
    output.complain(f"not handled: {answer.reason}")
    raise typer.Exit(1)
