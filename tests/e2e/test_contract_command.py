"""`camino contract`, as whoever deploys runs it: against services that are running somewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from cli.stack import ROOT, SERVICES, Stack
from services.chassis.callers import digest
from tests import kept

FULL, NO_SCOPES, ELSEWHERE = "token-with-all", "token-without-scopes", "token-for-elsewhere"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("stack")
    callers = [
        {"name": "suite", "token_sha256": digest(FULL).hex(), "scopes": ["*"], "workspaces": ["*"]},
        {"name": "powerless", "token_sha256": digest(NO_SCOPES).hex(), "scopes": ["other.read"], "workspaces": ["*"]},
        {"name": "stranger", "token_sha256": digest(ELSEWHERE).hex(), "scopes": ["*"], "workspaces": ["elsewhere"]},
    ]
    (directory / "callers.yaml").write_text(yaml.safe_dump({"callers": callers}))
    (directory / "token").write_text(FULL)
    told = {"CAMINO_CALLERS_FILE": str(directory / "callers.yaml"), "CAMINO_TOKEN_FILE": str(directory / "token")}
    stack = Stack(directory / "data", dict.fromkeys(SERVICES, 0), dict.fromkeys(SERVICES, told))
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


def contract(directory: Path, *arguments: str, token: str = FULL) -> subprocess.CompletedProcess[str]:
    # From another directory and without our own settings: as somebody else would.
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "contract", *arguments],
        cwd=directory,
        env={**os.environ, "CAMINO_TOKEN": token, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def at(stack: Stack) -> list[str]:
    return [f"--target={stack.target(name)}" for name in SERVICES]


def test_a_running_deployment_is_proved_and_left_as_it_was(stack: Stack, tmp_path: Path) -> None:
    tokens = [f"--token-without-scopes={NO_SCOPES}", f"--token-elsewhere={ELSEWHERE}"]
    result = contract(tmp_path, *at(stack), *tokens, "--junit=results.xml")
    assert result.returncode == 0, result.stdout + result.stderr
    [suite] = ElementTree.parse(tmp_path / "results.xml").getroot().iter("testsuite")
    told = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    assert told["tests"] > 900
    assert (told["failures"], told["errors"]) == (0, 0)
    # What takes a look inside, or what no call can bring about.
    assert told["skipped"] < told["tests"] / 5
    assert "ProfileService.GetProfile" in result.stdout
    assert "out of reach" in result.stdout
    for path in stack.data.glob("*.db"):
        assert not [
            where for where, body in kept.documents(path).items() if b"contract-" in body or "contract-" in where[2]
        ]


def test_what_is_broken_is_told_in_the_contract_s_words(stack: Stack, tmp_path: Path) -> None:
    """With a token that may nothing, the examples can't be carried out."""
    result = contract(tmp_path, *at(stack), "-k", "GetSegment and takes", token=NO_SCOPES)
    assert result.returncode == 1
    assert "camino.segment.v1.SegmentService.PublishSegment: must be answered" in result.stdout
    assert "PERMISSION_DENIED" in result.stdout
    assert "left behind" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_where_nobody_listens_is_one_clear_error(tmp_path: Path) -> None:
    result = contract(tmp_path, "--target=127.0.0.1:1")
    assert result.returncode != 0
    assert "127.0.0.1:1" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
