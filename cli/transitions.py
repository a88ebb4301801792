"""A person's entries into segments and exits from them, as they were told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import typer
from camino.segment.v1.segment_events_pb2 import MembershipChanged
from camino.segment.v1.segment_pb2 import Membership
from camino.segment.v1.segment_service_pb2 import ListTransitionsRequest
from camino.segment.v1.segment_service_pb2_grpc import SegmentServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from cli import values
from cli.targets import Targets


def instant(at: str) -> Timestamp | None:
    """What `--at` names; None if it's empty. Raises `typer.BadParameter`."""
    try:
        return values.instant(at) if at else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--at") from None


def newest(targets: Targets, profile_id: str, until: Timestamp | None = None) -> Iterator[MembershipChanged]:
    """All of a person's, also those under ids that they had, from the newest on, or from an instant back. Reads as far
    as it's iterated. Raises grpc.RpcError."""
    stub = SegmentServiceStub(targets.channel("segment"))
    request = ListTransitionsRequest(workspace_id=targets.workspace, profile_id=profile_id)
    while True:
        reply = stub.ListTransitions(request)
        for transition in reply.transitions:
            if until is None or _order(transition.effective_at) <= _order(until):
                yield transition
        if not reply.next_page_token:
            return
        request.page_token = reply.next_page_token


def standings(transitions: Iterable[MembershipChanged]) -> list[Membership]:
    """How a person stood after these, which come from the newest on, in the order of segments. Under each id that they
    had."""
    found: dict[tuple[str, str], Membership] = {}
    for one in transitions:
        key = one.segment_id, one.profile_id
        held = found.get(key)
        if held is None:
            held = found[key] = Membership(
                segment_id=one.segment_id,
                profile_id=one.profile_id,
                member=one.member,
                cause=one.cause,
                event_id=one.event_id,
                segment_version=one.segment_version,
            )
            (held.enter_time if one.member else held.exit_time).CopyFrom(one.effective_at)
        elif one.member and not held.HasField("enter_time"):
            held.enter_time.CopyFrom(one.effective_at)
    return [held for _, held in sorted(found.items())]


def _order(at: Timestamp) -> tuple[int, int]:
    return at.seconds, at.nanos
