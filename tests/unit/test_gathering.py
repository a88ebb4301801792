"""Requests that come at once are taken as one batch, and each gets what is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from services.chassis.errors import StoreUnavailable, Violation
from services.chassis.tracing import Tracing
from services.profile.gathering import Gathering


class Taker:
    """Takes batches when it's let, and notes them."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[str], dict[int, str]]] = []
        self.may = asyncio.Event()

    async def take(self, workspace: str, items: Sequence[str], violations: Mapping[int, Violation]) -> list[str]:
        self.batches.append((workspace, list(items), {index: found.field for index, found in violations.items()}))
        await self.may.wait()
        if "poison" in items:
            raise KeyError("poison")
        if "away" in items:
            raise StoreUnavailable("away")
        return [item.upper() for item in items]


@pytest.fixture
def taker() -> Taker:
    return Taker()


@pytest.fixture
def gather(taker: Taker) -> Gathering[str, str]:
    return Gathering(taker.take, Tracing(), most=4)


async def asked(gather: Gathering[str, str], *requests: Sequence[str], workspace: str = "shop") -> list[asyncio.Task]:
    """Requests that have come one after the other, in order."""
    tasks = []
    for items in requests:
        tasks.append(asyncio.create_task(gather(workspace, items, {})))
        for _ in range(3):
            await asyncio.sleep(0)
    return tasks


async def test_a_single_request_waits_for_nobody(taker: Taker, gather: Gathering[str, str]) -> None:
    taker.may.set()
    assert await gather("shop", ["a"], {}) == ["A"]
    assert taker.batches == [("shop", ["a"], {})]


async def test_those_that_come_meanwhile_are_the_next_batch(taker: Taker, gather: Gathering[str, str]) -> None:
    tasks = await asked(gather, ["a"], ["b", "c"], ["d"], ["e", "f"])
    taker.may.set()
    assert await asyncio.gather(*tasks) == [["A"], ["B", "C"], ["D"], ["E", "F"]]
    # No request is torn apart, and none has more than four items.
    assert [items for _, items, _ in taker.batches] == [["a"], ["b", "c", "d"], ["e", "f"]]


async def test_a_request_of_more_than_most_is_taken_whole(taker: Taker, gather: Gathering[str, str]) -> None:
    tasks = await asked(gather, ["a"], list("bcdefg"), ["h"])
    taker.may.set()
    assert await asyncio.gather(*tasks) == [["A"], list("BCDEFG"), ["H"]]


async def test_violations_stay_with_their_items(taker: Taker, gather: Gathering[str, str]) -> None:
    [first] = await asked(gather, ["a"])
    second = asyncio.create_task(gather("shop", ["b"], {}))
    third = asyncio.create_task(gather("shop", ["c", "d"], {1: Violation("type", "is missing")}))
    await asyncio.sleep(0)
    taker.may.set()
    await asyncio.gather(first, second, third)
    assert taker.batches[1] == ("shop", ["b", "c", "d"], {2: "type"})


async def test_workspaces_are_not_taken_together(taker: Taker, gather: Gathering[str, str]) -> None:
    tasks = [*await asked(gather, ["a"], ["b"]), *await asked(gather, ["c"], workspace="other")]
    taker.may.set()
    assert await asyncio.gather(*tasks) == [["A"], ["B"], ["C"]]
    assert ("other", ["c"], {}) in taker.batches


async def test_what_fails_fails_for_its_batch_only(taker: Taker, gather: Gathering[str, str]) -> None:
    tasks = await asked(gather, ["a"], ["away"], ["b"])
    taker.may.set()
    assert await tasks[0] == ["A"]
    for task in tasks[1:]:
        with pytest.raises(StoreUnavailable):
            await task
    assert await gather("shop", ["c"], {}) == ["C"]


async def test_a_fault_that_one_request_provokes_is_its_own(taker: Taker, gather: Gathering[str, str]) -> None:
    tasks = await asked(gather, ["a"], ["b"], ["poison"], ["c"])
    taker.may.set()
    assert [await tasks[index] for index in (0, 1, 3)] == [["A"], ["B"], ["C"]]
    with pytest.raises(KeyError):
        await tasks[2]


async def test_one_that_is_given_up_keeps_no_other_from_its_answer(taker: Taker, gather: Gathering[str, str]) -> None:
    tasks = await asked(gather, ["a"], ["b"], ["c"])
    tasks[0].cancel()
    tasks[1].cancel()
    taker.may.set()
    assert await tasks[2] == ["C"]
