"""An import from beginning to end, as `camino import events` and `camino import profiles` carry it out."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from camino.client import CaminoError, Client

from cli import output
from cli.importing import source as sources
from cli.importing.checkpoint import Checkpoint, CheckpointError, CheckpointFile, Counts, Subject
from cli.importing.dry_run import rehearse
from cli.importing.interrupts import Interrupted, Interrupts
from cli.importing.items import Item
from cli.importing.ledger import Ledger
from cli.importing.order import Order
from cli.importing.pending import PACE
from cli.importing.progress import progress, told_counts
from cli.importing.records import HeaderError, Record, Rejection
from cli.importing.rejects import AlreadyRunning, Rejects
from cli.importing.sending import Sending, TooManyRejects
from cli.importing.source import Source
from cli.targets import Targets

SOME_REJECTED = 1
STOPPED = 3
_SIGNALLED = 128


def carry_out(targets: Targets, order: Order) -> None:
    """Ends the command with status 1 if rows were rejected, 3 if it stopped before the file's end, 2 for what the
    user must change first."""
    try:
        with sources.opened(order.file) as source:
            if order.dry_run:
                rejected = rehearse(order.items(source), targets.workspace)
            else:
                rejected = _import(targets, order, source)
    except HeaderError as error:
        raise typer.BadParameter(f"{order.file}: {error}") from None
    except (AlreadyRunning, CheckpointError) as error:
        raise typer.BadParameter(str(error)) from None
    except (OSError, EOFError, zlib.error) as error:
        output.complain(f"stopped: {error}")
        raise typer.Exit(STOPPED) from None
    if rejected:
        raise typer.Exit(SOME_REJECTED)


def _import(targets: Targets, order: Order, source: Source) -> int:
    """How many rows were rejected."""
    with Rejects(order.rejects) as rejects:
        kept, begun = _checkpoint(targets, order)
        items = order.items(source, begun.position)
        rejects.cut(begun.rejects_bytes)
        counts = begun.counts
        done_before = counts.rows
        if done_before:
            output.say(f"going on at line {begun.position.line:,}: {done_before:,} rows were done before")
        since = time.monotonic()
        with _stopping(order, counts), progress(source, done_before, quiet=order.quiet) as show:
            sending = Sending(Ledger(rejects, kept, begun), show=show, max_rejects=order.max_rejects)
            asyncio.run(_send(targets, sending, items))
        took = max(time.monotonic() - since, 1e-3)
        rows = counts.rows - done_before
        output.say(f"{rows:,} rows in {took:,.1f} s, {rows / took:,.0f} a second")
        _sum_up(order, counts)
        return counts.rejected


def _checkpoint(targets: Targets, order: Order) -> tuple[CheckpointFile | None, Checkpoint]:
    """Where the position is kept, if it can be gone back to, and where to begin."""
    if not sources.is_kept(order.file):
        return None, Checkpoint()
    subject = Subject(sources.fingerprint(order.file), order.digest, targets.workspace)
    file = CheckpointFile(order.state, subject)
    if order.restart:
        file.remove()
    try:
        return file, file.load() or Checkpoint()
    except CheckpointError as error:
        raise CheckpointError(f"{error}; --restart begins anew") from None


async def _send(targets: Targets, sending: Sending, items: Iterator[tuple[Record, Item | Rejection]]) -> None:
    task = asyncio.current_task()
    assert task is not None
    interrupts = Interrupts()
    try:
        async with Client(targets.connection) as client:
            with interrupts.ending(task):
                await sending.run(client.ingestion(targets.workspace, PACE), interrupts.reading(items))
    except (asyncio.CancelledError, Interrupted):
        raise _Signalled(interrupts.signal) from None


class _Signalled(Exception):
    """Somebody asked for an end, by this signal."""


@contextmanager
def _stopping(order: Order, counts: Counts) -> Iterator[None]:
    """Says why an import stopped before the file's end, and how to go on."""
    try:
        yield
        return
    except _Signalled as error:
        reason, status = "as you asked", _SIGNALLED + error.args[0]
    except TooManyRejects:
        reason, status = f"more than {order.max_rejects} rows were rejected; allow more by --max-rejects", STOPPED
    except CaminoError as error:
        reason, status = str(error), STOPPED
    except (OSError, EOFError, zlib.error) as error:
        reason, status = f"{order.file}: {error}", STOPPED
    output.complain(f"stopped: {reason}")
    _sum_up(order, counts)
    again = "it goes on here" if sources.is_kept(order.file) else "what was taken is not taken twice"
    output.say(f"run the same command again: {again}")
    raise typer.Exit(status)


def _sum_up(order: Order, counts: Counts) -> None:
    output.say(told_counts(counts))
    if counts.rejected:
        output.say(f"the rejected rows, with reasons, are in {order.rejects}")
