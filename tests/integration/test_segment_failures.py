"""A rule that can't be evaluated: it's said aloud, kept, put right later, and stops nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from camino.ops.v1 import dead_letter_service_pb2 as dead
from camino.ops.v1 import personal_data_service_pb2
from camino.ops.v1.dead_letter_pb2 import DeadLetter
from camino.segment.v1.segment_events_pb2 import (
    MEMBERSHIP_CAUSE_EDIT,
    MEMBERSHIP_CAUSE_EVENT,
    MEMBERSHIP_CAUSE_MERGE,
    MEMBERSHIP_CAUSE_PROFILE,
)

from services.chassis.broker import Broker
from services.chassis.clock import SECOND
from services.chassis.telemetry import Telemetry
from services.chassis.testing import FakeClock
from services.segment import rules
from services.segment.app import SegmentConfig
from services.segment.domain import Condition, Facts, inside
from services.segment.evaluate import Answer, Compiled, Memberships, compiled
from tests.segments import (
    BUYER,
    PARTITIONS,
    RECENT,
    SPANISH,
    START,
    WORKSPACE,
    World,
    profile,
    profile_stream,
    purchase,
    running,
    said,
)
from tests.servers import NatsServer, nats_server

FRAGILE = {"event": {"eventType": "shop.purchase", "max": {"property": "amount", "range": {"atLeast": 100}}}}
"""The rule that the fault strikes. Bought for a hundred at once."""


class Fault:
    """While it's there, aggregates by `max` can't be evaluated of those who bought for thirteen."""

    def __init__(self) -> None:
        self.there = True

    def compiled(self, condition: Condition, segments: Memberships) -> Compiled:
        ask = compiled(condition, segments)
        if "Max(" not in "".join(repr(node) for node, _, _ in inside(condition)):
            return ask

        def faulty(facts: Facts, now: int) -> Answer:
            bought = facts.events.get("shop.purchase")
            if self.there and bought and any(held["amount"] == 13 for held in bought.properties):
                raise ArithmeticError("ana@example.com is unlucky")
            return ask(facts, now)

        return faulty


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    fault = Fault()
    monkeypatch.setattr(rules, "compiled", fault.compiled)
    return fault


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def broker(nats: NatsServer) -> AsyncIterator[Broker]:
    async with profile_stream(nats) as broker:
        yield broker


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
async def world(
    fault: Fault, nats: NatsServer, broker: Broker, tmp_path: Path, telemetry: Telemetry
) -> AsyncIterator[World]:
    config = SegmentConfig(
        nats_url=nats.url, data_dir=tmp_path, partitions=PARTITIONS, migrate_on_start=True, mongodb_uri=""
    )
    async with running(config, FakeClock(START), broker, telemetry) as world:
        await world.publish("buyers", BUYER)
        await world.publish("fragile", FRAGILE)
        yield world


async def letters(world: World) -> list[DeadLetter]:
    return list((await world.dead_letters.ListDeadLetters(dead.ListDeadLettersRequest(page_size=10))).dead_letters)


async def redriven(world: World) -> list[DeadLetter]:
    """What is left of the dead letters when each was driven again."""
    for letter in await letters(world):
        await world.dead_letters.RedriveDeadLetter(dead.RedriveDeadLetterRequest(dead_letter_id=letter.dead_letter_id))
    return await letters(world)


def counted(telemetry: Telemetry, cause: str) -> float:
    found = telemetry.metrics.registry.get_sample_value("camino_segment_evaluation_errors_total", {"cause": cause})
    return found or 0


async def test_others_go_on_and_the_event_is_a_dead_letter(world: World, telemetry: Telemetry) -> None:
    await world.tell(purchase("ana", "e1", START - 3, 100), purchase("ana", "e2", START - 2, 13))
    await world.tell(purchase("bo", "e3", START - 2, 100))
    await world.settled()
    entered = said(await world.transitions(4))
    assert sorted(entered) == [
        ("ana", "buyers", True, MEMBERSHIP_CAUSE_EVENT),
        ("ana", "fragile", True, MEMBERSHIP_CAUSE_EVENT),
        ("bo", "buyers", True, MEMBERSHIP_CAUSE_EVENT),
        ("bo", "fragile", True, MEMBERSHIP_CAUSE_EVENT),
    ]
    # She stays what she was: unknown isn't out.
    assert await world.members("fragile") == ["ana", "bo"]
    [letter] = await letters(world)
    assert letter.reason == "INTERNAL: not evaluated: segment fragile: ArithmeticError"
    assert letter.subject.endswith(".ana")
    assert ((await world.segment("fragile")).evaluation_errors, (await world.segment("buyers")).evaluation_errors) == (
        1,
        0,
    )
    assert counted(telemetry, "event") == 1


async def test_a_question_fails_rather_than_answer_no(world: World, telemetry: Telemetry) -> None:
    await world.tell(purchase("ana", "e1", START - 3, 13))
    await world.settled()
    assert (await world.check("ana", "buyers")).member_of == ["buyers"]
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await world.check("ana", "buyers", "fragile")
    assert failure.value.code() is grpc.StatusCode.INTERNAL
    assert "unlucky" not in (failure.value.details() or "")
    assert counted(telemetry, "check") == 1
    explained = await world.explain("ana", "fragile")
    assert explained.membership.evaluation_error == "ArithmeticError"
    assert not explained.membership.HasField("enter_time")


async def test_driven_again_it_is_put_right_once_the_fault_is_gone(world: World, fault: Fault) -> None:
    for event in (purchase("ana", "e1", START - 3, 13), purchase("ana", "e2", START - 2, 100)):
        await world.tell(event)
        await world.settled()
    assert len(await letters(world)) == 2
    assert len(await redriven(world)) == 2, "the fault is still there"
    assert (await world.segment("fragile")).evaluation_errors == 1
    fault.there = False
    assert await redriven(world) == []
    last = (await world.transitions(2))[-1]
    assert said([last]) == [("ana", "fragile", True, MEMBERSHIP_CAUSE_EVENT)]
    assert last.event_id == "e2"
    assert (await world.segment("fragile")).evaluation_errors == 0


async def test_the_next_fact_that_it_asks_for_puts_it_right(world: World, fault: Fault) -> None:
    await world.publish("spanish", SPANISH)
    await world.tell(purchase("ana", "e1", START - 3, 13))
    await world.settled()
    await world.tell(profile("ana", 2, address__country="ES"))
    await world.settled()
    assert said(await world.transitions(2))[1] == ("ana", "spanish", True, MEMBERSHIP_CAUSE_PROFILE)
    assert (await world.segment("fragile")).evaluation_errors == 1, "that was none that it asks for"
    fault.there = False
    await world.tell(purchase("ana", "e2", START - 2, 100, revision=2, address__country="ES"))
    assert said(await world.transitions(3))[2] == ("ana", "fragile", True, MEMBERSHIP_CAUSE_EVENT)
    assert (await world.segment("fragile")).evaluation_errors == 0


async def test_a_new_version_is_computed_for_everybody_else_and_the_next_puts_it_right(
    world: World, fault: Fault, telemetry: Telemetry
) -> None:
    fault.there = False
    await world.tell(purchase("ana", "e1", START - 3, 13), purchase("bo", "e2", START - 3, 100))
    await world.settled()
    fault.there = True
    lower = {"event": {"eventType": "shop.purchase", "max": {"property": "amount", "range": {"atLeast": 10}}}}
    await world.publish("fragile", lower)
    assert counted(telemetry, "edit") == 1
    assert await world.members("fragile") == ["bo"]
    assert (await world.segment("fragile")).evaluation_errors == 1
    await world.publish("fragile", {"all": {"conditions": [BUYER]}})
    assert (await world.segment("fragile")).evaluation_errors == 0
    last = (await world.transitions(4))[-1]
    assert (last.profile_id, last.cause, last.segment_version) == ("ana", MEMBERSHIP_CAUSE_EDIT, 3)


async def test_time_goes_on_for_the_others(world: World, fault: Fault) -> None:
    await world.publish("recent", RECENT)
    await world.publish("fragile", {"all": {"conditions": [RECENT, FRAGILE]}})
    fault.there = False
    await world.tell(purchase("ana", "e1", START - 3, 100), purchase("ana", "e2", START - 2, 13))
    assert len(await world.transitions(3)) == 3
    fault.there = True
    world.clock.advance(86_400 * SECOND)
    left = said(await world.ticking(4))[3]
    assert left[:3] == ("ana", "recent", False)
    assert await world.members("fragile") == ["ana"]
    assert (await world.segment("fragile")).evaluation_errors == 1
    assert await letters(world) == [], "nobody told anything"


async def test_who_is_erased_fails_no_more(world: World) -> None:
    await world.tell(purchase("ana", "e1", START - 3, 13))
    await world.settled()
    assert (await world.segment("fragile")).evaluation_errors == 1
    request = personal_data_service_pb2.ErasePersonalDataRequest(workspace_id=WORKSPACE, profile_ids=["ana"])
    await world.personal_data.ErasePersonalData(request)
    assert (await world.segment("fragile")).evaluation_errors == 0


async def test_who_turns_out_to_be_somebody_else_takes_what_failed_along(
    world: World, fault: Fault, telemetry: Telemetry
) -> None:
    await world.tell(purchase("bo", "b1", START - 3, 13), purchase("bo", "b2", START - 2, 100))
    await world.tell(purchase("ana", "a1", START - 1, 5))
    await world.settled()
    await world.tell(profile("ana", 2, merged=["bo"]))
    await world.settled()
    assert counted(telemetry, "merge") == 1
    assert (await world.segment("fragile")).evaluation_errors == 1, "hers, and no more his"
    assert [letter.subject.rpartition(".")[2] for letter in await letters(world)].count("ana") == 1
    fault.there = False
    assert await redriven(world) == []
    assert (await world.segment("fragile")).evaluation_errors == 0
    last = (await world.transitions(4))[-1]
    assert said([last]) == [("ana", "fragile", True, MEMBERSHIP_CAUSE_MERGE)]
