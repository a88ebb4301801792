"""What a running stack tells those who watch it: its metrics, all that are declared and no others, and `camino top`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from camino.client import Client, connect
from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from cli.stack import ROOT, SERVICES, Stack
from docs.generate.metrics import declared
from services.chassis.broker import Broker
from services.chassis.events import subject_of
from services.chassis.testing import eventually
from tests.story import people, publish, sign_up

PEOPLE = 30


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("stack")
    stack = Stack(
        directory,
        dict.fromkeys(SERVICES, 0),
        environment={"channels": {"CAMINO_LOG_PROVIDER_FILE": str(directory / "sent.jsonl")}},
    )
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    async with connect(**{name: stack.target(name) for name in SERVICES}) as client:
        yield client


def _scrape(stack: Stack) -> dict[str, list[Metric]]:
    """What each service tells."""

    def told(service: str) -> str:
        with urlopen(f"http://{stack.metrics(service)}/metrics") as reply:
            return str(reply.read().decode())

    return {name: list(text_string_to_metric_families(told(name))) for name in SERVICES}


def _value(families: list[Metric], name: str, **labels: str) -> float | None:
    found = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(found) if found else None


async def _something_of_each_kind(stack: Stack, client: Client) -> None:
    """People sign up and are written to, and one request can't be handled."""
    await publish(client)
    await people(client, PEOPLE)
    await sign_up(client, PEOPLE)
    broker = await Broker.connect(stack.broker, "test")
    await broker.jetstream.publish(subject_of(SendRequested, "main", 0, "k"), b"\xff not protobuf")
    await broker.close()

    async def told() -> bool:
        found = await asyncio.to_thread(_scrape, stack)
        settled = _value(found["channels"], "camino_messages_settled_total", channel="email", state="sent")
        letters = _value(found["channels"], "camino_dead_letters_total", consumer="channels-sends")
        return (settled, letters) == (PEOPLE, 1)

    await eventually(told, within_s=30)


async def test_what_is_declared_is_told_and_nothing_else(stack: Stack, client: Client) -> None:
    await _something_of_each_kind(stack, client)
    found = _scrape(stack)
    metrics = {metric.name: metric for of_one in declared().values() for metric in of_one}
    told = [
        (f"{family.name}_total" if family.type == "counter" else family.name, family)
        for families in found.values()
        for family in families
        if family.name.startswith("camino_")
    ]
    assert {name for name, _ in told} == metrics.keys()
    for name, family in told:
        metric = metrics[name]
        assert (family.type, family.documentation) == (metric.kind, metric.text)
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(metric.labels), sample


async def test_the_numbers_are_those_of_what_happened(stack: Stack, client: Client) -> None:
    found = _scrape(stack)
    profile, orchestrator, channels = found["profile"], found["orchestrator"], found["channels"]
    ingest = {"method": "camino.profile.v1.ProfileService/IngestEvents", "status": "OK"}
    assert _value(profile, "camino_rpc_duration_seconds_count", **ingest) == 1
    assert _value(orchestrator, "camino_decisions_total", verdict="send", rule="", trigger="journey") == PEOPLE
    assert _value(channels, "camino_provider_outcomes_total", provider="log", outcome="accepted") == PEOPLE
    handled = {"consumer": "channels-sends", "outcome": "handled"}
    assert _value(channels, "camino_consumer_handled_total", **handled) == PEOPLE
    assert _value(channels, "camino_dead_letters") == 1
    assert _value(channels, "camino_messages_unknown") == 0
    for name, families in found.items():
        assert _value(families, "camino_serving") == 1
        assert _value(families, "camino_build_info", service=name) == 1
        assert _value(families, "camino_leases_held") == 8


async def test_no_label_tells_of_a_person_or_a_workspace(stack: Stack, client: Client) -> None:
    values = {
        value
        for families in _scrape(stack).values()
        for family in families
        for sample in family.samples
        for value in sample.labels.values()
    }
    assert not [value for value in values if "@" in value or value == "main" or value.startswith("p-")]
    assert len(values) < 400


def _top(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "top", "--once", *arguments],
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(state)},
        capture_output=True,
        text=True,
    )


async def test_top_shows_them(stack: Stack, tmp_path: Path) -> None:
    metrics = [part for name in SERVICES for part in ("--metrics", stack.metrics(name))]

    async def told() -> list[list[str]] | None:
        """The table's rows, once the last message is counted: that is after it was sent."""
        shown = await asyncio.to_thread(_top, *metrics, state=tmp_path)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.stdout.splitlines() if "│" in line]
        return rows if ["email", "sent", str(PEOPLE)] in [row[:3] for row in rows] else None

    rows = await eventually(told)
    assert [row[:2] for row in rows if row[1] == "serving"] == [[name, "serving"] for name in SERVICES]
    assert ["journey", "send", "", str(PEOPLE)] in [row[:4] for row in rows]
    consumers = {row[0]: row[1] for row in rows if row[0].startswith(("segment-", "orchestrator-", "channels-"))}
    assert consumers == dict.fromkeys(
        ("segment-changes", "segment-evaluation", "orchestrator-changes", "orchestrator-settled", "channels-sends"), "0"
    )


def test_top_finds_what_up_has_started_and_tells_what_is_down(stack: Stack, tmp_path: Path) -> None:
    none = _top(state=tmp_path)
    assert (none.returncode, "no stack is known" in none.stderr) == (1, True)
    (tmp_path / "camino").mkdir()
    metrics = {"profile": stack.metrics("profile"), "segment": "127.0.0.1:1"}
    (tmp_path / "camino" / "up.json").write_text(json.dumps({"metrics": metrics}))
    half = _top(state=tmp_path)
    assert half.returncode == 1
    assert "serving" in half.stdout
    assert "DOWN" in half.stdout
