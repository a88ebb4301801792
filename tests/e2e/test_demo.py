"""The README's demo, as a newcomer runs it: it checks its own story, and ends with 0 only if all came out as it
should."""

from __future__ import annotations

import asyncio
import sys

from cli.stack import ROOT


async def test_the_demo_comes_out_as_it_should() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "examples.demo",
        cwd=ROOT,
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
