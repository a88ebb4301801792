"""From a publication to READY over many people, by the service itself: how long it takes, and what it costs.

People and rules are those of `evaluation`. First all twenty rules are published, so that everybody enters several
segments; then twenty edits that change nobody; then one that changes one in a few; and a new segment of few. Before
that, the last is estimated.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from camino.segment.v1 import segment_service_pb2, segment_service_pb2_grpc
from camino.segment.v1.segment_pb2 import SEGMENT_STATE_READY, SegmentDefinition
from google.protobuf.json_format import ParseDict

from bench.segments import evaluation
from bench.segments.running import WORKSPACE, Service, broker_and_service
from cli.documents import Parser
from cli.stack import ROOT
from services.chassis.testing import eventually

PEOPLE = int(os.environ.get("PEOPLE", "200000"))
_FEW = {"event": {"eventType": "purchase", "sum": {"property": "value", "range": {"above": 600}}}}
_LONG_S = 3_600


@dataclass(frozen=True, slots=True)
class RolledOut:
    what: str
    seconds: float
    cpu_s: float
    transitions: int
    memory_mb: float


async def rolled_out() -> list[RolledOut]:
    definitions = _definitions()
    found: list[RolledOut] = []
    async with broker_and_service() as service:
        # So that its collections are there.
        await service.start()
        await service.stop()
        async with service.stored() as (store, _):
            await evaluation.write(store, PEOPLE)
        await service.start()
        async with service.stub() as segments:

            @asynccontextmanager
            async def measured(what: str) -> AsyncIterator[None]:
                told, cpu, began = await _told(service), service.cpu_s(), time.perf_counter()
                yield
                seconds = time.perf_counter() - began
                found.append(
                    RolledOut(what, seconds, service.cpu_s() - cpu, await _told(service) - told, service.memory_mb())
                )

            async with measured("twenty segments for the first time"):
                await _publish(segments, definitions)
            for definition in definitions.values():
                definition.display_name += "!"
            async with measured("twenty edits that change nobody"):
                await _publish(segments, definitions)
            few = ParseDict({"condition": _FEW}, SegmentDefinition())
            async with measured("an estimate"):
                request = segment_service_pb2.EstimateSegmentRequest(
                    workspace_id=WORKSPACE, segment_id="few", definition=few
                )
                await segments.EstimateSegment(request)
            async with measured("another segment, of few"):
                await _publish(segments, {"few": few})
            few.condition.event.sum.range.above = 550
            async with measured("an edit of it that changes some"):
                await _publish(segments, {"few": few})
    return found


def _definitions() -> dict[str, SegmentDefinition]:
    parser = Parser(WORKSPACE)
    for path in sorted((ROOT / "examples/cdnow/segments").iterdir()):
        parser.read(path.name, path.read_text())
    return {one.id: one.request.definition for one in parser.in_order() if one.id in evaluation.RULES}


async def _publish(
    segments: segment_service_pb2_grpc.SegmentServiceStub, definitions: Mapping[str, SegmentDefinition]
) -> None:
    """Publish, and wait until all are READY."""
    for segment_id, definition in definitions.items():
        await segments.PublishSegment(
            segment_service_pb2.PublishSegmentRequest(
                workspace_id=WORKSPACE, segment_id=segment_id, definition=definition
            )
        )

    async def ready() -> bool:
        # Not all of them each time: that would be a part of what is measured.
        for segment_id in definitions:
            asked = segment_service_pb2.GetSegmentRequest(workspace_id=WORKSPACE, segment_id=segment_id)
            if (await segments.GetSegment(asked)).segment.state != SEGMENT_STATE_READY:
                return False
        return True

    await eventually(ready, within_s=_LONG_S, every_s=0.2)


async def _told(service: Service) -> int:
    return int((await service.broker.jetstream.stream_info("CAMINO_SEGMENT")).state.last_seq)
