"""What the orchestrator asks of the other services: always in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import grpc
from camino.channels.v1 import template_pb2, template_service_pb2, template_service_pb2_grpc
from camino.profile.v1 import profile_service_pb2, profile_service_pb2_grpc
from camino.segment.v1 import segment_service_pb2, segment_service_pb2_grpc

from services.chassis.clients import ask
from services.orchestrator import convert
from services.orchestrator.domain.person import Person

_BATCH = 500


def _batches(items: Collection[Any]) -> Iterable[list[Any]]:
    listed = list(items)
    return (listed[start : start + _BATCH] for start in range(0, len(listed), _BATCH))


class Profiles:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = profile_service_pb2_grpc.ProfileServiceStub(channel)

    async def get(self, workspace_id: str, profile_ids: Collection[str]) -> dict[str, Person]:
        """For each id the person that it means: a profile, or that which it was merged into. Those that don't exist are
        left out."""
        batches = list(_batches(profile_ids))
        replies = await asyncio.gather(
            *(
                ask(
                    self._stub.BatchGetProfiles(
                        profile_service_pb2.BatchGetProfilesRequest(workspace_id=workspace_id, profile_ids=batch)
                    )
                )
                for batch in batches
            )
        )
        people: dict[str, Person] = {}
        for batch, reply in zip(batches, replies, strict=True):
            found = {wire.profile_id: convert.person_of(wire) for wire in reply.profiles}
            meant = {id_: reply.merged_into.get(id_, id_) for id_ in batch}
            people |= {id_: found[profile_id] for id_, profile_id in meant.items() if profile_id in found}
        return people


class Segments:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = segment_service_pb2_grpc.SegmentServiceStub(channel)

    async def check(
        self, workspace_id: str, queries: Mapping[tuple[str, str], Collection[str]]
    ) -> dict[tuple[str, str], frozenset[str] | None]:
        """For each (profile, event) the asked segments that the profile is in; None when that event has not got there
        yet. Nobody is in segments that are gone, with their workspace."""
        answers: dict[tuple[str, str], frozenset[str] | None] = {}
        for batch in _batches(queries):
            reply = await _found(
                self._stub.CheckMembership(
                    segment_service_pb2.CheckMembershipRequest(
                        workspace_id=workspace_id,
                        queries=[
                            segment_service_pb2.MembershipQuery(
                                profile_id=profile_id,
                                segment_ids=queries[profile_id, event_id],
                                after_event_id=event_id,
                            )
                            for profile_id, event_id in batch
                        ],
                    )
                )
            )
            if reply is None:
                answers.update(dict.fromkeys(batch, frozenset()))
                continue
            for key, answer in zip(batch, reply.answers, strict=True):
                answers[key] = None if answer.behind else frozenset(answer.member_of)
        return answers

    async def exists(self, workspace_id: str, segment_id: str) -> bool:
        request = segment_service_pb2.GetSegmentRequest(workspace_id=workspace_id, segment_id=segment_id)
        return await _found(self._stub.GetSegment(request)) is not None

    async def members_complete(self, workspace_id: str, segment_id: str) -> bool:
        """Whether everybody is listed who is in a segment, and not by two versions of it. So it is of one that is gone:
        there are no others."""
        request = segment_service_pb2.GetSegmentRequest(workspace_id=workspace_id, segment_id=segment_id)
        reply = await _found(self._stub.GetSegment(request))
        return reply is None or bool(reply.segment.members_complete)

    async def members(self, workspace_id: str, segment_id: str, limit: int, after: str) -> tuple[list[str], str]:
        """A page of a segment's members, and the token of the next. One that is gone, with its workspace, has none."""
        reply = await _found(
            self._stub.ListMembers(
                segment_service_pb2.ListMembersRequest(
                    workspace_id=workspace_id, segment_id=segment_id, page_size=limit, page_token=after
                )
            )
        )
        return (list(reply.profile_ids), reply.next_page_token) if reply else ([], "")


class Templates:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = template_service_pb2_grpc.TemplateServiceStub(channel)

    async def get(self, workspace_id: str, template_id: str) -> template_pb2.Template | None:
        """A template's current version, or None."""
        request = template_service_pb2.GetTemplateRequest(workspace_id=workspace_id, template_id=template_id)
        reply = await _found(self._stub.GetTemplate(request))
        return reply.template if reply else None


async def _found(call: Any) -> Any:
    try:
        return await ask(call)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise
