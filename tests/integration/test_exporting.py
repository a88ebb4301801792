"""Traces on their way to a collector: OTLP over HTTP, to a server that takes them as one does."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.chassis.config import ServiceConfig, load
from services.chassis.exporting import tracing
from services.chassis.tracing import traceparent


class Collector:
    """What was sent, and where it listens."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.requests: list[tuple[str, ExportTraceServiceRequest]] = []

    def spans(self) -> list[Any]:
        return [
            span
            for _, request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            found.requests.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


def _config(directory: Path, **settings: Any) -> ServiceConfig:
    return ServiceConfig(data_dir=directory, instance="profile-1", **settings)


async def test_spans_are_sent_before_the_service_ends(collector: Collector, tmp_path: Path) -> None:
    config = _config(tmp_path, otlp_endpoint=f"{collector.endpoint}/", trace_ratio=1)
    async with tracing("profile", config) as traced:
        with traced.root("work"):
            place = traceparent()
    [(path, request)] = collector.requests
    [span] = collector.spans()
    assert path == "/v1/traces"
    assert (span.name, f"{span.trace_id.hex()}") == ("work", place[3:35])
    told = {one.key: one.value.string_value for one in request.resource_spans[0].resource.attributes}
    assert (told["service.name"], told["service.instance.id"]) == ("profile", "profile-1")


async def test_only_so_many_of_the_traces_that_begin_here_are_sent(collector: Collector, tmp_path: Path) -> None:
    config = _config(tmp_path, otlp_endpoint=collector.endpoint, trace_ratio=0.25)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with tracing("profile", config) as traced:
        for _ in range(400):
            with traced.root("begun"):
                pass
        with traced.call("a.Service/Method", [("traceparent", parent)]):
            pass
    names = [span.name for span in collector.spans()]
    assert 50 <= names.count("begun") <= 150  # ten standard deviations
    assert names.count("a.Service/Method") == 1  # because its beginning is


async def test_a_collector_that_is_away_holds_nothing_up(tmp_path: Path) -> None:
    async with tracing("profile", _config(tmp_path, otlp_endpoint="http://127.0.0.1:1", trace_ratio=1)) as traced:
        with traced.root("work"):
            assert traceparent()


async def test_without_an_endpoint_nothing_is_traced(tmp_path: Path) -> None:
    async with tracing("profile", _config(tmp_path)) as traced:
        assert not traced.on
        with traced.root("work"):
            assert traceparent() == ""


def test_the_standard_variable_names_the_endpoint_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert load(ServiceConfig).otlp_endpoint == "http://collector:4318"
    monkeypatch.setenv("CAMINO_OTLP_ENDPOINT", "http://ours:4318")
    assert load(ServiceConfig).otlp_endpoint == "http://ours:4318"
