"""What is told of messages on their way: what providers said to them, how long that took, and how they ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from camino.type.v1 import messaging_pb2
from opentelemetry.trace import SpanKind, Status, StatusCode

from services.channels.domain import Accepted, Outcome
from services.channels.gate import Work
from services.channels.measures import PROVIDER_DURATION, PROVIDER_OUTCOMES, SETTLED
from services.chassis.telemetry import Telemetry

_CHANNELS = {number: name.removeprefix("CHANNEL_").lower() for name, number in messaging_pb2.Channel.items()}


class Watch:
    def __init__(self, telemetry: Telemetry) -> None:
        self._tracing = telemetry.tracing
        self._durations = telemetry.metrics.histogram(PROVIDER_DURATION)
        self._outcomes = telemetry.metrics.counter(PROVIDER_OUTCOMES)
        self._settled = telemetry.metrics.counter(SETTLED)

    @contextmanager
    def call(self, provider: str, works: Sequence[Work]) -> Iterator[list[Outcome]]:
        """While a provider is called for some messages. Put what it says into the list, in their order."""
        spans = [
            (place, span)
            for place, work in enumerate(works)
            if (span := self._tracing.begin(f"send by {provider}", work.traceparent, SpanKind.CLIENT))
        ]
        outcomes: list[Outcome] = []
        began = time.perf_counter()
        try:
            yield outcomes
        finally:
            took = time.perf_counter() - began
            for outcome, number in Counter(map(_name, outcomes)).items():
                self._durations.labels(provider, outcome).observe(took)
                self._outcomes.labels(provider, outcome).inc(number)
            for place, span in spans:
                if place < len(outcomes):
                    span.set_attribute("camino.outcome", _name(outcomes[place]))
                    if not isinstance(outcomes[place], Accepted):
                        span.set_status(Status(StatusCode.ERROR))
                span.end()

    def ended(self, works: Iterable[Work]) -> None:
        """Some messages have just come to an end."""
        ends = Counter((work.request.channel, work.message.state) for work in works)
        for (channel, state), number in ends.items():
            self._settled.labels(_CHANNELS.get(channel, "other"), state.name.lower()).inc(number)


def _name(outcome: Outcome) -> str:
    return type(outcome).__name__.lower()
