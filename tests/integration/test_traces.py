"""One trace from an event to the provider's accept, through four services, two streams and five documents; and nothing
of it where nothing is sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from services.channels.providers.base import Deferred, Outcome, Outgoing, Unknown
from services.channels.providers.log import LogProvider
from services.chassis.clock import MINUTE, SECOND
from services.chassis.telemetry import Telemetry
from services.chassis.tracing import Tracing
from tests.house import SEND, House, house

EMAIL = 1
INGEST = "camino.profile.v1.ProfileService/IngestEvents"
SENDING = [{"id": "go", "send": SEND}]


class Spans:
    """What four services exported, in one place."""

    def __init__(self, ratio: float = 1) -> None:
        self.exporter = InMemorySpanExporter()
        self._ratio = ratio

    def telemetry(self, service: str) -> Telemetry:
        provider = TracerProvider(
            resource=Resource({"service.name": service}),
            sampler=ParentBasedTraceIdRatio(self._ratio),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        return Telemetry(tracing=Tracing(provider.get_tracer("test")))

    def of_traces_with(self, name: str) -> list[list[ReadableSpan]]:
        """The spans of each trace that has one of this name, in the order in which they ended."""
        spans = self.exporter.get_finished_spans()
        ids = dict.fromkeys(_trace_id(span) for span in spans if span.name == name)
        return [[span for span in spans if _trace_id(span) == id_] for id_ in ids]


class Stubborn(LogProvider):
    """Answers as it's told, once, before it does as it should."""

    batch = 10

    def __init__(self, path: Path, first: Outcome) -> None:
        super().__init__(path)
        self._first: list[Outcome] = [first]

    async def send(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        return [self._first.pop()] if self._first else await super().send(messages)


def _trace_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def _told(spans: Sequence[ReadableSpan]) -> set[tuple[Any, str]]:
    return {(span.resource.attributes["service.name"], span.name) for span in spans}


async def _ready(home: House, names: Sequence[str] = ("ana",)) -> None:
    await home.template()
    await home.journey(SENDING)
    for name in names:
        await home.person(name)


async def _whole(home: House, spans: Spans, done: Callable[[list[ReadableSpan]], bool]) -> list[ReadableSpan]:
    """The one trace that began with an event, once it's done."""

    async def probe() -> list[ReadableSpan] | None:
        traces = spans.of_traces_with(INGEST)
        return traces[0] if traces and done(traces[0]) else None

    found: list[ReadableSpan] = await home.until(probe)
    return found


def _settled(trace: list[ReadableSpan]) -> bool:
    return ("orchestrator", "orchestrator-settled") in _told(trace)


async def test_one_trace_goes_from_the_event_to_the_accept_and_its_report(tmp_path: Path) -> None:
    spans = Spans()
    async with house(tmp_path, telemetry=spans.telemetry) as home:
        await _ready(home)
        await home.event("ana", "signup")
        trace = await _whole(
            home, spans, lambda found: _settled(found) and ("segment", "segment-changes") in _told(found)
        )
    assert _told(trace) >= {
        ("profile", INGEST),
        ("profile", "publish ProfileChanged"),
        ("segment", "segment-changes"),
        ("orchestrator", "orchestrator-changes"),
        ("orchestrator", "publish SendRequested"),
        ("channels", "channels-sends"),
        ("channels", "send by log"),
        ("channels", "publish MessageSettled"),
        ("orchestrator", "orchestrator-settled"),
    }
    by_id = {span.context.span_id: span for span in trace if span.context}
    accept = next(span for span in trace if span.name == "send by log")
    assert accept.attributes is not None
    assert accept.attributes["camino.outcome"] == "accepted"
    ancestors = []
    above = accept.parent
    while above is not None:
        ancestors.append(by_id[above.span_id].name)
        above = by_id[above.span_id].parent
    assert ancestors == [
        "channels-sends",
        "publish SendRequested",
        "orchestrator-changes",
        "publish ProfileChanged",
        "ingest",
        INGEST,
    ]


async def test_calls_between_services_are_in_the_trace_of_what_needs_them(tmp_path: Path) -> None:
    spans = Spans()
    async with house(tmp_path, telemetry=spans.telemetry) as home:
        await home.template()
        await home.journey(SENDING)
        [trace] = spans.of_traces_with("camino.orchestrator.v1.JourneyService/PublishJourney")
    assert ("channels", "camino.channels.v1.TemplateService/GetTemplate") in _told(trace)


async def test_the_events_of_one_batch_keep_to_their_own_traces(tmp_path: Path) -> None:
    spans = Spans()
    names = [f"p{number}" for number in range(20)]
    async with house(tmp_path, telemetry=spans.telemetry) as home:
        await _ready(home, names)
        for name in names:
            await home.event(name, "signup")

        async def probe() -> bool:
            traces = spans.of_traces_with(INGEST)
            return len(traces) == len(names) and all(map(_settled, traces))

        await home.until(probe)
    for trace in spans.of_traces_with(INGEST):
        assert [span.name for span in trace].count("send by log") == 1
    for span in spans.exporter.get_finished_spans():
        if span.name.endswith(" batch"):
            assert span.attributes is not None
            assert (
                len({link.context.trace_id for link in span.links}) == span.attributes["messaging.batch.message_count"]
            )


@pytest.mark.parametrize("first", [Deferred("busy"), Unknown("gone")], ids=["deferred", "unknown"])
async def test_a_message_that_is_sent_again_stays_in_its_trace(tmp_path: Path, first: Outcome) -> None:
    spans = Spans()
    provider = Stubborn(tmp_path / "sent.jsonl", first)
    again = [{"id": "go", "send": {**SEND, "unknownPolicy": "UNKNOWN_POLICY_RESEND"}}]
    async with house(tmp_path, telemetry=spans.telemetry, carriers={EMAIL: provider}) as home:
        await home.template()
        await home.journey(again)
        await home.person("ana")
        await home.event("ana", "signup")

        async def sent() -> bool:
            return bool(home.sent())

        await home.until(sent, step=SECOND)
        trace = await _whole(home, spans, _settled)
    outcomes = [span.attributes["camino.outcome"] for span in trace if span.name == "send by log" and span.attributes]
    assert outcomes == [type(first).__name__.lower(), "accepted"]


async def test_what_is_requested_again_because_no_end_was_reported_stays_in_its_trace(tmp_path: Path) -> None:
    spans = Spans()
    provider = Stubborn(tmp_path / "sent.jsonl", Unknown("gone"))
    async with house(tmp_path, telemetry=spans.telemetry, carriers={EMAIL: provider}) as home:
        await _ready(home)
        await home.event("ana", "signup")
        await home.run_outcomes(["unknown"])

        def asked_again(trace: list[ReadableSpan]) -> bool:
            # What encloses the second request ends after it.
            twice = [span.name for span in trace].count("publish SendRequested") == 2
            return twice and ("orchestrator", "run-resends") in _told(trace)

        home.clock.advance(MINUTE)
        await _whole(home, spans, asked_again)


async def test_without_sampling_nothing_is_carried(tmp_path: Path) -> None:
    spans = Spans(ratio=0)
    async with house(tmp_path, telemetry=spans.telemetry) as home:
        await _ready(home)
        await home.event("ana", "signup")
        await home.run_outcomes(["sent"])
    assert spans.exporter.get_finished_spans() == ()
