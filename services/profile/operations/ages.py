"""How long operations have been running."""

from __future__ import annotations

from collections.abc import Mapping

from services.chassis.clock import SECOND, Clock
from services.chassis.metrics import Metrics
from services.profile.measures import OPERATION_AGE
from services.profile.operations.operation import Kind
from services.profile.store import Store


def tell_ages(store: Store, clock: Clock, metrics: Metrics) -> None:
    """Have the metrics tell how old the oldest running operation of each kind is."""

    async def oldest() -> Mapping[tuple[str, ...], float]:
        now = clock.now()
        ages: dict[tuple[str, ...], float] = {}
        for kind in Kind:
            found = (await store.operations.query("running", int(kind), limit=1)).documents
            ages[(kind.name.lower(),)] = max(0, now - found[0].body["created"]) / SECOND if found else 0
        return ages

    metrics.read(OPERATION_AGE, oldest)
