"""What a process counts and measures: declared once, kept in a registry of its own, read by Prometheus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase

Kind = Literal["counter", "gauge", "histogram"]
Made = TypeVar("Made", bound=MetricWrapperBase)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by its name, what its numbers mean, and the labels that divide it.

    A label's values are few and known beforehand: never a workspace, a person, an endpoint, or anything that a caller
    makes up.
    """

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """The upper bounds of a histogram's buckets, beside infinity."""


Ask = Callable[[], Awaitable[Mapping[tuple[str, ...], float]]]
"""Finds out the present values of a gauge, by the values of its labels."""


class Metrics:
    """The metrics of one process. Each is made when it's first asked for.

    Bind labels outside of hot paths (`histogram(...).labels(...)`): an observation then costs half a microsecond, a
    count a quarter.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.readings: dict[Metric, Ask] = {}
        """Gauges whose values are asked for when somebody reads them, and cost nothing before."""
        self._made: dict[str, MetricWrapperBase] = {}

    def counter(self, metric: Metric) -> Counter:
        return self._of(Counter, metric)

    def gauge(self, metric: Metric) -> Gauge:
        return self._of(Gauge, metric)

    def histogram(self, metric: Metric) -> Histogram:
        return self._of(Histogram, metric, buckets=metric.buckets)

    def read(self, metric: Metric, ask: Ask) -> None:
        """Have `ask` find out a gauge whenever it's read, beside those who do so already for other labels of it."""
        before = self.readings.get(metric)
        if before is None:
            self.readings[metric] = ask
            return

        async def both() -> Mapping[tuple[str, ...], float]:
            return {**await before(), **await ask()}

        self.readings[metric] = both

    def _of(self, kind: type[Made], metric: Metric, **options: object) -> Made:
        made = self._made.get(metric.name)
        if made is None:
            make = cast(Callable[..., Made], kind)
            made = make(metric.name, metric.text, metric.labels, registry=self.registry, **options)
            self._made[metric.name] = made
        return cast(Made, made)
