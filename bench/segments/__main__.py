"""`python -m bench.segments [streaming|check|evaluation|rollouts|flips]`: what the segment service costs, alone with a
broker.

Its store is written before it starts, as it would be there. Medians of `RUNS` runs, with the least and the greatest.
Where the machine has other things to do, CPU says more than time does. `PEOPLE` and `FLIPS` are how many there are for
`evaluation`, `rollouts` and `flips`; a million, or for `rollouts` two hundred thousand, if it isn't said.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from bench.segments import checking, evaluation, flips, rollouts, streaming
from services.chassis import logging

RUNS = int(os.environ.get("RUNS", "3"))
SEGMENTS = (20, 200, 1_000)


def cell(values: Sequence[float], form: str = ",.0f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} - {max(values):{form}})"


def show(table: Table) -> None:
    Console(width=140).print(table)


async def stream() -> None:
    table = Table("events", "segments", "events/s", "CPU us an event", "the broker's", "transitions an event")
    for name, run in (("of people who are known", streaming.known), ("the first of each person", streaming.new)):
        found: dict[int, list[streaming.Streamed]] = {count: [] for count in SEGMENTS}
        for seed in range(RUNS):
            for count, runs in found.items():
                runs.append(await run(count, seed))
        for count, runs in found.items():
            table.add_row(
                name,
                f"{count:,}",
                cell([it.events_per_s for it in runs]),
                cell([it.cpu_us for it in runs]),
                cell([it.broker_cpu_us for it in runs]),
                f"{runs[0].transitions:.3f}",
            )
    show(table)


async def check() -> None:
    found = await checking.checked(RUNS)
    table = Table(f"at {checking.RATE}/s", "p50 ms", "p99 ms", "CPU us")
    table.add_row(
        f"three segments of one of {checking.PEOPLE:,} people",
        cell([it.p50 for it in found], ".2f"),
        cell([it.p99 for it in found], ".2f"),
        cell([it.cpu_us for it in found]),
    )
    table.add_row(
        "a bare call just before",
        cell([it.bare_p50 for it in found], ".2f"),
        cell([it.bare_p99 for it in found], ".2f"),
        cell([it.bare_cpu_us for it in found]),
    )
    show(table)


async def evaluate() -> None:
    found = await evaluation.evaluated()
    table = Table(f"CPU us a profile, {len(evaluation.RULES)} rules", "median of pages")
    for name, costs in found.parts.items():
        table.add_row(name, f"{statistics.median(costs):.1f}")
    table.add_row("in all", f"{sum(map(statistics.median, found.parts.values())):.1f}", end_section=True)
    for name, costs in found.rules.items():
        table.add_row(f"  {name}", f"{statistics.median(costs):.2f}")
    table.add_row("rules by themselves", f"{sum(map(statistics.median, found.rules.values())):.1f}", end_section=True)
    table.add_row("transitions a profile", f"{statistics.median(found.transitions):.1f}")
    table.add_row(f"to write {evaluation.PEOPLE:,} beforehand, us a profile", f"{found.seed_us:.1f}")
    table.add_row("memory, MB, at most", f"{found.memory_mb:.0f}")
    show(table)


async def roll_out() -> None:
    table = Table(f"over {rollouts.PEOPLE:,} people", "s", "us a profile", "CPU us", "transitions", "memory, MB")
    for it in await rollouts.rolled_out():
        table.add_row(
            it.what,
            f"{it.seconds:.1f}",
            f"{it.seconds / rollouts.PEOPLE * 1e6:.0f}",
            f"{it.cpu_s / rollouts.PEOPLE * 1e6:.0f}",
            f"{it.transitions:,}",
            f"{it.memory_mb:.0f}",
        )
    show(table)


async def flip() -> None:
    found = await flips.flipped(RUNS)
    table = Table(f"of {flips.PENDING:,} that are to come", "")
    rows: Mapping[str, list[float]] = {
        "flips/s": [it.per_s for it in found],
        "late by, ms: p50": [it.p50 for it in found],
        "late by, ms: p99": [it.p99 for it in found],
        "late by, ms: the latest": [it.longest for it in found],
        "CPU us a flip": [it.cpu_us for it in found],
        "memory, MB": [it.memory_mb for it in found],
    }
    for name, values in rows.items():
        table.add_row(name, cell(values))
    show(table)


FIGURES: Mapping[str, Callable[[], Awaitable[None]]] = {
    "streaming": stream,
    "check": check,
    "evaluation": evaluate,
    "rollouts": roll_out,
    "flips": flip,
}


async def main(names: Sequence[str]) -> None:
    for name in names or FIGURES:
        await FIGURES[name]()


if __name__ == "__main__":
    logging.configure("bench", "", "error")
    if unknown := set(sys.argv[1:]) - FIGURES.keys():
        sys.exit(f"usage: python -m bench.segments [{'|'.join(FIGURES)}], not {' '.join(sorted(unknown))}")
    asyncio.run(main(sys.argv[1:]))
