"""What is measured of telling webhooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from services.chassis.clock import SECOND, Clock, Instant
from services.chassis.documents import Collection
from services.chassis.metrics import Metrics
from services.segment.measures import WEBHOOK_DURATION, WEBHOOK_FAILING_AGE, WEBHOOK_LATENESS, WEBHOOK_LOSSES
from services.segment.webhooks.posting import Outcome


class Measuring:
    def __init__(self, metrics: Metrics, webhooks: Collection, clock: Clock, held: Callable[[], Iterable[int]]) -> None:
        self._webhooks = webhooks
        self._clock = clock
        self._held = held
        self._durations = metrics.histogram(WEBHOOK_DURATION)
        self._lateness = metrics.histogram(WEBHOOK_LATENESS)
        self._losses = metrics.counter(WEBHOOK_LOSSES)
        metrics.read(WEBHOOK_FAILING_AGE, self._failing_age)

    def posted(self, outcome: Outcome, took: Instant, ages: Iterable[Instant]) -> None:
        """A message was posted: how long that took, and how long the changes in it have been published."""
        self._durations.labels(outcome.kind).observe(max(0, took) / SECOND)
        if outcome.taken:
            for age in ages:
                self._lateness.observe(max(0, age) / SECOND)

    def lost(self) -> None:
        self._losses.inc()

    async def _failing_age(self) -> Mapping[tuple[str, ...], float]:
        now = self._clock.now()
        oldest = now
        for partition in self._held():
            page = await self._webhooks.query("failing", partition, limit=1)
            oldest = min([oldest, *(document.body["failing_since"] for document in page.documents)])
        return {(): (now - oldest) / SECOND}
