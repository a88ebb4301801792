"""The README's demo, as a newcomer runs it: it checks its own story, and ends with 0 only if all came out as it
should."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from cli.stack import ROOT, SERVICES
from examples.demo.cohort import load


async def test_the_demo_comes_out_as_it_should_and_its_logs_name_nobody(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "examples.demo",
        str(tmp_path),
        cwd=ROOT,
        env={**os.environ, "CAMINO_LOG_LEVEL": "debug"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(240):
            output, _ = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
    assert child.returncode == 0, output.decode()
    assert "got exactly one mail" in output.decode()

    logs = {name: (tmp_path / "logs" / f"{name}.log").read_text() for name in SERVICES}
    people = load(datetime.now(UTC).date())
    names = {person.first_name for person in people} | {person.email for person in people}
    for name, text in logs.items():
        assert text.count('"event": "call"') + text.count('"event": "listening"') > 1, name
        assert names & set(re.findall(r"[\w.@-]+", text)) == set(), name
