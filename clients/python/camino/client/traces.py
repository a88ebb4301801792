"""Where a call is in its caller's trace (W3C Trace Context), if the caller traces by OpenTelemetry: the extra `tracing`
installs its API."""

from __future__ import annotations

from collections.abc import Iterable

try:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:

    def place() -> Iterable[tuple[str, str]]:
        """Metadata that tells of the current span; nothing here, because nobody traces."""
        return ()

else:
    _PROPAGATOR = TraceContextTextMapPropagator()

    def place() -> Iterable[tuple[str, str]]:
        """Metadata that tells of the current span; none if there is none."""
        told: dict[str, str] = {}
        _PROPAGATOR.inject(told)
        return told.items()
