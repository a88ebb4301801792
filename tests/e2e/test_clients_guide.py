"""The guide to clients tells the truth: its Python runs as it stands, and what it asks others to set is what we set."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest
import trustme
import yaml
from camino.client.terms import CHANNEL_OPTIONS
from camino.testing.rpcs import rpcs

from tests.certificates import mounted
from tests.house import house

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/clients.md"
README = ROOT / "clients/python/README.md"
FIRST = ROOT / "README.md"

RUN = """
import ast, asyncio, inspect, json, sys

from camino.client import connect


async def main():
    async with connect() as client:
        names = {}
        for number, example in enumerate(json.load(sys.stdin), 1):
            names["client"] = client
            code = compile(example, f"example {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if inspect.isawaitable(done := eval(code, names)):
                await done


asyncio.run(main())
"""


def examples(language: str, file: Path = GUIDE) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", file.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found


async def run(program: str, fed: str, directory: Path, targets: dict[str, str]) -> list[str]:
    """The lines that a program prints; the services it calls are served by this process meanwhile."""
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        cwd=directory,
        env={**os.environ, **{f"CAMINO_{name.upper()}_TARGET": target for name, target in targets.items()}},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await running.communicate(fed.encode())
    assert running.returncode == 0, complained.decode()
    return said.decode().splitlines()


async def test_the_python_runs_from_beginning_to_end(tmp_path: Path):
    authority = trustme.CA()
    mounted(tmp_path / "secrets", authority, authority)
    (tmp_path / "secrets/camino-token").write_text("a-token")
    (tmp_path / "house").mkdir()
    async with house(tmp_path / "house") as at:
        lines = await run(RUN, json.dumps(examples("python")), tmp_path, at.addresses)
        [whole] = examples("python", README)
        [profile_id] = await run(whole, "", tmp_path, at.addresses)
        [same_id] = await run(RUN, json.dumps(examples("python", FIRST)), tmp_path, at.addresses)
    assert profile_id in lines
    assert same_id == profile_id
    for line in (
        "ITEM_OUTCOME_OK",
        "ITEM_OUTCOME_DUPLICATE",
        "Ana",
        "page_view",
        "NOT_FOUND: there is no profile 'nobody' in this workspace",
        "now it's",
        "1 order-1002 ",
    ):
        assert any(found.startswith(line) for found in lines), (line, lines)


def test_the_service_config_is_ours():
    [told] = map(json.loads, examples("json"))
    ours = json.loads(str(dict(CHANNEL_OPTIONS)["grpc.service_config"]))
    names = told["methodConfig"][0].pop("name")
    whole = {name["service"] for name in names if "method" not in name}
    single = {(name["service"], name["method"]) for name in names if "method" in name}
    retried = {rpc.full_name for rpc in rpcs() if rpc.service in whole or (rpc.service, rpc.method) in single}
    streams = {f"{name['service']}.{name['method']}" for name in told["methodConfig"].pop()["name"]}
    assert streams == {rpc.full_name for rpc in rpcs() if rpc.streaming}
    assert retried == {rpc.full_name for rpc in rpcs() if rpc.idempotent}
    once = {rpc.method for rpc in rpcs() if rpc.full_name not in retried}
    assert once == {"RedriveDeadLetter", "RotateWebhookSecret", "SendTestWebhook"}
    ours["methodConfig"][0].pop("name")
    assert told == ours


@pytest.mark.parametrize("template", examples("yaml"))
def test_the_templates_are_bufs(template: str):
    read = yaml.safe_load(template)
    assert read["version"] == "v2"
    assert {"inputs", "plugins"} <= read.keys()


@pytest.mark.parametrize("file", [GUIDE, README, FIRST], ids=str)
def test_links_lead_somewhere(file: Path):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text())
    assert links
    assert [link for link in links if not (file.parent / link).exists()] == []
