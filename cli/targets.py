"""Where the services are, which workspace is meant, who asks, and what every command that calls them shares."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from camino.client.connection import PORTS, SERVICES, Connection, Service
from camino.client.sync import Client
from camino.client.tls import TlsFiles
from camino.client.tokens import GivenToken, Token, TokenFile

from cli import failures, output


@dataclass(frozen=True, slots=True)
class Targets:
    """The services, and the workspace that's meant."""

    workspace: str
    addresses: dict[Service, str]
    client: Client
    connection: Connection
    """What the client goes by, for commands that want the asyncio flavour of it."""

    def channel(self, service: Service) -> grpc.Channel:
        """Calls without a timeout of their own get 10 seconds."""
        return self.client.channel(service)


def _option(service: Service) -> inspect.Parameter:
    option = typer.Option(
        f"--{service}-target", envvar=f"CAMINO_{service.upper()}_TARGET", help=f"Where the {service} service is."
    )
    return inspect.Parameter(
        f"{service}_target",
        inspect.Parameter.KEYWORD_ONLY,
        default=f"127.0.0.1:{PORTS[service]}",
        annotation=Annotated[str, option],
    )


def _tls_option(name: str, help_: str) -> inspect.Parameter:
    option = typer.Option(f"--tls-{name}", envvar=f"CAMINO_TLS_{name.upper()}_FILE", help=help_)
    return inspect.Parameter(
        f"tls_{name}", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, option]
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
    inspect.Parameter(
        "token",
        inspect.Parameter.KEYWORD_ONLY,
        default="",
        annotation=Annotated[
            str, typer.Option("--token", envvar="CAMINO_TOKEN", show_envvar=True, help="Says who you are.")
        ],
    ),
    inspect.Parameter(
        "token_file",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            Path | None, typer.Option("--token-file", envvar="CAMINO_TOKEN_FILE", help="Or a file with the token.")
        ],
    ),
    _tls_option("ca", "PEM of the authorities that services have their certificates by; without it, plaintext."),
    _tls_option("cert", "PEM of your certificate, for services that ask for one."),
    _tls_option("key", "PEM of its key."),
)


def client(command: Callable[..., None]) -> Callable[..., None]:
    """A command for Typer from a function whose first parameter is `targets`: in its place come the options that say
    where the services are, who asks and how it's encrypted. A call that fails ends the command with one line and status
    1."""

    @functools.wraps(command)
    def run(*args: Any, **given: Any) -> None:
        workspace = given.pop("workspace")
        addresses = {service: given.pop(f"{service}_target") for service in SERVICES}
        token = _token(given.pop("token"), given.pop("token_file"))
        tls = _tls(*(given.pop(f"tls_{name}") for name in ("ca", "cert", "key")))
        try:
            connection = Connection(addresses, token, tls)
            with Client(connection) as client:
                command(Targets(workspace, addresses, client, connection), *args, **given)
        except grpc.RpcError as error:
            output.complain(failures.line(error))
            raise typer.Exit(1) from None

    signature = inspect.signature(command, eval_str=True)
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in list(signature.parameters.values())[1:]]
    run.__signature__ = inspect.Signature([*own, *_SHARED])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*own, *_SHARED)}
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


def _token(token: str, file: Path | None) -> Token | None:
    if token and file:
        raise typer.BadParameter("give the token or its file, not both", param_hint="--token")
    try:
        if file:
            return TokenFile(file)
        return GivenToken(token) if token else None
    except OSError as error:
        raise typer.BadParameter(f"{file} can't be read: {error.strerror}", param_hint="--token-file") from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--token-file" if file else "--token") from None


def _tls(ca: Path | None, cert: Path | None, key: Path | None) -> TlsFiles | None:
    if ca is None:
        if cert or key:
            raise typer.BadParameter("a certificate of yours needs --tls-ca too", param_hint="--tls-cert")
        return None
    try:
        return TlsFiles(ca, cert, key)
    except OSError as error:
        raise typer.BadParameter(f"{error.filename} can't be read: {error.strerror}", param_hint="--tls-ca") from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--tls-ca") from None
