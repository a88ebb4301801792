"""Who the commands say they are, and how."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from camino.ops.v1 import dead_letter_service_pb2 as wire
from camino.ops.v1 import dead_letter_service_pb2_grpc as wire_grpc
from typer.testing import CliRunner, Result

from cli.main import app


class DeadLetters(wire_grpc.DeadLetterServiceServicer):
    """Has none, and remembers who asked."""

    def __init__(self) -> None:
        self.asked_by: list[str | bytes | None] = []

    def ListDeadLetters(self, request: Any, context: Any) -> wire.ListDeadLettersResponse:
        self.asked_by.append(dict(context.invocation_metadata()).get("authorization"))
        return wire.ListDeadLettersResponse()


@pytest.fixture
def letters() -> DeadLetters:
    return DeadLetters()


@pytest.fixture
def target(letters: DeadLetters) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1))
    wire_grpc.add_DeadLetterServiceServicer_to_server(letters, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def ask(target: str, *options: str, **environment: str) -> Result:
    command = ["dead-letters", "list", "--service", "profile", "--profile-target", target, *options]
    return CliRunner().invoke(app, command, env=environment)


def test_a_token_is_sent_if_there_is_one(letters: DeadLetters, target: str, tmp_path: Path):
    (tmp_path / "token").write_text("in-a-file\n")
    file = str(tmp_path / "token")
    for result in (
        ask(target),
        ask(target, "--token", "given"),
        ask(target, "--token-file", file),
        ask(target, CAMINO_TOKEN="told"),
        ask(target, CAMINO_TOKEN_FILE=file),
    ):
        assert result.exit_code == 0, result.output
    assert letters.asked_by == [None, "Bearer given", "Bearer in-a-file", "Bearer told", "Bearer in-a-file"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--token", "a", "--token-file", "b"), "not both"),
        (("--token-file", "/nowhere/token"), "/nowhere/token can't be read: No such file"),
        (("--token", "two words"), "visible ASCII"),
    ],
)
def test_a_token_that_cannot_be_sent_is_said_so(
    letters: DeadLetters, target: str, options: tuple[str, ...], words: str
):
    result = ask(target, *options)
    assert result.exit_code == 2
    assert words in " ".join(result.output.replace("│", " ").split())
    assert letters.asked_by == []
