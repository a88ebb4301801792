"""How a workspace tells people apart: published as a whole, known to every replica, fixed once somebody goes by it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from camino.client import CaminoError, from_rpc_error
from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_rules_pb2 as rules_pb
from camino.profile.v1 import profile_rules_service_pb2 as pb
from camino.profile.v1 import profile_service_pb2
from camino.profile.v1.profile_rules_service_pb2_grpc import ProfileRulesServiceStub
from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceStub
from google.protobuf.json_format import ParseDict

from services.chassis.clock import SECOND
from services.chassis.loops import Running
from services.chassis.stores import open_database
from services.chassis.testing import FakeClock, eventually, serving
from services.profile.app import ProfileConfig, build
from services.profile.domain.rules import Normaliser, Rules
from services.profile.rules import Registry
from services.profile.rules_service import ProfileRulesServicer
from services.profile.store import SCHEMAS, Store
from tests.servers import NatsServer, nats_server

SHOP = "shop"
MEMBER = {"name": "member_id", "priority": 900, "unique": True}
LOGIN = {"name": "login", "priority": 300, "normaliser": "NORMALISER_EMAIL"}


def publication(*namespaces: dict[str, Any], etag: str = "", **sources: int) -> pb.PublishProfileRulesRequest:
    definition = {
        "namespaces": list(namespaces),
        "sources": [{"name": name, "priority": priority} for name, priority in sources.items()],
    }
    request = {"workspace_id": SHOP, "definition": definition, "etag": etag}
    return ParseDict(request, pb.PublishProfileRulesRequest())


class Service:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._rules: Any = ProfileRulesServiceStub(channel)
        self._profiles: Any = ProfileServiceStub(channel)

    async def publish(self, *namespaces: dict[str, Any], **more: Any) -> rules_pb.ProfileRules:
        reply = await self._rules.PublishProfileRules(publication(*namespaces, **more))
        return reply.profile_rules

    async def refusal(self, *namespaces: dict[str, Any], **more: Any) -> CaminoError:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self.publish(*namespaces, **more)
        return from_rpc_error(refused.value)

    async def get(self) -> rules_pb.ProfileRules:
        return (await self._rules.GetProfileRules(pb.GetProfileRulesRequest(workspace_id=SHOP))).profile_rules

    async def profile(self, *identities: str) -> profile_service_pb2.ItemResult:
        named = [dict(zip(("namespace", "value"), text.split(":"), strict=True)) for text in identities]
        request = {"workspace_id": SHOP, "profiles": [{"identities": named}]}
        reply = await self._profiles.IngestProfiles(ParseDict(request, profile_service_pb2.IngestProfilesRequest()))
        return reply.results[0]


@pytest.fixture(scope="module")
def servers() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def service(servers: NatsServer, tmp_path: Path) -> AsyncIterator[Service]:
    config = ProfileConfig(nats_url=servers.url, data_dir=tmp_path, partitions=1, migrate_on_start=True)
    async with build(config, FakeClock()) as app, serving(app) as channel:
        yield Service(channel)


async def test_a_workspace_that_published_none_has_the_namespaces_that_are_always_there(service: Service) -> None:
    rules = await service.get()
    names = [(one.name, one.priority, one.unique) for one in rules.definition.namespaces]
    assert names == [
        ("user_id", 1000, True),
        ("email", 500, False),
        ("phone", 400, False),
        ("push_token", 100, False),
        ("webhook_url", 100, False),
    ]
    assert rules.etag
    assert not rules.HasField("create_time")


async def test_the_same_rules_again_are_a_no_op_however_they_are_written(service: Service) -> None:
    first = await service.publish(MEMBER, LOGIN, crm=5, shop=1)
    again = await service.publish({**LOGIN}, {**MEMBER, "normaliser": "NORMALISER_EXACT"}, etag="stale", shop=1, crm=5)
    assert again == first == await service.get()
    whole = [{"name": one.name, "priority": one.priority, "unique": one.unique} for one in first.definition.namespaces]
    whole[[one["name"] for one in whole].index("login")]["normaliser"] = "NORMALISER_EMAIL"
    assert await service.publish(*whole, crm=5, shop=1) == first


async def test_only_the_current_etag_lets_a_change_through(service: Service) -> None:
    default = (await service.get()).etag
    stale = await service.refusal(MEMBER, etag="stale")
    assert (stale.reason, stale.metadata["current_etag"]) == (reason_pb2.REASON_ETAG_MISMATCH, default)
    first = await service.publish(MEMBER, etag=default)
    second = await service.publish(MEMBER, crm=5, etag=first.etag)
    assert second.etag != first.etag
    assert (await service.refusal(etag=first.etag)).metadata["current_etag"] == second.etag


async def test_every_violation_is_named(service: Service) -> None:
    refused = await service.refusal(
        MEMBER,
        {"name": "email", "priority": 1, "normaliser": "NORMALISER_EXACT"},
        MEMBER,
        {"name": "user_id", "priority": 1},
        {"name": "phone", "priority": 1, "normaliser": "NORMALISER_EMAIL"},
    )
    assert refused.reason == reason_pb2.REASON_INVALID_DEFINITION
    assert [violation.field for violation in refused.violations] == [
        "definition.namespaces[1].normaliser",
        "definition.namespaces[2].name",
        "definition.namespaces[3].unique",
        "definition.namespaces[4].normaliser",
    ]


async def test_a_source_is_declared_once(service: Service) -> None:
    request = publication(crm=1)
    request.definition.sources.add(name="crm", priority=2)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service._rules.PublishProfileRules(request)
    assert [it.field for it in from_rpc_error(refused.value).violations] == ["definition.sources[1].name"]


async def test_what_is_not_declared_is_taken_as_it_is(service: Service) -> None:
    assert (await service.profile("member_id:1", "member_id:2")).outcome == profile_service_pb2.ITEM_OUTCOME_OK
    ana, other = [(await service.profile(name)).profile_id for name in ("login:Ana@x.com", "login:ana@x.com")]
    assert ana != other


async def test_what_is_declared_holds_from_then_on(service: Service) -> None:
    await service.publish(MEMBER, LOGIN)
    refused = await service.profile("member_id:1", "member_id:2")
    assert refused.error.reason == reason_pb2.REASON_IDENTITY_CONFLICT
    ana = await service.profile("login: Ana@Example.com ")
    assert (await service.profile("login:ana@example.com")).profile_id == ana.profile_id
    assert (await service.profile("login:nobody")).error.field == "identities[0].value"


async def test_a_namespace_that_is_in_use_stays_as_it_is(service: Service) -> None:
    await service.publish(MEMBER, LOGIN)
    await service.profile("member_id:1")
    await service.profile("card:1")
    for changed in (
        [],
        [LOGIN],
        [{**MEMBER, "priority": 800}],
        [{**MEMBER, "unique": False}],
        [{**MEMBER, "normaliser": "NORMALISER_EMAIL"}],
    ):
        refused = await service.refusal(*changed)
        assert refused.reason == reason_pb2.REASON_NAMESPACE_IN_USE
        assert refused.metadata["namespaces"] == "member_id"
    refused = await service.refusal({"name": "card", "priority": 1})
    assert refused.metadata["namespaces"] == "card, member_id"
    assert (await service.refusal(MEMBER, {"name": "card", "priority": 1})).metadata["namespaces"] == "card"
    # To say the least of one is to say nothing; and nobody has a login.
    rules = await service.publish(MEMBER, {"name": "card", "priority": 200}, crm=7)
    assert [one.name for one in rules.definition.namespaces].count("login") == 0


async def test_a_namespace_that_begins_like_one_in_use_is_free(service: Service) -> None:
    await service.profile("member:1")
    await service.publish({"name": "member_id", "priority": 1}, {"name": "memb", "priority": 1})


# --- replicas ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    database = await open_database(uri="", path=tmp_path / "profile.db", name="profile")
    await database.migrate(SCHEMAS)
    yield Store.of(database)
    await database.close()


async def test_another_replica_knows_within_a_second(store: Store) -> None:
    clock = FakeClock()
    here, there = Registry(store, clock), Registry(store, clock)
    await there.loaded()
    assert there.rules(SHOP) is Rules.default()
    running = Running([there])
    await ProfileRulesServicer(store, here, clock).PublishProfileRules(publication(LOGIN, crm=7), None)
    assert here.rules(SHOP).source_priority("crm") == 7

    async def known() -> bool:
        clock.advance(SECOND)
        return there.rules(SHOP).namespace("login").normaliser is Normaliser.EMAIL

    await eventually(known)
    await store.rules.delete([SHOP])

    async def forgotten() -> bool:
        clock.advance(SECOND)
        return there.rules(SHOP) is Rules.default()

    await eventually(forgotten)
    await running.stop(5)


async def test_what_was_published_before_is_known_from_the_start(store: Store) -> None:
    clock = FakeClock()
    await ProfileRulesServicer(store, Registry(store, clock), clock).PublishProfileRules(publication(crm=7), None)
    later = Registry(store, clock)
    await later.loaded()
    assert later.rules(SHOP).source_priority("crm") == 7
    later.forget(SHOP)
    assert later.rules(SHOP) is Rules.default()


async def test_an_older_version_does_not_come_back(store: Store) -> None:
    """As when a look that began before a publication ends after it."""
    clock = FakeClock()
    registry = Registry(store, clock)
    servicer = ProfileRulesServicer(store, registry, clock)
    await servicer.PublishProfileRules(publication(crm=1), None)
    before = (await store.rules.get([SHOP]))[SHOP]
    await servicer.PublishProfileRules(publication(crm=2), None)
    registry.adopt(before)
    assert registry.rules(SHOP).source_priority("crm") == 2
