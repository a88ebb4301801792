"""The commands against a server of one service, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from camino.channels.v1 import template_pb2, template_service_pb2, template_service_pb2_grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from typer.testing import CliRunner, Result

from cli.main import app

NOBODY = "127.0.0.1:1"
TEMPLATE = "kind: Template\nid: {id}\nspec:\n  email:\n    subject: Hello\n    text: {text}\n"


class Templates(template_service_pb2_grpc.TemplateServiceServicer):
    """Keeps what is published. A text with `nofilter` in it is refused, by the name of its field."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], template_pb2.Template] = {}

    def GetTemplate(self, request, context):
        found = self.kept.get((request.workspace_id, request.template_id))
        if found is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no such template")
        return template_service_pb2.GetTemplateResponse(template=found)

    def PublishTemplate(self, request, context):
        if "nofilter" in request.content.email.text:
            bad = error_details_pb2.BadRequest()
            bad.field_violations.add(field="content.email.text", description="unknown filter 'nofilter'")
            status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="bad")
            status.details.add().Pack(bad)
            context.abort_with_status(rpc_status.to_status(status))
        key = (request.workspace_id, request.template_id)
        before = self.kept.get(key)
        version = before.version if before else 0
        if before is None or before.content != request.content:
            version += 1
        template = template_pb2.Template(template_id=request.template_id, content=request.content, version=version)
        template.etag = str(version)
        self.kept[key] = template
        return template_service_pb2.PublishTemplateResponse(template=template)


@pytest.fixture
def templates() -> Templates:
    return Templates()


@pytest.fixture
def target(templates: Templates) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    template_service_pb2_grpc.add_TemplateServiceServicer_to_server(templates, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def camino(*arguments: str, channels: str = NOBODY, text: str | None = None) -> Result:
    environment = {
        "CAMINO_PROFILE_TARGET": NOBODY,
        "CAMINO_SEGMENT_TARGET": NOBODY,
        "CAMINO_ORCHESTRATOR_TARGET": NOBODY,
        "CAMINO_CHANNELS_TARGET": channels,
    }
    result = CliRunner().invoke(app, list(arguments), env=environment, input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def row(result: Result, id_: str) -> list[str]:
    """The cells of the line of the table with this id."""
    (line,) = [line for line in result.stdout.splitlines() if f" {id_} " in line]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_apply_says_what_became_of_each(templates: Templates, target: str):
    def apply(text: str) -> list[str]:
        result = camino("apply", "-f", "-", "-w", "shop", channels=target, text=TEMPLATE.format(id="a", text=text))
        assert result.exit_code == 0
        return row(result, "a")

    assert apply("one") == ["Template", "a", "1", "created"]
    assert apply("one") == ["Template", "a", "1", "unchanged"]
    assert apply("two") == ["Template", "a", "2", "updated"]
    assert list(templates.kept) == [("shop", "a")]


def test_a_refusal_names_the_file_the_line_and_the_field(tmp_path: Path, target: str):
    (tmp_path / "a.yaml").write_text(TEMPLATE.format(id="bad", text='"{{ 1 | nofilter }}"'))
    (tmp_path / "b.yml").write_text(TEMPLATE.format(id="good", text="x"))
    (tmp_path / "notes.txt").write_text("not: yaml: at all")
    result = camino("apply", "-f", str(tmp_path), channels=target)
    assert result.exit_code == 1
    assert f"template bad: {tmp_path / 'a.yaml'}:6: spec.email.text: unknown filter 'nofilter'" in result.stderr
    assert (row(result, "bad")[-1], row(result, "good")[-1]) == ("failed", "created")


def test_nothing_is_sent_when_anything_is_wrong(tmp_path: Path, templates: Templates, target: str):
    (tmp_path / "good.yaml").write_text(TEMPLATE.format(id="good", text="x"))
    result = camino("apply", "-f", str(tmp_path), "-f", str(tmp_path / "none.yaml"), channels=target)
    assert result.exit_code == 1
    assert f"{tmp_path / 'none.yaml'}: can't be read" in result.stderr
    assert templates.kept == {}


def test_a_dry_run_sends_nothing():
    result = camino("apply", "-f", "-", "--dry-run", text=TEMPLATE.format(id="a", text="x"))
    assert result.exit_code == 0
    assert row(result, "a")[-1] == "valid"


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "segments"),
        ("get", "profile", "--identity", "email:ana@example.com"),
        ("send-event", "purchase", "--identity", "email:ana@example.com"),
        ("messages", "list", "--state", "unknown"),
        ("messages", "resolve", "some-id", "--as", "send-again"),
        ("dead-letters", "redrive", "some-id", "--service", "segment"),
        ("workspaces", "delete", "test-a", "--yes"),
    ],
)
def test_a_service_that_is_down_is_one_line(arguments: tuple[str, ...]):
    result = camino(*arguments)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("UNAVAILABLE: ")


def test_status_shows_what_is_down():
    result = camino("status")
    assert result.exit_code == 1
    for service in ("profile", "segment", "orchestrator", "channels"):
        assert row(result, service)[2].startswith("DOWN: UNAVAILABLE")
