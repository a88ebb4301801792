"""`camino erase`: what is held on a person goes, everywhere and for good."""

from __future__ import annotations

from typing import Annotated

import typer
from camino.profile.v1.operation_service_pb2 import EraseProfileRequest
from camino.profile.v1.operation_service_pb2_grpc import OperationServiceStub

from cli import operations, output
from cli.targets import Targets


def erase(
    targets: Targets,
    identity: Annotated[str, typer.Argument(help="Whom: namespace:value, such as email:ana@example.com.")] = "",
    profile: Annotated[str, typer.Option("--profile", help="Or the profile's id.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Don't wait until it's done.")] = False,
) -> None:
    """Erase a person from all services, for good.

    It goes on by itself, also when this command is ended. The same command again shows how far it is; once it's done,
    by --profile only.
    """
    whom = operations.subject(profile, identity)
    if not yes:
        typer.confirm(f"Erase {identity or profile} from workspace {targets.workspace}, for good?", abort=True)
    stub = OperationServiceStub(targets.channel("profile"))
    operation = stub.EraseProfile(EraseProfileRequest(workspace_id=targets.workspace, **whom)).operation
    output.say(f"profile {operation.profile_id} is being erased by operation {operation.operation_id}")
    if no_wait:
        return
    ended = operations.waited_for(targets, operation)
    output.say(f"erased {output.instant(ended.end_time)}")
