"""Where the services are, which workspace is meant, and what every command that calls them shares."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import grpc
import typer

from cli import failures, output

SERVICES = ("profile", "segment", "orchestrator", "channels")

_DEADLINE_S = 10.0
_MAX_MESSAGE = 16 * 1024 * 1024
_PORTS = {"profile": 50051, "segment": 50052, "orchestrator": 50053, "channels": 50054}


@dataclass(slots=True)
class Targets:
    """The services' channels, opened when first used."""

    workspace: str
    addresses: dict[str, str]
    _channels: dict[str, grpc.Channel] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def channel(self, service: str) -> grpc.Channel:
        """Calls without a timeout of their own get 10 seconds."""
        if service not in self._channels:
            options = (
                ("grpc.max_receive_message_length", _MAX_MESSAGE),
                ("grpc.max_send_message_length", _MAX_MESSAGE),
            )
            channel = self._stack.enter_context(grpc.insecure_channel(self.addresses[service], options=options))
            self._channels[service] = grpc.intercept_channel(channel, _Deadline())
        return self._channels[service]

    @contextmanager
    def open(self) -> Iterator[Targets]:
        with self._stack:
            yield self


class _CallDetails(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Details(_CallDetails, grpc.ClientCallDetails):
    """What grpc asks an interceptor to hand on; it offers no class to build it from."""


class _Deadline(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        timeout = _DEADLINE_S if details.timeout is None else details.timeout
        with_deadline = _Details(
            details.method, timeout, details.metadata, details.credentials, details.wait_for_ready, details.compression
        )
        return continuation(with_deadline, request)


def _option(service: str) -> inspect.Parameter:
    option = typer.Option(
        f"--{service}-target", envvar=f"CAMINO_{service.upper()}_TARGET", help=f"Where the {service} service is."
    )
    return inspect.Parameter(
        f"{service}_target",
        inspect.Parameter.KEYWORD_ONLY,
        default=f"127.0.0.1:{_PORTS[service]}",
        annotation=Annotated[str, option],
    )


_SHARED = (
    inspect.Parameter(
        "workspace",
        inspect.Parameter.KEYWORD_ONLY,
        default="main",
        annotation=Annotated[
            str, typer.Option("--workspace", "-w", envvar="CAMINO_WORKSPACE", help="Whose things they are.")
        ],
    ),
    *(_option(service) for service in SERVICES),
)


def client(command: Callable[..., None]) -> Callable[..., None]:
    """A command for Typer from a function whose first parameter is `targets`: in its place come the options that say
    where the services are. A call that fails ends the command with one line and status 1."""

    @functools.wraps(command)
    def run(*args: Any, **given: Any) -> None:
        workspace = given.pop("workspace")
        addresses = {service: given.pop(f"{service}_target") for service in SERVICES}
        try:
            with Targets(workspace, addresses).open() as targets:
                command(targets, *args, **given)
        except grpc.RpcError as error:
            output.complain(failures.line(error))
            raise typer.Exit(1) from None

    signature = inspect.signature(command, eval_str=True)
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in list(signature.parameters.values())[1:]]
    run.__signature__ = inspect.Signature([*own, *_SHARED])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*own, *_SHARED)}
    del run.__wrapped__  # type: ignore[attr-defined]
    return run
