"""`camino contract`: prove that running services keep the contract that the protos declare."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from camino.client.connection import PORTS

from cli import output

_LOCAL = [f"127.0.0.1:{port}" for port in PORTS.values()]


def contract(
    target: Annotated[
        list[str] | None,
        typer.Option(help="Where services are, HOST:PORT; repeatable. By default, those of `camino up`."),
    ] = None,
    token: Annotated[
        str,
        typer.Option(envvar="CAMINO_TOKEN", help="A token with all scopes for all workspaces, or for contract-*."),
    ] = "",
    token_without_scopes: Annotated[
        str, typer.Option(envvar="CAMINO_TOKEN_WITHOUT_SCOPES", help="A token that has none of Camino's scopes.")
    ] = "",
    token_elsewhere: Annotated[
        str, typer.Option(envvar="CAMINO_TOKEN_ELSEWHERE", help="A token with all scopes for another workspace only.")
    ] = "",
    tls_ca: Annotated[
        Path | None, typer.Option(envvar="CAMINO_TLS_CA_FILE", help="Who vouches for the servers.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(envvar="CAMINO_TLS_CERT_FILE", help="Our certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option(envvar="CAMINO_TLS_KEY_FILE", help="Its key.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write the results to this file, as JUnit's XML.")] = None,
    only: Annotated[str, typer.Option("--only", "-k", help="Only cases whose names match, e.g. 'GetProfile'.")] = "",
) -> None:
    """Prove that running services keep the contract that the protos declare.

    Every method is called with valid requests and with broken ones, examples are carried out, repeated, paged through
    and called off, in workspaces of its own that are deleted at the end. Exits with 1 if something doesn't hold.

    Messages are sent on the way: about a hundred, to addresses in contract.invalid, which nobody can have. Where
    even that is too much, let the channels service use the provider `log`.
    """
    try:
        import pytest
        from camino.testing.contract import plugin, test_contract
    except ImportError as missing:
        output.complain(f"{missing.name} isn't installed: install camino with the extra `contract`")
        raise typer.Exit(2) from None
    arguments = [
        f"{test_contract.__file__}",
        # Nothing of the directory it's called from has a say.
        f"--rootdir={Path(test_contract.__file__).parent}",
        f"--config-file={os.devnull}",
        "--import-mode=importlib",
        "--quiet",
        "--no-header",
        "--disable-warnings",
        "-rN",
        *("-p", "no:cacheprovider"),
        *("-p", "no:asyncio"),
        *(f"--camino-target={address}" for address in target or _LOCAL),
        f"--camino-token={token}",
        f"--camino-token-without-scopes={token_without_scopes}",
        f"--camino-token-elsewhere={token_elsewhere}",
        *(f"--camino-tls-{name}={file}" for name, file in _given(ca=tls_ca, cert=tls_cert, key=tls_key)),
        *([f"--junitxml={junit.resolve()}"] if junit else []),
        *(["-k", only] if only else []),
    ]
    # Nor is anything written there but what is asked for.
    os.environ.pop("PYTEST_ADDOPTS", None)
    with TemporaryDirectory() as scratch:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = scratch
        status = int(pytest.main(arguments, plugins=[plugin]))
    raise typer.Exit(status)


def _given(**files: Path | None) -> Iterator[tuple[str, Path]]:
    return ((name, file.resolve()) for name, file in files.items() if file)
