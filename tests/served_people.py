"""Telling the profile service about people, and looking at what became of them, as its callers do: over gRPC, on a real
broker and the embedded store."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from camino.client import CaminoError
from camino.profile.v1 import profile_pb2
from camino.profile.v1 import profile_service_pb2 as pb
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.profile.v1.profile_rules_pb2 import ProfileRulesDefinition
from camino.profile.v1.profile_rules_service_pb2 import PublishProfileRulesRequest
from camino.profile.v1.profile_rules_service_pb2_grpc import ProfileRulesServiceStub
from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.broker import Broker
from services.chassis.clock import SECOND
from services.chassis.testing import FakeClock, serving
from services.profile.app import ProfileConfig, build
from tests.servers import NatsServer

OK, DUPLICATE, FAILED = pb.ITEM_OUTCOME_OK, pb.ITEM_OUTCOME_DUPLICATE, pb.ITEM_OUTCOME_FAILED
STREAM = "CAMINO_PROFILE"
_START_S = FakeClock().now() // SECOND


class ServedPeople:
    """The service, and what it published."""

    def __init__(self, channel: grpc.aio.Channel, broker: Broker, clock: FakeClock) -> None:
        self.channel = channel
        self.stub: Any = ProfileServiceStub(channel)
        self.broker = broker
        self.clock = clock

    async def profiles(self, *items: pb.ProfileInput, workspace: str = "shop") -> list[pb.ItemResult]:
        request = pb.IngestProfilesRequest(workspace_id=workspace, profiles=items)
        return list((await self.stub.IngestProfiles(request)).results)

    async def tell(self, *items: pb.ProfileInput) -> str:
        """Say what is taken. Whom the last of it is about."""
        results = await self.profiles(*items)
        assert [result.outcome for result in results] == [OK] * len(items), results
        return results[-1].profile_id

    async def events(self, *items: pb.EventInput, workspace: str = "shop") -> list[pb.ItemResult]:
        request = pb.IngestEventsRequest(workspace_id=workspace, events=items)
        return list((await self.stub.IngestEvents(request)).results)

    async def link(self, *identities: str, ago: int | None = None) -> pb.LinkIdentitiesResponse:
        request = pb.LinkIdentitiesRequest(workspace_id="shop", identities=map(identity, identities))
        _set(request.observed_at, ago)
        return await self.stub.LinkIdentities(request)

    async def unlink(self, profile_id: str, taken: str, *, ago: int | None = None) -> profile_pb2.Profile:
        request = pb.UnlinkIdentityRequest(workspace_id="shop", profile_id=profile_id, identity=identity(taken))
        _set(request.observed_at, ago)
        return (await self.stub.UnlinkIdentity(request)).profile

    async def record(self, *consents: profile_pb2.Consent, **subject: Any) -> profile_pb2.Profile:
        request = pb.RecordConsentsRequest(workspace_id="shop", consents=consents, **subject)
        return (await self.stub.RecordConsents(request)).profile

    async def declare(self, **definition: Any) -> None:
        """Publish the workspace's rules."""
        request = PublishProfileRulesRequest(workspace_id="shop", definition=ProfileRulesDefinition(**definition))
        await ProfileRulesServiceStub(self.channel).PublishProfileRules(request)

    async def profile(self, **by: Any) -> profile_pb2.Profile:
        return (await self.stub.GetProfile(pb.GetProfileRequest(workspace_id="shop", **by))).profile

    async def who(self, named: str) -> profile_pb2.Profile:
        """The profile that has an identity."""
        return await self.profile(identity=identity(named))

    async def whose(self, named: str) -> str:
        """The id of the profile that has an identity; empty when nobody has it."""
        request = pb.BatchGetProfilesRequest(workspace_id="shop", identities=[identity(named)])
        owners = (await self.stub.BatchGetProfiles(request)).owners
        return owners[0].profile_id if owners else ""

    async def graph(self, **by: Any) -> pb.GetIdentityGraphResponse:
        return await self.stub.GetIdentityGraph(pb.GetIdentityGraphRequest(workspace_id="shop", **by))

    async def everybody(self, workspace: str = "shop") -> list[profile_pb2.Profile]:
        request = pb.ListProfilesRequest(workspace_id=workspace, page_size=1000)
        response = await self.stub.ListProfiles(request)
        assert response.total_size == len(response.profiles)
        return list(response.profiles)

    async def event_ids(self, profile_id: str) -> list[str]:
        request = pb.ListEventsRequest(workspace_id="shop", profile_id=profile_id, page_size=1000)
        return [found.event_id for found in (await self.stub.ListEvents(request)).events]

    async def timeline(self, profile_id: str, **asked: Any) -> pb.ListTimelineResponse:
        request = pb.ListTimelineRequest(workspace_id="shop", profile_id=profile_id, **asked)
        return await self.stub.ListTimeline(request)

    async def published(self) -> list[ProfileChanged]:
        """Everything in the stream, from its start."""
        jetstream = self.broker.jetstream
        state = (await jetstream.stream_info(STREAM)).state
        found = [await jetstream.get_msg(STREAM, seq) for seq in range(1, state.messages + 1)]
        return [ProfileChanged.FromString(message.data or b"") for message in found]

    async def published_events(self) -> Counter[str]:
        return Counter(change.event.event_id for change in await self.published() if change.HasField("event"))


@asynccontextmanager
async def serving_people(
    server: NatsServer, directory: Path, clock: FakeClock | None = None
) -> AsyncIterator[ServedPeople]:
    """The profile service with its data in a directory. What it published stays on the broker."""
    clock = clock or FakeClock()
    config = ProfileConfig(nats_url=server.url, data_dir=directory, partitions=4, migrate_on_start=True)
    async with build(config, clock) as app, serving(app) as channel:
        broker = await Broker.connect(server.url, "test")
        try:
            yield ServedPeople(channel, broker, clock)
        finally:
            await broker.close()


def identity(named: str) -> profile_pb2.Identity:
    namespace, _, value = named.partition(":")
    return profile_pb2.Identity(namespace=namespace, value=value)


def names(wires: Any) -> list[str]:
    """Identities as the tests write them."""
    return [f"{wire.namespace}:{wire.value}" for wire in wires]


def person(*identities: str, ago: int | None = None, source: str = "", **attributes: str) -> pb.ProfileInput:
    """What was said of a person so many seconds before the tests' clock began; now, when left out."""
    item = pb.ProfileInput(identities=map(identity, identities), source=source)
    _set(item.observed_at, ago)
    for name, value in attributes.items():
        item.attributes[name].value.string_value = value
    return item


def event(
    event_id: str, subject: str = "email:ana@example.com", type_: str = "purchase", *, ago: int | None = None
) -> pb.EventInput:
    item = pb.EventInput(event_id=event_id, type=type_, identity=identity(subject))
    _set(item.occurred_at, ago)
    return item


def seconds(ago: int) -> Timestamp:
    """So many seconds before the tests' clock began."""
    return Timestamp(seconds=_START_S - ago)


def texts(profile: profile_pb2.Profile) -> dict[str, str]:
    """A profile's attributes, which are all text."""
    return {name: held.value.string_value for name, held in profile.attributes.items()}


async def refusal(call: Awaitable[object]) -> CaminoError:
    with pytest.raises(CaminoError) as error:
        await call
    return error.value


def _set(wire: Timestamp, ago: int | None) -> None:
    if ago is not None:
        wire.CopyFrom(seconds(ago))
