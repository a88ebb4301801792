"""The fake tells of members as the services do: the same people do the same, and the fake is told who is a member by
that, which the services compute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from camino.client import Client, connect
from camino.profile.v1 import operation_service_pb2, profile_service_pb2
from camino.segment.v1 import segment_events_pb2, segment_service_pb2
from camino.testing.fake import FakeCamino
from google.protobuf.json_format import ParseDict

from services.chassis.clock import SECOND
from tests.house import house

SHOP = "test-shop"
SEGMENTS = {
    "resident": {"attribute": {"name": "city", "exists": True}},
    "gold": {"attribute": {"name": "tier", "equals": {"string_value": "gold"}}},
}
STORY: tuple[tuple[str, dict[str, str], int], ...] = (
    ("user:ana", {"city": "Madrid"}, 1),
    ("user:bob", {"city": "Rome", "tier": "gold"}, 2),
    ("user:bob", {"tier": "silver"}, 1),
    ("user:eva", {}, 0),
    ("phone:+34911234567", {"city": "Oslo"}, 1),
    ("phone:+34922345678", {"tier": "gold"}, 1),
    ("user:ana phone:+34911234567", {}, 1),
    ("user:eva phone:+34922345678", {}, 2),
    ("user:eva", {"tier": "silver"}, 1),
)
"""Who is told of, what, and how many memberships that changes."""


class Told:
    """What is told of the people of a story to who follows them, by their names."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._following = client.watch_memberships(SHOP)
        self._names: dict[str, str] = {}
        self.changes: list[Any] = []

    async def begin(self) -> None:
        for segment_id, condition in SEGMENTS.items():
            segment = {"workspace_id": SHOP, "segment_id": segment_id, "definition": {"condition": condition}}
            await self._client.segments.PublishSegment(ParseDict(segment, segment_service_pb2.PublishSegmentRequest()))
        while not (await anext(self._following)).response.cursor:
            pass

    async def tell(self, named: str, said: dict[str, str]) -> None:
        identities = [dict(zip(("namespace", "value"), one.split(":"), strict=True)) for one in named.split()]
        attributes = {name: {"value": {"string_value": value}} for name, value in said.items()}
        request = {"workspace_id": SHOP, "profiles": [{"identities": identities, "attributes": attributes}]}
        reply = await self._client.profiles.IngestProfiles(
            ParseDict(request, profile_service_pb2.IngestProfilesRequest())
        )
        self._names.setdefault(reply.results[0].profile_id, named)

    async def erase(self, name: str) -> None:
        await self._client.operations.EraseProfile(
            operation_service_pb2.EraseProfileRequest(workspace_id=SHOP, profile_id=self._id(name))
        )

    async def learn(self, count: int) -> None:
        """Go on until so many changes more have been told."""
        so_many = len(self.changes) + count
        async with asyncio.timeout(20):
            while len(self.changes) < so_many:
                self.changes += map(self._line, (await anext(self._following)).response.changes)

    async def outcome(self) -> Any:
        """Who is a member of what, and how everybody became one or ceased to be."""
        members = {
            segment_id: sorted(self._names[id_] for id_ in reply.profile_ids)
            for segment_id in SEGMENTS
            for reply in [
                await self._client.segments.ListMembers(
                    segment_service_pb2.ListMembersRequest(workspace_id=SHOP, segment_id=segment_id)
                )
            ]
        }
        histories = {}
        for id_, name in self._names.items():
            request = segment_service_pb2.ListTransitionsRequest(workspace_id=SHOP, profile_id=id_)
            found = (await self._client.segments.ListTransitions(request)).transitions
            times = [(it.effective_at.seconds, it.effective_at.nanos) for it in found]
            assert times == sorted(times, reverse=True)
            histories[name] = sorted(map(self._line, found))
        return members, histories

    def _id(self, name: str) -> str:
        return next(id_ for id_, known in self._names.items() if known == name)

    def _line(self, change: segment_events_pb2.MembershipChanged) -> Any:
        name, cause = self._names[change.profile_id], segment_events_pb2.MembershipCause.Name(change.cause)
        at = change.effective_at.ToJsonString()
        return at, name, change.sequence, change.segment_id, change.member, cause, change.segment_version


def compute(fake: FakeCamino) -> None:
    """Say who is a member by what is known of them."""
    for profile in fake.profiles(SHOP):
        known = {name: attribute.value.string_value for name, attribute in profile.attributes.items()}
        fake.put_member(SHOP, "resident", profile.profile_id, member="city" in known)
        fake.put_member(SHOP, "gold", profile.profile_id, member=known.get("tier") == "gold")


async def test_the_fake_tells_of_members_as_the_services_do(tmp_path: Path) -> None:
    async with house(tmp_path) as services:

        def now() -> datetime:
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=services.clock.now())

        async with (
            FakeCamino(now=now) as fake,
            connect(target=fake.target, token="") as of_fake,
            connect(**services.addresses, token="") as of_services,
        ):
            ours, theirs = Told(of_fake), Told(of_services)
            await ours.begin()
            await theirs.begin()

            async def both(act: Callable[[Told], Awaitable[None]], count: int) -> None:
                services.clock.advance(SECOND)
                for told in (ours, theirs):
                    await act(told)
                    compute(fake)
                    await told.learn(count)
                assert sorted(theirs.changes) == sorted(ours.changes)

            for named, said, count in STORY:
                await both(partial(Told.tell, named=named, said=said), count)
            assert await theirs.outcome() == await ours.outcome()
            await both(partial(Told.erase, name="user:bob"), 1)
            assert await theirs.outcome() == await ours.outcome()
