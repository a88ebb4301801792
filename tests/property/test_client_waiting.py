"""Whatever comes in whatever order: items go out once each, in bounds, and never two calls at once for one person."""

from __future__ import annotations

from typing import Any

from camino.client.ingestion.pace import Pace
from camino.client.ingestion.waiting import Item, Waiting
from camino.profile.v1.profile_service_pb2 import EventInput, ProfileInput
from hypothesis import given
from hypothesis import strategies as st

PACE = Pace(batch_items=3, batch_bytes=120, linger_s=1)
NOBODY_WAITS: Any = None


def item(number: int, people: list[str], is_event: bool, padding: int, now: float) -> Item:
    if is_event:
        event = EventInput(type="x" * padding)
        event.identity.namespace, event.identity.value = "user", people[0]
        return Item.of(number, event, NOBODY_WAITS, now)
    profile = ProfileInput(locale="x" * padding)
    for person in people:
        profile.identities.add(namespace="user", value=person)
    return Item.of(number, profile, NOBODY_WAITS, now)


arrivals = st.tuples(
    st.just("add"), st.lists(st.sampled_from("abcde"), min_size=1, max_size=2), st.booleans(), st.integers(0, 150)
)
steps = st.one_of(
    arrivals,
    st.tuples(st.just("take"), st.booleans()),
    st.tuples(st.just("done"), st.integers(0, 9)),
    st.tuples(st.just("wait"), st.floats(0, 2)),
)


class Flow:
    def __init__(self) -> None:
        self.waiting = Waiting(PACE)
        self.now = 0.0
        self.added: list[Item] = []
        self.taken: list[Item] = []
        self.under_way: list[list[Item]] = []

    def take(self, at_once: bool) -> bool:
        batch = self.waiting.take(self.now, at_once=at_once)
        if not batch:
            return False
        assert len(batch) <= PACE.batch_items
        assert len(batch) == 1 or sum(item.size for item in batch) <= PACE.batch_bytes
        assert len({type(item.input) for item in batch}) == 1
        busy = {person for other in self.under_way for item in other for person in item.people}
        assert not busy & {person for item in batch for person in item.people}
        self.taken += batch
        self.under_way.append(batch)
        return True

    def done(self, which: int) -> None:
        if self.under_way:
            self.waiting.done(self.under_way.pop(which % len(self.under_way)))


@given(st.lists(steps, max_size=60))
def test_each_goes_out_once_in_the_order_of_each_person(script: list[tuple[Any, ...]]):
    flow = Flow()
    for step in script:
        match step:
            case ("add", people, is_event, padding):
                flow.added.append(item(len(flow.added), people, is_event, padding, flow.now))
                flow.waiting.add(flow.added[-1])
            case ("take", at_once):
                flow.take(at_once)
            case ("done", which):
                flow.done(which)
            case ("wait", seconds):
                flow.now += seconds
    while flow.waiting:
        if not flow.take(at_once=True):
            assert flow.under_way, "only those under way may keep others waiting"
            flow.done(0)
    assert sorted(item.number for item in flow.taken) == list(range(len(flow.added)))
    for person in "abcde":
        of_one = [item.number for item in flow.taken if ("user", person) in item.people]
        assert of_one == sorted(of_one)


@given(st.lists(arrivals, min_size=1, max_size=20))
def test_what_is_due_goes_out_and_what_is_not_waits(script: list[tuple[Any, ...]]):
    flow = Flow()
    for _, people, is_event, padding in script:
        flow.added.append(item(len(flow.added), people, is_event, padding, flow.now))
        flow.waiting.add(flow.added[-1])
    while flow.take(at_once=False):
        # Before they're due, only what is full goes out: another item wouldn't have fitted.
        batch = flow.under_way[-1]
        room = PACE.batch_bytes - sum(item.size for item in batch)
        assert len(batch) == PACE.batch_items or any(item.size > room for item in flow.added)
    if flow.waiting.due_at is not None:
        flow.now = flow.waiting.due_at
        assert flow.take(at_once=False)
