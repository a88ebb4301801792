"""Metrics: what is counted and measured where, and how it's told over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from prometheus_client import CollectorRegistry

from docs.generate import metrics as reference
from services.chassis.clock import SECOND
from services.chassis.documents import Document, Index, Owner, Schema
from services.chassis.due import Due
from services.chassis.errors import StoreUnavailable
from services.chassis.exposition import Exposition
from services.chassis.loops import Running
from services.chassis.measured import MeasuredDatabase
from services.chassis.metrics import Metric, Metrics
from services.chassis.pump import Pump
from services.chassis.sqlite import SqliteDatabase
from services.chassis.telemetry import Telemetry
from services.chassis.testing import FakeClock, eventually

THINGS = Schema("things", (Index("wake", ("partition", "at")),), owner=Owner.SERVICE)
LEVEL = Metric("test_level", "gauge", "A level.", ("tank",))
DEPTH = Metric("test_depth", "gauge", "A depth.")


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


async def scrape(metrics: Metrics, accept: str = "") -> str:
    """What is told over HTTP."""
    exposition = Exposition(metrics)
    port = exposition.start("127.0.0.1:0")

    def read() -> str:
        with urlopen(Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})) as reply:
            assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            return str(reply.read().decode())

    try:
        return await asyncio.to_thread(read)
    finally:
        await exposition.stop()


async def test_a_reading_is_asked_for_when_it_is_read() -> None:
    metrics = Metrics()
    levels = {("left",): 1.0}

    async def left() -> Mapping[tuple[str, ...], float]:
        return levels

    async def right() -> Mapping[tuple[str, ...], float]:
        return {("right",): 5}

    metrics.read(LEVEL, left)
    metrics.read(LEVEL, right)
    levels["left",] = 3
    text = await scrape(metrics)
    assert 'test_level{tank="left"} 3.0\n' in text
    assert 'test_level{tank="right"} 5.0\n' in text


async def test_a_reading_that_is_not_known_is_missing_and_the_others_are_there() -> None:
    metrics = Metrics()

    async def away() -> Mapping[tuple[str, ...], float]:
        raise StoreUnavailable("away")

    async def there() -> Mapping[tuple[str, ...], float]:
        return {(): 2}

    metrics.read(LEVEL, away)
    metrics.read(DEPTH, there)
    text = await scrape(metrics)
    assert "test_level{" not in text
    assert "test_depth 2.0\n" in text


async def test_it_is_told_in_one_format_whatever_is_accepted() -> None:
    assert "process_cpu_seconds_total" in await scrape(Metrics(), "application/openmetrics-text; version=1.0.0")


async def test_a_port_that_is_taken_is_an_error() -> None:
    first = Exposition(Metrics())
    port = first.start("127.0.0.1:0")
    try:
        with pytest.raises(OSError, match="in use"):
            Exposition(Metrics()).start(f"127.0.0.1:{port}")
    finally:
        await first.stop()


async def test_the_operations_of_a_store_are_measured(tmp_path: Path) -> None:
    metrics = Metrics()
    database = MeasuredDatabase(await SqliteDatabase.open(tmp_path / "things.db"), metrics)
    await database.migrate([THINGS])
    things = database.collection(THINGS)

    def measured(operation: str) -> float | None:
        return value(metrics.registry, "camino_store_duration_seconds_count", collection="things", operation=operation)

    await things.put([Document("a", {"partition": 0, "at": 1}), Document("b", {"partition": 0, "at": 2})])
    assert set(await things.get(["a", "b", "c"])) == {"a", "b"}
    assert await things.count("wake", 0) == 2
    assert measured("put") == measured("get") == measured("count") == 1
    assert await things.get([]) == {}
    assert (await things.put([])).saved == []
    assert measured("put") == measured("get") == 1  # nothing asks nobody
    await database.close()
    with pytest.raises(StoreUnavailable):
        await things.get(["a"])
    assert measured("get") == 2  # what failed has taken time too


async def test_how_late_a_document_was_acted_on_is_measured(tmp_path: Path) -> None:
    telemetry, clock = Telemetry(), FakeClock()
    database = await SqliteDatabase.open(tmp_path / "things.db")
    await database.migrate([THINGS])
    things = database.collection(THINGS)

    async def act(due: list[Document]) -> None:
        for document in due:
            document.body["at"] = None
        await things.put(due)

    due = Due(
        "timers", things, "wake", "at", held=lambda: (0,), clock=clock, act=act, eager=SECOND, telemetry=telemetry
    )
    now = clock.now()
    await things.put(
        [Document("late", {"partition": 0, "at": now - 7 * SECOND}), Document("eager", {"partition": 0, "at": now + 1})]
    )
    await due.tick()
    await database.close()
    registry = telemetry.metrics.registry
    assert value(registry, "camino_timer_lateness_seconds_count", loop="timers") == 2
    assert value(registry, "camino_timer_lateness_seconds_sum", loop="timers") == 7
    assert value(registry, "camino_timer_lateness_seconds_bucket", loop="timers", le="5.0") == 1


async def test_the_age_of_what_waits_is_that_of_the_oldest() -> None:
    metrics, gate = Metrics(), asyncio.Semaphore(0)
    delivered: list[int] = []

    async def deliver(batch: list[int]) -> None:
        await gate.acquire()
        delivered.extend(batch)

    async def age() -> float:
        [ask] = metrics.readings.values()
        return (await ask())[()]

    pump: Pump[int] = Pump("p", deliver, max_batch=2, metrics=metrics)
    pump.offer([])
    assert await age() == 0
    pump.offer([1, 2, 3])
    since = time.monotonic()
    pump.offer([4])
    running = Running([pump])
    gate.release()
    await eventually(lambda: _reached(delivered, 2))
    shortest = time.monotonic() - since
    assert await age() >= shortest
    gate.release()
    await eventually(lambda: _reached(delivered, 4))
    assert await age() == 0
    await running.stop(1)


async def _reached(delivered: list[int], count: int) -> bool:
    return len(delivered) == count


async def test_a_loop_that_fails_is_counted() -> None:
    metrics = Metrics()

    class Tripping:
        name = "tripping"
        left = 1

        async def run(self) -> None:
            if self.left:
                self.left -= 1
                raise StoreUnavailable("away")

        def stop(self) -> None: ...

    running = Running([Tripping()], metrics)
    await running.stop(5)
    assert value(metrics.registry, "camino_loop_failures_total", loop="tripping") == 1


def test_the_list_of_metrics_is_as_they_are_declared() -> None:
    page = Path(reference.__file__).parents[1] / "metrics.md"
    assert page.read_text() == reference.page(), "run `make docs`"


def test_names_and_labels_are_as_prometheus_wants_them() -> None:
    metrics = [metric for of_one in reference.declared().values() for metric in of_one]
    names = [metric.name for metric in metrics]
    assert len(set(names)) == len(names)
    for metric in metrics:
        assert metric.name.startswith("camino_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert metric.text.endswith(".")
        assert list(metric.buckets) == sorted(metric.buckets)
        assert not {"workspace", "profile", "endpoint", "tenant", "user"} & set(metric.labels)
