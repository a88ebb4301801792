"""What a service's metrics say at one moment, and what has happened between two."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 5.0
_Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Samples:
    """Numbers by name and labels, and when they were read: seconds since the epoch."""

    at: float
    by_name: dict[str, list[tuple[_Labels, float]]]

    @classmethod
    def read(cls, address: str) -> Self | None:
        """From `host:port`; None when nobody answers there, or not with metrics."""
        try:
            with urlopen(f"http://{address}/metrics", timeout=_TIMEOUT_S) as reply:
                return cls.of(time.time(), reply.read().decode())
        except (URLError, OSError, ValueError):
            return None

    @classmethod
    def of(cls, at: float, text: str) -> Self:
        """From Prometheus' text format. Raises ValueError if it isn't that."""
        by_name: dict[str, list[tuple[_Labels, float]]] = defaultdict(list)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                by_name[sample.name].append((sample.labels, sample.value))
        return cls(at, by_name)

    @classmethod
    def none_yet(cls, now: Samples) -> Self:
        """As they were when the service that tells `now` began."""
        return cls(now.total("process_start_time_seconds"), {})

    def matching(self, name: str, **labels: str) -> Iterator[tuple[_Labels, float]]:
        for found, value in self.by_name.get(name, ()):
            if all(found.get(label) == wanted for label, wanted in labels.items()):
                yield found, value

    def total(self, name: str, **labels: str) -> float:
        """The sum of all that have these labels; 0 if there are none."""
        return sum(value for _, value in self.matching(name, **labels))

    def values(self, name: str, label: str) -> list[str]:
        """The values of a label, in order."""
        return sorted({found[label] for found, _ in self.matching(name) if label in found})


@dataclass(frozen=True, slots=True)
class Span:
    """What happened between two readings of one service."""

    before: Samples
    after: Samples

    @property
    def seconds(self) -> float:
        return max(self.after.at - self.before.at, 1e-9)

    def count(self, name: str, **labels: str) -> float:
        return max(0.0, self.after.total(name, **labels) - self.before.total(name, **labels))

    def rate(self, name: str, **labels: str) -> float:
        """Per second."""
        return self.count(name, **labels) / self.seconds

    def quantile(self, share: float, histogram: str, **labels: str) -> float:
        """The value that so great a share of observations was at or below, as Prometheus' `histogram_quantile` reckons
        it; NaN when there were none."""
        name = f"{histogram}_bucket"
        bounds = sorted(map(float, self.after.values(name, "le")))
        text = {float(bound): bound for bound in self.after.values(name, "le")}
        counts = [self.count(name, le=text[bound], **labels) for bound in bounds]
        if not counts or not counts[-1]:
            return math.nan
        rank = share * counts[-1]
        place = next(number for number, count in enumerate(counts) if count >= rank)
        if math.isinf(bounds[place]):
            return bounds[place - 1]
        low, below = (bounds[place - 1], counts[place - 1]) if place else (0.0, 0.0)
        return low + (bounds[place] - low) * (rank - below) / (counts[place] - below)
