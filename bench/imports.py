"""`python -m bench.imports`: how long `camino import` takes for a file of CDNOW's size, as medians of several runs.

The file has every customer of `examples/cdnow/purchases.csv` ten times, under ids of their own: as many people as the
whole of CDNOW has, and as many purchases but for four in a thousand. Each run is a fresh stack, with all consumers
running.
"""

from __future__ import annotations

import asyncio
import csv
import os
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.fixture import Measured, measured
from cli.stack import ROOT

RUNS = 5
COPIES = 10
WORKSPACE = "bench"
_CDNOW = ROOT / "examples/cdnow"


@dataclass(frozen=True, slots=True)
class Imported:
    seconds: float
    rows: int
    command_cpu_s: float
    """Of the command alone."""
    stack_cpu_s: float
    """Of the services and the broker, while the command ran."""


def whole_cdnow(file: Path) -> int:
    """Write it; how many purchases it has."""
    with (_CDNOW / "purchases.csv").open(newline="") as source:
        rows = list(csv.DictReader(source))
    with file.open("w", newline="") as target:
        writer = csv.DictWriter(target, rows[0].keys())
        writer.writeheader()
        for copy in range(COPIES):
            # The sample's numbers end in 1: the others' are free.
            writer.writerows({**row, "customer": f"{int(row['customer']) + copy:05d}"} for row in rows)
    return len(rows) * COPIES


async def imported(stack: Measured, file: Path, rows: int) -> Imported:
    await stack.publish(WORKSPACE)
    mapping = str(_CDNOW / "purchases.yaml")
    command = [sys.executable, "-m", "cli.main", "import", "events", str(file), "--mapping", mapping]
    options = ["--quiet", "--workspace", WORKSPACE, "--profile-target", stack.stack.target("profile")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, cpu = time.perf_counter(), stack.cpu_s()
    child = await asyncio.create_subprocess_exec(*command, *options, env=environment, stdout=asyncio.subprocess.DEVNULL)
    status = await child.wait()
    seconds, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert status == 0, f"the import ended with status {status}"
    command_cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return Imported(seconds, rows, command_cpu, stack.cpu_s() - cpu)


async def run(directory: Path) -> Imported:
    file = directory / "purchases.csv"
    rows = whole_cdnow(file)
    async with measured() as stack:
        return await imported(stack, file, rows)


def show(found: list[Imported], console: Console) -> None:
    table = Table("figure", f"median of {len(found)} (min - max)", "target")

    def row(name: str, values: list[float], digits: int, target: str = "") -> None:
        low, middle, high = min(values), statistics.median(values), max(values)
        table.add_row(name, f"{middle:,.{digits}f}  ({low:,.{digits}f} - {high:,.{digits}f})", target)

    row(f"import of {found[0].rows:,} purchases, s", [each.seconds for each in found], 1, "< 30")
    row("rows/s", [each.rows / each.seconds for each in found], 0)
    row("CPU s of the command", [each.command_cpu_s for each in found], 1)
    row("CPU s of the stack meanwhile", [each.stack_cpu_s for each in found], 1)
    console.print(table)


def main() -> None:
    console = Console()
    found = []
    runs = int(os.environ.get("RUNS", RUNS))
    for number in range(runs):
        with console.status(f"run {number + 1} of {runs}"), tempfile.TemporaryDirectory() as directory:
            found.append(asyncio.run(run(Path(directory))))
    show(found, console)


if __name__ == "__main__":
    main()
