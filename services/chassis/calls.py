"""What is told of each call that is answered: how long it took and how it ended, its place in a trace, and the id by
which the caller finds its lines in the log."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import structlog
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode
from prometheus_client import Gauge, Histogram

from services.chassis.errors import CaminoError
from services.chassis.ids import new_id
from services.chassis.measures import RPC_DURATION, RPC_IN_FLIGHT, RPC_STREAMS
from services.chassis.telemetry import Telemetry
from services.chassis.tracing import Tracing

log = structlog.get_logger()

REQUEST_ID = "x-request-id"
"""In the metadata of a call, and in the trailing metadata of its answer."""

_SANE = re.compile(r"[A-Za-z0-9_.-]{8,64}")
_SERVERS_FAULT = frozenset(("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"))
"""Statuses that make a server's span an error: OpenTelemetry's conventions for gRPC."""

Metadata = Iterable[tuple[str, str | bytes]]


class Calls:
    """The calls of one server."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._tracing = telemetry.tracing
        self._durations = telemetry.metrics.histogram(RPC_DURATION)
        self._in_flight = telemetry.metrics.gauge(RPC_IN_FLIGHT)
        self._streams = telemetry.metrics.gauge(RPC_STREAMS)
        self._by_method: dict[str, _Method] = {}

    def begin(self, method: str, metadata: Metadata) -> Call:
        """A call that has come in. `method` is `/<service>/<method>`, one of those that are served."""
        known = self._by_method.get(method)
        if known is None:
            name = method.removeprefix("/")
            in_flight = self._in_flight.labels(name)
            known = self._by_method[method] = _Method(name, in_flight, self._streams, self._durations)
        return Call(known, self._tracing, metadata)


class _Method:
    def __init__(self, name: str, in_flight: Gauge, streams: Gauge, durations: Histogram) -> None:
        self.name = name
        self.in_flight = in_flight
        self._streams = streams
        self._durations = durations
        self._by_status: dict[str, Histogram] = {}

    def took(self, seconds: float, status: str) -> None:
        durations = self._by_status.get(status)
        if durations is None:
            durations = self._by_status[status] = self._durations.labels(self.name, status)
        durations.observe(seconds)

    @property
    def streams(self) -> Gauge:
        """Only of methods that stream is there one at all."""
        return self._streams.labels(self.name)


@dataclass(slots=True)
class Ending:
    """How a request of a stream ends; see `Call.status`."""

    status: str = "CANCELLED"


class Telling:
    """How a call that tells goes on. What is measured of it is how long its first response took."""

    __slots__ = ("_began", "_in_flight", "_took")

    def __init__(self, in_flight: Gauge) -> None:
        self._in_flight = in_flight
        self._took: float | None = None
        in_flight.inc()
        self._began = time.perf_counter()

    def begun(self) -> None:
        """There has been a response."""
        if self._took is None:
            self._took = time.perf_counter() - self._began
            self._in_flight.dec()

    def ended(self, status: str, *, over: bool) -> tuple[float, str]:
        """How long it took, and the status that it counts with: OK if it was only `over`."""
        well = over and self._took is not None
        self.begun()
        assert self._took is not None
        return self._took, grpc.StatusCode.OK.name if well else status


class Call:
    """One call. From its making on, lines in the log have its id: each call is a task of its own, and so is what is
    bound there."""

    __slots__ = ("_metadata", "_method", "_request_id", "_tracing", "over", "status")

    def __init__(self, method: _Method, tracing: Tracing, metadata: Metadata) -> None:
        self._method = method
        self._tracing = tracing
        self._metadata = metadata
        self._request_id = _request_id(metadata)
        self.status = "CANCELLED"
        """The gRPC status that it ends with, by name: as long as nobody says otherwise, it was broken off."""
        self.over = False
        """Whether it ends because a stream's time is over, which is no failure."""
        structlog.contextvars.bind_contextvars(request_id=self._request_id)

    @contextmanager
    def answering(self, context: grpc.aio.ServicerContext) -> Iterator[None]:
        """While it's answered. Set `status` before the end."""
        method = self._method
        method.in_flight.inc()
        began = time.perf_counter()
        try:
            with self._told(context):
                yield
        finally:
            method.in_flight.dec()
            method.took(time.perf_counter() - began, self.status)

    @contextmanager
    def conversing(self, context: grpc.aio.ServicerContext) -> Iterator[None]:
        """While a stream is open, whose requests are told of one by one. Set `status` before the end."""
        self._method.streams.inc()
        try:
            with self._told(context):
                yield
        finally:
            self._method.streams.dec()

    @contextmanager
    def telling(self, context: grpc.aio.ServicerContext) -> Iterator[Telling]:
        """While a call is answered with responses as they come. Set `status` before the end."""
        method = self._method
        method.streams.inc()
        telling = Telling(method.in_flight)
        try:
            with self._told(context):
                yield telling
        finally:
            method.took(*telling.ended(self.status, over=self.over))
            method.streams.dec()

    @contextmanager
    def answering_one(self) -> Iterator[Ending]:
        """While a request of a stream is carried out. It begins a trace of its own: what many requests lead to, over
        minutes, would be no trace that anybody could read."""
        method, ending = self._method, Ending()
        method.in_flight.inc()
        began = time.perf_counter()
        try:
            with self._tracing.root(method.name):
                yield ending
        finally:
            method.in_flight.dec()
            method.took(time.perf_counter() - began, ending.status)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """While a request of a stream is looked at."""
        try:
            yield
        except CaminoError as error:
            self._method.took(0, error.status.value)
            raise

    @contextmanager
    def _told(self, context: grpc.aio.ServicerContext) -> Iterator[None]:
        """In the trace and in the log, from the beginning to the end."""
        context.set_trailing_metadata(((REQUEST_ID, self._request_id),))
        began = time.perf_counter()
        with self._tracing.call(self._method.name, self._metadata):
            try:
                yield
            finally:
                self._tell_trace()
                took = round(time.perf_counter() - began, 6)
                log.debug("call", method=self._method.name, status=self.status, seconds=took)

    def _tell_trace(self) -> None:
        if not self._tracing.on:
            return
        span = trace.get_current_span()
        span.set_attribute("rpc.grpc.status_code", grpc.StatusCode[self.status].value[0])
        span.set_attribute("camino.request_id", self._request_id)
        if self.status in _SERVERS_FAULT and not self.over:
            span.set_status(Status(StatusCode.ERROR))


def _request_id(metadata: Metadata) -> str:
    """The caller's, if it's one that a log can hold; else a new one."""
    for name, value in metadata:
        if name == REQUEST_ID:
            if isinstance(value, str) and _SANE.fullmatch(value):
                return value
            break
    return new_id()
