"""Items on their way into Camino: batches, results, retries and the end, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
import pytest
from camino.client import CaminoError, Ingestion, ItemFailed, Pace
from camino.client.ingestion.waiting import Input
from camino.errors.v1 import reason_pb2
from camino.profile.v1.profile_service_pb2 import (
    ITEM_OUTCOME_DUPLICATE,
    ITEM_OUTCOME_FAILED,
    ITEM_OUTCOME_OK,
    EventInput,
    ItemResult,
    ProfileInput,
)

OK = ItemResult(outcome=ITEM_OUTCOME_OK, profile_id="p")


class Swift:
    """A clock on which every sleep is over at once."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)


class Camino:
    """What batches are sent to: takes each item, unless it's told to fail. Remembers what was under way together."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.begun: asyncio.Queue[list[str]] = asyncio.Queue()
        self.clock = Swift()
        self.at: list[float] = []
        self.under_way = 0
        self.most_under_way = 0
        self.away = 0
        """So many calls fail."""
        self.status = grpc.StatusCode.UNAVAILABLE
        self.refused: dict[str, tuple[int, int]] = {}
        """By id: (reason, how often)."""
        self.gate = asyncio.Event()
        """Closed, calls wait."""
        self.gate.set()

    def ingestion(self, **pace: float) -> Ingestion:
        return Ingestion(self.send, Pace(**pace), clock=self.clock, chance=lambda: 1.0)  # type: ignore[arg-type]

    async def send(self, inputs: Sequence[Input]) -> Sequence[ItemResult]:
        self.calls.append([name(input) for input in inputs])
        self.begun.put_nowait(self.calls[-1])
        self.at.append(self.clock.now())
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            await asyncio.sleep(0)
            await self.gate.wait()
            if self.away:
                self.away -= 1
                raise CaminoError(self.status, details="away")
            return [self.result(name(input)) for input in inputs]
        finally:
            self.under_way -= 1

    def result(self, id_: str) -> ItemResult:
        reason, times = self.refused.get(id_, (0, 0))
        if not times:
            return OK
        self.refused[id_] = (reason, times - 1)
        result = ItemResult(outcome=ITEM_OUTCOME_FAILED)
        result.error.reason = reason  # type: ignore[assignment]
        result.error.message = "no"
        return result


def name(input: Input) -> str:
    return input.event_id if isinstance(input, EventInput) else input.locale


def event(id_: str, whose: str = "") -> EventInput:
    input = EventInput(event_id=id_, type="x")
    input.identity.namespace, input.identity.value = "user", whose or id_
    return input


def profile(id_: str, *identities: str) -> ProfileInput:
    input = ProfileInput(locale=id_)
    for identity in identities or (id_,):
        input.identities.add(namespace="user", value=identity)
    return input


async def test_items_share_calls_and_each_has_its_result():
    camino = Camino()
    camino.refused["3"] = (reason_pb2.REASON_EVENT_TOO_LARGE, 1)
    async with camino.ingestion(batch_items=4) as ingestion:
        receipts = [await ingestion.event(event(str(number))) for number in range(6)]
        results = await asyncio.gather(*receipts, return_exceptions=True)
    assert camino.calls == [["0", "1", "2", "3"], ["4", "5"]]
    assert [result for result in results if result == OK] == [OK] * 5
    failed = results[3]
    assert isinstance(failed, ItemFailed)
    assert (failed.index, failed.item, failed.reason) == (3, event("3"), reason_pb2.REASON_EVENT_TOO_LARGE)


async def test_a_duplicate_is_a_result():
    camino = Camino()
    camino.result = lambda id_: ItemResult(outcome=ITEM_OUTCOME_DUPLICATE, profile_id="p")  # type: ignore[method-assign]
    async with camino.ingestion() as ingestion:
        assert (await (await ingestion.event(event("1")))).outcome == ITEM_OUTCOME_DUPLICATE


async def test_calls_are_bounded_in_bytes():
    camino = Camino()
    size = event("00", "x" * 1000).ByteSize()
    async with camino.ingestion(batch_bytes=3 * size + 100) as ingestion:
        for number in range(10, 17):
            await ingestion.event(event(str(number), f"{number}".ljust(1000, "x")))
    assert [len(call) for call in camino.calls] == [3, 3, 1]


async def test_what_is_larger_than_a_call_goes_alone_and_what_no_call_holds_is_refused():
    camino = Camino()
    async with camino.ingestion(batch_bytes=100) as ingestion:
        await ingestion.event(event("1"))
        await ingestion.event(event("2", "x" * 1000))
        await ingestion.event(event("3"))
        with pytest.raises(ValueError, match="too large for any call"):
            await ingestion.event(event("4", "x" * 4 * 1024 * 1024))
    assert camino.calls == [["1"], ["2"], ["3"]]


async def test_what_is_away_is_tried_again_with_the_same_ids():
    camino = Camino()
    camino.away = 3
    async with camino.ingestion(linger_s=0) as ingestion:
        receipt = await ingestion.event(event("1"))
        assert await receipt == OK
    assert camino.calls == [["1"]] * 4
    assert [round(at, 3) for at in camino.at] == [0, 0.1, 0.3, 0.7], "the pauses double"


async def test_only_what_was_under_contention_is_sent_again():
    camino = Camino()
    camino.refused["b"] = (reason_pb2.REASON_CONTENTION, 2)
    async with camino.ingestion() as ingestion:
        receipts = [await ingestion.profile(profile(id_)) for id_ in "abc"]
        assert await asyncio.gather(*receipts) == [OK] * 3
    assert camino.calls == [["a", "b", "c"], ["b"], ["b"]]


async def test_it_gives_up_when_an_item_is_too_old():
    camino = Camino()
    camino.away = 1_000
    camino.refused["never"] = (reason_pb2.REASON_CONTENTION, 1_000)
    async with camino.ingestion(give_up_s=20) as ingestion:
        with pytest.raises(CaminoError, match="UNAVAILABLE: away"):
            await (await ingestion.event(event("1")))
        assert 15 < camino.at[-1] <= 20
        camino.away = 0
        with pytest.raises(ItemFailed, match=r"item 1 \(CONTENTION\): no"):
            await (await ingestion.event(event("never")))
        assert await (await ingestion.event(event("2"))) == OK, "what comes later isn't hurt"


async def test_what_will_never_succeed_is_not_tried_again():
    camino = Camino()
    camino.away, camino.status = 1, grpc.StatusCode.PERMISSION_DENIED
    async with camino.ingestion() as ingestion:
        receipts = [await ingestion.event(event(id_)) for id_ in "ab"]
        for result in await asyncio.gather(*receipts, return_exceptions=True):
            assert isinstance(result, CaminoError)
    assert camino.calls == [["a", "b"]]


async def test_an_answer_that_makes_no_sense_fails_the_items_and_not_the_flow():
    camino = Camino()
    send = camino.send

    async def short(inputs: Sequence[Input]) -> Sequence[ItemResult]:
        return (await send(inputs))[1:]

    camino.send = short  # type: ignore[method-assign]
    async with camino.ingestion() as ingestion:
        with pytest.raises(ValueError, match="argument"):
            await (await ingestion.event(event("1")))
        camino.send = send  # type: ignore[method-assign]


async def test_no_more_calls_than_allowed_are_under_way():
    camino = Camino()
    async with camino.ingestion(batch_items=1, calls=3) as ingestion:
        for number in range(20):
            await ingestion.event(event(str(number)))
    assert len(camino.calls) == 20
    assert camino.most_under_way == 3


async def test_handing_over_waits_while_too_much_is_unsettled():
    camino = Camino()
    camino.gate.clear()
    async with camino.ingestion(batch_items=2, unsettled=4) as ingestion:
        receipts = [await ingestion.event(event(str(number))) for number in range(4)]
        fifth = asyncio.create_task(ingestion.event(event("4")))
        for _ in range(2):
            await camino.begun.get()
        assert not fifth.done()
        camino.gate.set()
        await asyncio.gather(*receipts)
        assert await (await fifth) == OK


async def test_of_one_person_nothing_overtakes_and_nothing_is_under_way_twice():
    camino = Camino()
    camino.away = 1
    async with camino.ingestion(batch_items=2) as ingestion:
        for input in (
            event("a1", "ana"),
            event("b1", "ben"),
            event("a2", "ana"),
            event("c1", "cy"),
            event("d1", "dee"),
        ):
            await ingestion.event(input)
    # The first call fails and is tried again; `a2` waits for it, `c1` and `d1` don't.
    assert camino.calls == [["a1", "b1"], ["c1", "d1"], ["a1", "b1"], ["a2"]]


async def test_profiles_and_events_of_one_person_keep_their_order_too():
    camino = Camino()
    async with camino.ingestion() as ingestion:
        await ingestion.profile(profile("ana", "ana", "Ana@Example.com"))
        await ingestion.event(event("1", "ana@example.com "))
        await ingestion.event(event("2", "ben"))
        await ingestion.profile(profile("ana again", "ana", "ana@example.com"))
    assert camino.calls == [["ana"], ["2"], ["1"], ["ana again"]]


async def test_leaving_raises_the_failures_that_nobody_asked_for():
    camino = Camino()
    camino.refused = {"a": (reason_pb2.REASON_NOT_FOUND, 1), "b": (reason_pb2.REASON_NOT_FOUND, 1)}

    async def run() -> None:
        async with camino.ingestion() as ingestion:
            asked = await ingestion.event(event("a"))
            await ingestion.event(event("b"))
            with pytest.raises(ItemFailed):
                await asked

    with pytest.raises(ExceptionGroup, match="items that were not taken: 1") as raised:
        await run()
    [error] = raised.value.exceptions
    assert isinstance(error, ItemFailed)
    assert error.item == event("b")


async def test_an_error_of_the_block_comes_through_with_what_was_accepted_sent():
    camino = Camino()
    camino.refused = {"b": (reason_pb2.REASON_NOT_FOUND, 1)}

    async def run() -> None:
        async with camino.ingestion(linger_s=60) as ingestion:
            await ingestion.event(event("a"))
            await ingestion.event(event("b"))
            raise KeyError("row")

    with pytest.raises(KeyError) as raised:
        await run()
    assert camino.calls == [["a", "b"]]
    assert raised.value.__notes__ == ["Besides, items that were not taken: 1, the first: item 1 (NOT_FOUND): no"]


async def test_a_thousand_failures_that_nobody_asks_for_end_it():
    camino = Camino()
    camino.result = lambda id_: ItemResult(outcome=ITEM_OUTCOME_FAILED, error={"message": "no"})  # type: ignore
    accepted = []

    async def run() -> None:
        async with camino.ingestion(unsettled=100) as ingestion:
            for number in range(5_000):
                await ingestion.event(event(str(number)))
                accepted.append(number)

    with pytest.raises(ExceptionGroup) as raised:
        await run()
    assert 1_000 <= len(accepted) <= 1_100
    assert 1_000 <= len(raised.value.exceptions) <= 1_100


async def test_a_closed_ingestion_takes_nothing():
    camino = Camino()
    async with camino.ingestion() as ingestion:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        await ingestion.event(event("1"))
    assert camino.calls == []


async def test_cancelling_gives_up_what_is_under_way_and_tells_those_who_wait():
    camino = Camino()
    camino.gate.clear()
    receipts = []

    async def run() -> None:
        async with camino.ingestion(batch_items=1, calls=1, unsettled=2) as ingestion:
            receipts.extend([await ingestion.event(event("1")), await ingestion.event(event("2"))])

    running = asyncio.create_task(run())
    await camino.begun.get()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [receipt.cancelled() for receipt in receipts] == [True, True]


async def test_what_is_handed_over_may_be_changed_afterwards():
    camino = Camino()
    reused = event("1")
    async with camino.ingestion() as ingestion:
        await ingestion.event(reused)
        reused.event_id = "2"
        await ingestion.event(reused)
    assert camino.calls == [["1", "2"]]


@pytest.mark.parametrize("pace", [{"batch_items": 501}, {"batch_bytes": 0}, {"calls": 0}, {"linger_s": -1}])
def test_a_pace_that_cannot_be(pace: dict[str, int]):
    with pytest.raises(ValueError, match=r"there's at least|a call holds"):
        Pace(**pace)
