"""Sending traces to a collector, by OTLP over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.chassis.config import ServiceConfig
from services.chassis.tracing import Tracing
from services.chassis.version import VERSION


@asynccontextmanager
async def tracing(service: str, config: ServiceConfig) -> AsyncIterator[Tracing]:
    """A service's tracing as it's configured; at the end, what was not sent yet is sent.

    `OTEL_*` variables that OpenTelemetry's SDK knows hold too: headers, certificates, limits, delays, attributes of the
    resource.
    """
    if not config.otlp_endpoint:
        yield Tracing()
        return
    # Imported only where it is used: a service that isn't traced is spared the SDK, and its memory.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    resource = Resource.create(
        {
            "service.namespace": "camino",
            "service.name": service,
            "service.instance.id": config.instance,
            "service.version": VERSION,
        }
    )
    provider = TracerProvider(
        resource=resource, sampler=ParentBasedTraceIdRatio(config.trace_ratio), shutdown_on_exit=False
    )
    exporter = OTLPSpanExporter(endpoint=f"{config.otlp_endpoint.rstrip('/')}/v1/traces", timeout=_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield Tracing(provider.get_tracer("camino", VERSION))
    finally:
        await asyncio.to_thread(provider.shutdown)


_TIMEOUT_S = 5
