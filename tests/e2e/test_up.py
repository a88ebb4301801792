"""`camino up`, as a person runs it: it says where everything listens, and Ctrl-C leaves nothing running."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.stack import ROOT, SERVICES


async def test_it_serves_until_ctrl_c_and_leaves_nothing_running(tmp_path: Path) -> None:
    ports = [argument for name in SERVICES for argument in (f"--{name}-port", "0")]
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli.main",
        "up",
        "--data",
        str(tmp_path),
        *ports,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "300", "XDG_STATE_HOME": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert child.stdout is not None
    said = ""
    async with asyncio.timeout(60):
        while "Ctrl-C stops it." not in said:
            line = await child.stdout.readline()
            assert line, said
            said += line.decode()
    started = psutil.Process(child.pid).children(recursive=True)
    assert len(started) >= len(SERVICES) + 1
    for name in SERVICES:
        found = re.search(rf"{name}\s+│ (127\.0\.0\.1:\d+)", said)
        assert found, said
        async with grpc.aio.insecure_channel(found[1]) as channel:
            reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
    child.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        await child.communicate()
    assert child.returncode == 0
    assert not any(process.is_running() for process in started)
