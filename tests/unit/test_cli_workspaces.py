"""`camino workspaces delete` against four servers in this process, that hold so many things of a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest
from camino.ops.v1 import workspace_service_pb2, workspace_service_pb2_grpc
from typer.testing import CliRunner, Result

from cli.main import app

SERVICES = ("profile", "segment", "orchestrator", "channels")


class Workspaces(workspace_service_pb2_grpc.WorkspaceServiceServicer):
    """Holds (documents, facts); the first deletion brings about `late` more documents."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name = name
        self.calls = calls
        self.held = (0, 0)
        self.late = 0
        self.failures: list[grpc.StatusCode] = []

    def DeleteWorkspace(self, request, context):
        self.calls.append(self.name)
        if self.failures:
            context.abort(self.failures.pop(0), "as the test wants it")
        documents, facts = self.held if request.workspace_id == "test-a" else (0, 0)
        self.held, self.late = (self.late, 0), 0
        return workspace_service_pb2.DeleteWorkspaceResponse(deleted_documents=documents, deleted_facts=facts)


class Deployment:
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.services = {name: Workspaces(name, self.calls) for name in SERVICES}
        self.targets: dict[str, str] = {}

    def camino(self, *arguments: str, answer: str | None = None) -> Result:
        environment = {f"CAMINO_{name.upper()}_TARGET": target for name, target in self.targets.items()}
        result = CliRunner().invoke(app, ["workspaces", *arguments], env=environment, input=answer)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    deployed = Deployment()
    with ExitStack() as exits:
        for name, servicer in deployed.services.items():
            server = grpc.server(ThreadPoolExecutor(1))
            workspace_service_pb2_grpc.add_WorkspaceServiceServicer_to_server(servicer, server)
            deployed.targets[name] = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            server.start()
            exits.callback(lambda server=server: server.stop(None).wait())
        yield deployed


def table(result: Result) -> dict[str, tuple[int, int]]:
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in result.stdout.splitlines() if "│" in line]
    return {name: (int(documents), int(facts)) for name, documents, facts in rows}


def test_it_goes_on_until_nothing_is_left_and_tells_how_much_there_was(deployment: Deployment):
    deployment.services["profile"].held = (5, 7)
    deployment.services["segment"].held, deployment.services["segment"].late = (3, 0), 2
    result = deployment.camino("delete", "test-a", "--yes")
    assert result.exit_code == 0
    assert table(result) == {"orchestrator": (0, 0), "channels": (0, 0), "segment": (5, 0), "profile": (5, 7)}
    assert deployment.calls == ["orchestrator", "channels", "segment", "profile"] * 3


def test_a_call_that_takes_too_long_is_made_again(deployment: Deployment):
    deployment.services["segment"].held = (3, 0)
    deployment.services["segment"].failures = [grpc.StatusCode.DEADLINE_EXCEEDED]
    result = deployment.camino("delete", "test-a", "--yes")
    assert result.exit_code == 0
    assert table(result)["segment"] == (3, 0)


def test_a_refusal_is_one_line_and_what_was_done_is_told(deployment: Deployment):
    deployment.services["orchestrator"].held = (4, 0)
    deployment.services["channels"].failures = [grpc.StatusCode.FAILED_PRECONDITION]
    result = deployment.camino("delete", "test-a", "--yes")
    assert result.exit_code == 1
    assert table(result)["orchestrator"] == (4, 0)
    [line] = result.stderr.splitlines()
    assert line.startswith("FAILED_PRECONDITION")
    assert deployment.calls == ["orchestrator", "channels"]


@pytest.mark.parametrize(("answer", "status", "calls"), [("n\n", 1, 0), ("y\n", 0, 4)])
def test_it_asks_before(deployment: Deployment, answer: str, status: int, calls: int):
    result = deployment.camino("delete", "test-b", answer=answer)
    assert result.exit_code == status
    assert len(deployment.calls) == calls
