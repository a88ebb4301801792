"""Metrics over HTTP, in Prometheus' text format, on a port of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import disable_created_metrics, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from services.chassis.errors import CaminoError
from services.chassis.metrics import Ask, Metric, Metrics

_PATIENCE_S = 3.0


class Exposition:
    """Serves one process's metrics to whoever asks. Threads of its own answer; only what has to be found out at that
    moment takes turns with the service's work."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._server: Any = None

    def start(self, listen: str) -> int:
        """Serve on `address:port`, where 0 is a free port. Returns the port. Raises OSError when it's taken."""
        # When each series began says nothing that a restart's reset of it doesn't.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._metrics.registry.register(_Readings(self._metrics.readings, asyncio.get_running_loop()))
        answer = make_wsgi_app(self._metrics.registry)

        def as_text(environ: dict[str, Any], start_response: Any) -> Any:
            # Not OpenMetrics, whatever is accepted: there a counter and a gauge can't share a name but for `_total`.
            environ.pop("HTTP_ACCEPT", None)
            return answer(environ, start_response)

        address, _, port = listen.rpartition(":")
        self._server = make_server(address.strip("[]"), int(port), as_text, ThreadingWSGIServer, _Quiet)
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()
        return int(self._server.server_port)

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """No line for each scrape."""


class _Readings(Collector):
    """Gauges that are asked for now, in the service's event loop. One that can't be found out, because what knows it is
    away, is left out rather than told wrong."""

    def __init__(self, readings: Mapping[Metric, Ask], loop: asyncio.AbstractEventLoop) -> None:
        self._readings = readings
        self._loop = loop

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return asyncio.run_coroutine_threadsafe(self._read(), self._loop).result()

    async def _read(self) -> list[GaugeMetricFamily]:
        found = await asyncio.gather(*(_one(metric, ask) for metric, ask in self._readings.items()))
        return [family for family in found if family is not None]


async def _one(metric: Metric, ask: Ask) -> GaugeMetricFamily | None:
    family = GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            values = await ask()
    except (CaminoError, TimeoutError):
        return None
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
