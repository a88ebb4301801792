"""`camino tokens`: tokens for those who call the services, and the file that says what they may do.

The schema of that file is imported where it's needed: pydantic takes as long to load as everything else here, and most
commands do without.
"""

from __future__ import annotations

import os
import secrets
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from cli import output

if TYPE_CHECKING:
    from services.chassis.callers_file import Entry

_BYTES = 32
"""256 bits: nobody guesses that, and so its plain SHA-256 tells nothing."""
_PREFIX = "camino_"
"""By which people, and scanners for leaked secrets, recognise a token."""
_OWNER_ONLY = 0o600


def new(
    name: Annotated[str, typer.Argument(help="Who will call with it; the logs of the services say this name.")],
    scope: Annotated[list[str], typer.Option(help="What it may do: profiles.write, profiles.* or *. Repeatable.")],
    workspace: Annotated[list[str], typer.Option(help="Where: shop, contract-* or *. Repeatable.")],
    file: Annotated[Path | None, typer.Option(help="Add the entry to this file of callers.")] = None,
) -> None:
    """Make a token, and the entry by which the services know it.

    The token, the first line on standard output, is shown this once: the entry holds only its SHA-256.

    To replace a token, add another entry of the same name, and take the old one away once nobody uses it.
    """
    from pydantic import ValidationError

    from services.chassis.callers import digest
    from services.chassis.callers_file import CallersError, Entry, problems_of

    token = _PREFIX + secrets.token_urlsafe(_BYTES)
    try:
        entry = Entry(name=name, token_sha256=digest(token).hex(), scopes=scope, workspaces=workspace)
        if file is not None:
            _append(file, entry)
    except ValidationError as error:
        raise _failed(problems_of(error)) from None
    except CallersError as error:
        raise _failed(f"{file}: {problem}" for problem in error.problems) from None
    except OSError as error:
        raise _failed([f"{file}: {error.strerror}"]) from None
    output.say(token)
    if file is None:
        typer.echo("Give the token to the caller, and add this to the file that CAMINO_CALLERS_FILE names:", err=True)
        output.say(f"callers:\n{_item(entry, 2)}".rstrip())
    else:
        typer.echo(f"Give the token to the caller. Its entry is in {file}.", err=True)


def check(file: Annotated[Path, typer.Argument(help="A file of callers.")]) -> None:
    """Check a file of callers, and show who may do what."""
    from services.chassis.callers_file import CallersError, entries

    try:
        found = entries(file.read_bytes())
    except CallersError as error:
        raise _failed(f"{file}: {problem}" for problem in error.problems) from None
    except OSError as error:
        raise _failed([f"{file}: {error.strerror}"]) from None
    rows = [(entry.name, ", ".join(entry.scopes), ", ".join(entry.workspaces)) for entry in found]
    output.table("", ("caller", "scopes", "workspaces"), rows)


def _append(file: Path, entry: Entry) -> None:
    """Add an entry at the end of a file, which is made, for its owner only, if it isn't there. Raises `CallersError` if
    the file isn't one of callers, before or after, and OSError."""
    from services.chassis.callers_file import CallersError, entries

    content = file.read_bytes() if file.exists() else b""
    if content.strip():
        before = entries(content)
        root = yaml.compose(content, Loader=yaml.SafeLoader)
        assert isinstance(root, yaml.MappingNode)  # valid, with its one key
        [(_, listed)] = root.value
        gap = "" if content.endswith(b"\n") else "\n"
        addition = f"{gap}{_item(entry, listed.start_mark.column)}".encode()
    else:
        before, addition = [], f"callers:\n{_item(entry, 2)}".encode()
    try:
        fits = entries(content + addition) == [*before, entry]
    except CallersError:
        fits = False
    if not fits:
        raise CallersError(
            ["nothing can be added at its end; make the token without --file, and add the entry by hand"]
        )
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _OWNER_ONLY)
    with os.fdopen(descriptor, "ab") as opened:
        opened.write(addition)


def _item(entry: Entry, indent: int) -> str:
    text = yaml.safe_dump([entry.model_dump()], sort_keys=False, default_flow_style=None, width=10_000)
    return textwrap.indent(text, " " * indent)


def _failed(problems: Iterable[str]) -> typer.Exit:
    for problem in problems:
        output.complain(problem)
    return typer.Exit(1)
