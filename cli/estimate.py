"""`camino estimate`: what segments would make of people, before they're published."""

from __future__ import annotations

import grpc
import typer
from camino.client import from_rpc_error
from camino.segment.v1.segment_pb2 import SegmentEstimate
from camino.segment.v1.segment_service_pb2 import EstimateSegmentRequest
from camino.segment.v1.segment_service_pb2_grpc import SegmentServiceStub

from cli import output, reading
from cli.documents import Document
from cli.targets import Targets


def estimate(targets: Targets, file: reading.Files) -> None:
    """Say how many members the segments in YAML documents would have, and who would enter and leave. Nothing is
    published.

    Each is estimated by itself, beside what is published already.
    """
    segments = [document for document in reading.documents(file, targets.workspace) if document.kind.name == "Segment"]
    if not segments:
        output.complain("there is no segment in these documents")
        raise typer.Exit(1)
    stub = SegmentServiceStub(targets.channel("segment"))
    rows = []
    failed = 0
    for document in segments:
        try:
            rows.append(_row(document.id, _estimate(stub, document)))
        except grpc.RpcError as error:
            failed += 1
            failure = from_rpc_error(error)
            for violation in failure.violations:
                output.complain(str(document.problem(violation.field, violation.description)))
            if not failure.violations:
                output.complain(str(document.problem("", str(failure))))
    output.table("", ("segment", "members", "enter", "leave", "of profiles", "such as", "entering", "leaving"), rows)
    if failed:
        output.complain(f"{failed} of {len(segments)} failed")
        raise typer.Exit(1)


def _estimate(stub: SegmentServiceStub, document: Document) -> SegmentEstimate:
    request = EstimateSegmentRequest(
        workspace_id=document.workspace,
        segment_id=document.id,
        definition=document.request.definition,  # type: ignore[attr-defined]
        sample_size=3,
    )
    return stub.EstimateSegment(request).estimate


def _row(segment_id: str, found: SegmentEstimate) -> tuple[object, ...]:
    exact = found.evaluated_count == found.profile_count
    about = "" if exact else f" ± {found.margin_percent:.1f} %"
    of = found.profile_count if exact else f"{found.profile_count} ({found.evaluated_count} looked at)"
    return (
        segment_id,
        f"{found.member_count}{about}",
        found.entering_count,
        found.leaving_count,
        of,
        ", ".join(found.member_ids),
        ", ".join(found.entering_ids),
        ", ".join(found.leaving_ids),
    )
