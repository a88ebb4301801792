"""The orchestrator as it's served: what it has put on the broker for somebody goes when they're erased, and the API
tells of nobody who was; decisions are told of a person, whichever of their ids is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from camino.channels.v1.channels_events_pb2 import MessageSettled
from camino.errors.v1 import reason_pb2
from camino.ops.v1 import personal_data_service_pb2 as personal_data
from camino.ops.v1.personal_data_service_pb2_grpc import PersonalDataServiceStub
from camino.orchestrator.v1 import journey_pb2
from camino.orchestrator.v1.decision_pb2 import Decision
from camino.orchestrator.v1.decision_service_pb2 import ListDecisionsRequest
from camino.orchestrator.v1.decision_service_pb2_grpc import DecisionServiceStub
from camino.orchestrator.v1.journey_service_pb2 import GetRunRequest, ListRunsRequest
from camino.orchestrator.v1.journey_service_pb2_grpc import JourneyServiceStub
from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.chassis.broker import Broker, StreamSpec
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.stores import open_database
from services.chassis.testing import FakeClock, eventually, serving
from services.orchestrator.app import OrchestratorConfig, build
from services.orchestrator.store import SCHEMAS, Store
from tests.orchestrating import People, journey, send, served
from tests.servers import nats_server

HEARD = [
    StreamSpec("CAMINO_PROFILE", (ProfileChanged,), "log", max_age_s=3600),
    StreamSpec("CAMINO_CHANNELS", (MessageSettled,), "log", max_age_s=3600),
]


@dataclass(frozen=True, slots=True)
class Orchestrator:
    """The service, with a journey that sends at once, and no channels that would take the requests."""

    people: People
    broker: Broker
    journeys: JourneyServiceStub
    decisions: DecisionServiceStub
    personal: PersonalDataServiceStub

    async def happens(self, event_id: str, profile_id: str) -> None:
        fact = self.people.fact(event_id, profile_id)
        subject = subject_of(ProfileChanged, "shop", 0, fact.profile.profile_id)
        await Publisher(self.broker, "test").publish([Outgoing(subject, fact, f"{event_id} {profile_id}")])

    async def runs(self, count: int) -> list[journey_pb2.Run]:
        """The runs, once there are so many."""

        async def probe() -> list[journey_pb2.Run] | None:
            found = list((await self.journeys.ListRuns(ListRunsRequest(workspace_id="shop", journey_id="j"))).runs)
            return found if len(found) == count else None

        return await eventually(probe)

    async def requested(self) -> list[str]:
        """To whom the broker has requests: each run has a subject of its own."""
        state = (await self.broker.jetstream.stream_info("CAMINO_ORCHESTRATOR", subjects_filter=">")).state
        found = [
            await self.broker.jetstream.get_last_msg("CAMINO_ORCHESTRATOR", subject) for subject in state.subjects or {}
        ]
        return sorted(SendRequested.FromString(message.data or b"").profile_id for message in found)

    async def has_requested(self, *profile_ids: str) -> None:
        async def probe() -> bool:
            return await self.requested() == sorted(profile_ids)

        await eventually(probe)

    async def listed(self, profile_id: str, size: int) -> list[Decision]:
        found: list[Decision] = []
        request = ListDecisionsRequest(workspace_id="shop", profile_id=profile_id, page_size=size)
        while True:
            answer = await self.decisions.ListDecisions(request)
            assert len(answer.decisions) <= size
            found += answer.decisions
            request.page_token = answer.next_page_token
            if not request.page_token:
                return found

    async def erase(self, *profile_ids: str) -> dict[str, int]:
        request = personal_data.ErasePersonalDataRequest(workspace_id="shop", profile_ids=profile_ids)
        return dict((await self.personal.ErasePersonalData(request)).counts)


@pytest.fixture
async def orchestrator(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    clock = FakeClock()
    people = People(clock)
    database = await open_database(uri="", path=tmp_path / "orchestrator.db", name="orchestrator")
    await database.migrate(SCHEMAS)
    await Store.of(database).journeys.put([journey(clock.now(), send("hello"))])
    await database.close()
    with nats_server() as nats:
        broker = await Broker.connect(nats.url, "test")
        await broker.declare(HEARD, [])
        try:
            async with served(people) as target:
                config = OrchestratorConfig(
                    nats_url=nats.url,
                    data_dir=tmp_path,
                    partitions=1,
                    migrate_on_start=True,
                    mongodb_uri="",
                    profile_target=target,
                )
                async with build(config, clock) as app, serving(app) as channel:
                    yield Orchestrator(
                        people,
                        broker,
                        JourneyServiceStub(channel),
                        DecisionServiceStub(channel),
                        PersonalDataServiceStub(channel),
                    )
        finally:
            await broker.close()


async def test_what_was_requested_for_somebody_is_taken_from_the_broker(orchestrator: Orchestrator) -> None:
    for number, name in enumerate(["young", "old", "other"]):
        await orchestrator.happens(f"e{number}", name)
    await orchestrator.has_requested("young", "old", "other")
    orchestrator.people.merge("old", "young")
    assert await orchestrator.erase("old", "young") == {"runs": 2, "decisions": 2}
    assert await orchestrator.requested() == ["other"]
    orchestrator.people.erase("old")
    states = {run.profile_id: run.state for run in await orchestrator.runs(3)}
    assert states == {
        "young": journey_pb2.RUN_STATE_ERASED,
        "old": journey_pb2.RUN_STATE_ERASED,
        "other": journey_pb2.RUN_STATE_COMPLETED,
    }
    for name in ("young", "old"):
        assert await orchestrator.listed(name, 10) == []
    assert len(await orchestrator.listed("other", 10)) == 1
    assert await orchestrator.erase("old", "young") == {}


async def test_erased_runs_are_shown_as_nothing_but_that(orchestrator: Orchestrator) -> None:
    await orchestrator.happens("e1", "ana")
    [before] = await orchestrator.runs(1)
    await orchestrator.erase("ana")
    [run] = await orchestrator.runs(1)
    request = GetRunRequest(workspace_id="shop", run_id=run.run_id)
    assert (await orchestrator.journeys.GetRun(request)).run == run
    assert run == journey_pb2.Run(
        workspace_id="shop",
        run_id=before.run_id,
        journey_id="j",
        journey_version=1,
        profile_id="ana",
        state=journey_pb2.RUN_STATE_ERASED,
        create_time=before.create_time,
        end_time=before.end_time,
    )


async def test_facts_about_somebody_erased_begin_nothing_and_others_go_on(orchestrator: Orchestrator) -> None:
    await orchestrator.erase("ana")
    await orchestrator.happens("e1", "ana")
    await orchestrator.happens("e2", "ben")
    await orchestrator.has_requested("ben")
    assert [run.profile_id for run in await orchestrator.runs(1)] == ["ben"]


# --- decisions of a person who has several ids ------------------------------------------------------------------------


async def test_decisions_are_told_of_the_person_newest_first_by_whichever_id(orchestrator: Orchestrator) -> None:
    names = ["young", "old", "younger", "old", "young", "other", "younger"]
    for number, name in enumerate(names):
        await orchestrator.happens(f"e{number}", name)
    runs = {run.run_id: run for run in await orchestrator.runs(len(names))}
    orchestrator.people.merge("old", "young")
    orchestrator.people.merge("old", "younger")
    await orchestrator.happens("e-last", "young")
    await orchestrator.runs(len(names) + 1)
    whole = await orchestrator.listed("old", 100)
    assert sorted(decision.profile_id for decision in whole) == ["old"] * 3 + ["young"] * 2 + ["younger"] * 2
    assert whole == sorted(whole, key=lambda one: (one.decide_time.ToMicroseconds(), one.decision_id), reverse=True)
    assert runs.keys() & {decision.source_id for decision in whole}
    for name in ("old", "young", "younger"):
        for size in (1, 2, 3, 7, 8):
            assert await orchestrator.listed(name, size) == whole


async def test_a_page_s_token_holds_across_a_merge_and_for_nobody_else(orchestrator: Orchestrator) -> None:
    for number in range(3):
        await orchestrator.happens(f"e{number}", "young")
    await orchestrator.happens("f", "old")
    await orchestrator.runs(4)
    request = ListDecisionsRequest(workspace_id="shop", profile_id="young", page_size=1)
    first = await orchestrator.decisions.ListDecisions(request)
    orchestrator.people.merge("old", "young")
    request.page_token, request.page_size = first.next_page_token, 100
    rest = await orchestrator.decisions.ListDecisions(request)
    known = [decision.decision_id for decision in (*first.decisions, *rest.decisions)]
    assert len(set(known)) == len(known) >= 3
    request.profile_id = "old"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await orchestrator.decisions.ListDecisions(request)
    status = rpc_status.from_call(refused.value)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert f"REASON_{info.reason}" == reason_pb2.Reason.Name(reason_pb2.REASON_INVALID_PAGE_TOKEN)
