"""`camino erase` and `camino export` against a profile service in this process, whose operations take some looking."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from camino.profile.v1 import operation_pb2, operation_service_pb2, operation_service_pb2_grpc
from typer.testing import CliRunner, Result

from cli import operations
from cli.main import app

NAMES = ("orchestrator", "segment", "channels", "profile")
DOCUMENT = json.dumps({"profile": "ñ" * 50}, ensure_ascii=False).encode()


class Operations(operation_service_pb2_grpc.OperationServiceServicer):
    """One operation, that is a step further each time that somebody looks."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.operation = operation_pb2.Operation(operation_id="op-1", profile_id="ana-id")
        self.operation.state = operation_pb2.OPERATION_STATE_RUNNING
        self.end = operation_pb2.OPERATION_STATE_DONE
        self.broken = False

    def _begin(self, request):
        whom = request.profile_id or f"{request.identity.namespace}:{request.identity.value}"
        if whom == "nobody":
            return None
        self.asked.append(f"{request.workspace_id} {whom}")
        return self.operation

    def EraseProfile(self, request, context):
        if self._begin(request) is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no profile 'nobody'")
        return operation_service_pb2.EraseProfileResponse(operation=self.operation)

    def ExportProfile(self, request, context):
        assert request.request_id
        self._begin(request)
        return operation_service_pb2.ExportProfileResponse(operation=self.operation)

    def GetOperation(self, request, context):
        assert request.operation_id == "op-1"
        done = len(self.operation.receipts)
        if done == 1 and not self.operation.obstacle:
            self.operation.obstacle = "the segment service: UNAVAILABLE"
        elif done < len(NAMES):
            self.operation.obstacle = ""
            self.operation.receipts.add(service=NAMES[done], counts={"runs": done, "dead_letters": 1} if done else {})
        else:
            self.operation.state = self.end
            self.operation.end_time.FromJsonString("2026-01-01T00:00:00Z")
            self.operation.expire_time.FromJsonString("2026-01-08T00:00:00Z")
        return operation_service_pb2.GetOperationResponse(operation=self.operation)

    def ReadExport(self, request, context):
        start = int(request.page_token or 0)
        if self.broken and start:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "gone")
        # A part ends inside of a character.
        end = start + 33
        return operation_service_pb2.ReadExportResponse(
            part=DOCUMENT[start:end], next_page_token=str(end) if end < len(DOCUMENT) else ""
        )


@pytest.fixture
def served() -> Operations:
    return Operations()


@pytest.fixture
def target(served: Operations, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(operations, "_LOOK_S", 0.001)
    server = grpc.server(ThreadPoolExecutor(1))
    operation_service_pb2_grpc.add_OperationServiceServicer_to_server(served, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def camino(target: str, *arguments: str, answer: str | None = None) -> Result:
    result = CliRunner().invoke(app, [*arguments, "-w", "shop"], env={"CAMINO_PROFILE_TARGET": target}, input=answer)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_an_erasure_is_waited_for_and_tells_of_each_service(served: Operations, target: str):
    result = camino(target, "erase", "email:ana@example.com", "--yes")
    assert result.exit_code == 0
    assert served.asked == ["shop email:ana@example.com"]
    assert result.stdout.splitlines() == [
        "profile ana-id is being erased by operation op-1",
        "orchestrator: nothing",
        "segment: 1 dead letters, 1 runs",
        "channels: 1 dead letters, 2 runs",
        "profile: 1 dead letters, 3 runs",
        "erased 2026-01-01T00:00:00Z",
    ]
    assert result.stderr.splitlines() == ["waiting: the segment service: UNAVAILABLE"]


def test_it_asks_before_it_erases(served: Operations, target: str):
    assert camino(target, "erase", "--profile", "ana-id", answer="n\n").exit_code == 1
    assert served.asked == []
    assert camino(target, "erase", "--profile", "ana-id", "--no-wait", answer="y\n").exit_code == 0
    assert served.asked == ["shop ana-id"]
    assert not served.operation.receipts


@pytest.mark.parametrize("command", ["erase", "export"])
@pytest.mark.parametrize("whom", [(), ("email:ana@example.com", "--profile", "ana-id"), ("ana",)])
def test_it_wants_to_know_whom(served: Operations, target: str, command: str, whom: tuple[str, ...]):
    assert camino(target, command, *whom).exit_code == 2
    assert served.asked == []


def test_nobody_is_one_line(target: str):
    result = camino(target, "erase", "--profile", "nobody", "--yes")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert result.stderr.startswith("NOT_FOUND")


def test_an_export_is_a_file_for_its_owner_only(target: str, tmp_path: Path):
    file = tmp_path / "ana.json"
    file.write_text("old")
    file.chmod(0o644)
    result = camino(target, "export", "email:ana@example.com", "--file", str(file))
    assert result.exit_code == 0, result.stderr
    assert file.read_bytes() == DOCUMENT
    assert file.stat().st_mode & 0o777 == 0o600
    assert result.stdout.splitlines()[-1] == (
        f"{len(DOCUMENT)} bytes in {file}; it can be fetched again until 2026-01-08T00:00:00Z"
    )
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_that_breaks_off_leaves_what_was_there(served: Operations, target: str, tmp_path: Path):
    file = tmp_path / "ana.json"
    file.write_text("old")
    served.broken = True
    assert camino(target, "export", "email:ana@example.com", "--file", str(file)).exit_code == 1
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_that_was_asked_for_is_fetched_later(served: Operations, target: str, tmp_path: Path):
    assert camino(target, "export", "email:ana@example.com", "--no-wait").exit_code == 0
    file = tmp_path / "ana.json"
    assert camino(target, "export", "--operation", "op-1", "--file", str(file)).exit_code == 0
    assert file.read_bytes() == DOCUMENT
    assert len(served.asked) == 1


def test_an_export_whose_profile_is_erased_meanwhile_is_none(served: Operations, target: str, tmp_path: Path):
    served.end = operation_pb2.OPERATION_STATE_EXPIRED
    file = tmp_path / "ana.json"
    result = camino(target, "export", "email:ana@example.com", "--file", str(file))
    assert result.exit_code == 1
    assert "erased" in result.stderr
    assert not file.exists()


def test_a_file_that_cannot_be_written_is_one_line(target: str, tmp_path: Path):
    result = camino(target, "export", "email:ana@example.com", "--file", str(tmp_path / "none" / "ana.json"))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith("No such file or directory")
