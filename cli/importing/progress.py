"""How an import goes, while it goes: a bar for people, lines for logs. Always on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from cli.importing.checkpoint import Counts
from cli.importing.source import Source

Show = Callable[[Counts], None]
_BAR_EVERY_S = 0.1
_LINE_EVERY_S = 5.0


@contextmanager
def progress(source: Source, begun: int, *, quiet: bool, now: Callable[[], float] = time.monotonic) -> Iterator[Show]:
    """What is to be told of every step. `begun`: how many rows were done by earlier runs."""
    console = Console(stderr=True, highlight=False)
    since = now()

    def told(counts: Counts) -> str:
        rate = (counts.rows - begun) / max(now() - since, 1e-3)
        return f"{told_counts(counts)} ({rate:,.0f} rows/s)"

    if quiet:
        yield lambda counts: None
    elif console.is_terminal:
        bar = Progress(
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,
        )
        with bar:
            task = bar.add_task("", total=source.size, completed=source.read_bytes())

            def draw(counts: Counts) -> None:
                bar.update(task, completed=source.read_bytes(), description=told(counts), refresh=True)

            paced = _Paced(draw, _BAR_EVERY_S, now)
            yield paced
            paced.finish()
    else:

        def say(counts: Counts) -> None:
            share = f"{source.read_bytes() / source.size:.0%}, " if source.size else ""
            console.print(f"{share}{told(counts)}", markup=False, soft_wrap=True)

        yield _Paced(say, _LINE_EVERY_S, now)


def told_counts(counts: Counts) -> str:
    return f"{counts.taken:,} taken, {counts.duplicates:,} duplicates, {counts.rejected:,} rejected"


class _Paced:
    """Shows what it's told, but not more often than every so many seconds."""

    def __init__(self, show: Show, every_s: float, now: Callable[[], float]) -> None:
        self._show = show
        self._every_s = every_s
        self._now = now
        self._shown_at = now()
        self._last: Counts | None = None

    def __call__(self, counts: Counts) -> None:
        self._last = counts
        if self._now() - self._shown_at >= self._every_s:
            self._shown_at = self._now()
            self._show(counts)

    def finish(self) -> None:
        """Show how it came out."""
        if self._last is not None:
            self._show(self._last)
