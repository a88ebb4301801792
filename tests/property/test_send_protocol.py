"""Every way that the send protocol can go, with two workers, any number of crashes at any point, leases that end at any
moment, requests delivered any number of times, and a lifetime that may end at any time.

The transitions are those of `services.channels.domain`; around them is a model of what the shell does: one document
with compare-and-set, and workers that may stop for as long as they like between any two steps. All states are visited.
They are finitely many, because only relations count: whether a lease is over, whether a worker's fence and revision are
the stored ones. So what is asserted holds without bounds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import pytest

from services.channels import domain
from services.channels.domain import Accepted, Deferred, Message, Outcome, Policy, Rejected, State, Unknown

LEASE = 20
TIMEOUT = 10
ROUND = 1_000 * domain.SECOND
"""Time passes in rounds, each longer than any lease and any pause before a retry."""
NOT_AFTER = 10**18

Held = tuple[Message, int]
"""A message as a worker sees it, and the revision at which it read it."""


@dataclass(frozen=True)
class Worker:
    step: str = "idle"
    held: Held | None = None
    outcome: Outcome | None = None
    acks: bool = False
    """It was the broker's delivery that it works on, and it acknowledges at the end."""


@dataclass(frozen=True)
class World:
    stored: Held | None = None
    workers: tuple[Worker, ...] = (Worker(), Worker())
    accepts: int = 0
    now: int = 0
    owed: bool = True
    """The broker has the request, not acknowledged."""


def key(world: World) -> object:
    """What tells two worlds apart."""

    def of(held: Held | None) -> object:
        if held is None or world.stored is None:
            return None
        (message, rev), (stored, current) = held, world.stored
        # Fences and revisions only grow: what is behind never catches up.
        behind = max(message.fence - stored.fence, -1)
        return (message.state, behind, message.due_at > world.now, rev == current)

    workers = sorted(((w.step, of(w.held), w.outcome, w.acks) for w in world.workers), key=repr)
    return (of(world.stored), tuple(workers), min(world.accepts, 2), world.now > NOT_AFTER, world.owed)


class Model:
    """`skip_sending` leaves the SENDING mark out, to see that the model finds what this does."""

    def __init__(self, policy: Policy, *, skip_sending: bool = False) -> None:
        self.policy = policy
        self.skip_sending = skip_sending

    def next(self, world: World) -> Iterator[World]:
        yield replace(world, now=world.now + ROUND)
        yield replace(world, now=max(world.now, NOT_AFTER) + ROUND)
        for index, worker in enumerate(world.workers):
            if worker.step != "idle":
                yield self._with(world, index, Worker())  # a crash
            for after in self._step(world, worker):
                yield self._with(after[0], index, after[1])

    @staticmethod
    def _with(world: World, index: int, worker: Worker) -> World:
        workers = list(world.workers)
        workers[index] = worker
        return replace(world, workers=tuple(workers))

    def _step(self, world: World, worker: Worker) -> Iterator[tuple[World, Worker]]:
        now = world.now
        if worker.step == "idle":
            yield from self._begin(world)
        elif worker.step == "reserved":
            assert worker.held is not None
            message, rev = worker.held
            sending = domain.commit(message, "p", now, LEASE)
            if sending is None:
                yield world, self._done(worker)
            elif self.skip_sending and sending.state is State.SENDING:
                yield world, replace(worker, step="calling", held=(sending, rev))
            else:
                after, held = self._save(world, sending, rev)
                if held is None:
                    yield after, self._done(worker)
                elif sending.terminal:
                    yield after, replace(self._done(worker))
                else:
                    yield after, replace(worker, step="committed", held=held)
        elif worker.step == "committed":
            assert worker.held is not None
            if domain.may_call(worker.held[0], now, TIMEOUT):
                yield world, replace(worker, step="calling")
            else:
                yield world, replace(worker, step="called", outcome=Deferred("held up"))
        elif worker.step == "calling":
            took = replace(world, accepts=world.accepts + 1)
            yield took, replace(worker, step="called", outcome=Accepted("ref"))
            yield took, replace(worker, step="called", outcome=Unknown("no answer"))
            for outcome in (Unknown("not reached"), Rejected("no"), Deferred("later")):
                yield world, replace(worker, step="called", outcome=outcome)
        elif worker.step == "called":
            assert worker.held is not None
            assert worker.outcome is not None
            assert world.stored is not None
            fence = worker.held[0].fence
            message = domain.record(world.stored[0], fence, worker.outcome, now)
            after = world if message is None else self._save(world, message, world.stored[1])[0]
            yield after, self._done(worker)
        elif worker.step == "ack":
            yield replace(world, owed=False), Worker()

    def _begin(self, world: World) -> Iterator[tuple[World, Worker]]:
        if world.owed:
            if world.stored is None:
                message = domain.reserve("id", self.policy, NOT_AFTER, world.now, LEASE)
                yield replace(world, stored=(message, 1)), Worker("reserved", (message, 1), acks=True)
            else:
                yield from self._take_over(world, acks=True)
        if world.stored is not None:
            yield from self._take_over(world, acks=False)

    def _take_over(self, world: World, *, acks: bool) -> Iterator[tuple[World, Worker]]:
        assert world.stored is not None
        message, rev = world.stored
        taken = domain.take_over(message, world.now, LEASE)
        if taken is None:
            if acks:
                yield world, Worker("ack")
        elif taken.state is State.RESERVED:
            yield world, Worker("reserved", (taken, rev), acks=acks)
        else:
            yield self._save(world, taken, rev)[0], Worker("ack") if acks else Worker()

    @staticmethod
    def _done(worker: Worker) -> Worker:
        return Worker("ack") if worker.acks else Worker()

    @staticmethod
    def _save(world: World, message: Message, rev: int) -> tuple[World, Held | None]:
        assert world.stored is not None
        if world.stored[1] != rev:
            return world, None
        # In all of what follows the words don't matter, and a history would only make equal worlds differ.
        held = (replace(message, history=(), detail="", reason=""), rev + 1)
        return replace(world, stored=held), held


@cache
def visited(policy: Policy, skip_sending: bool = False) -> tuple[World, ...]:
    model = Model(policy, skip_sending=skip_sending)
    seen: dict[object, World] = {}
    queue = deque([World()])
    while queue:
        world = queue.popleft()
        known = key(world)
        if known in seen:
            continue
        seen[known] = world
        queue.extend(model.next(world))
    return tuple(seen.values())


def test_a_parked_message_is_never_accepted_twice() -> None:
    worlds = visited(Policy.PARK)
    assert len(worlds) > 1_000
    assert max(world.accepts for world in worlds) == 1


def test_what_was_accepted_is_never_recorded_as_not_sent() -> None:
    for world in visited(Policy.PARK):
        busy = any(worker.step != "idle" for worker in world.workers)
        if world.accepts and not busy and world.stored is not None and world.stored[0].terminal:
            assert world.stored[0].state in (State.SENT, State.UNKNOWN)


def test_sent_means_accepted() -> None:
    for policy in Policy:
        for world in visited(policy):
            if world.stored is not None and world.stored[0].state is State.SENT:
                assert world.accepts


@pytest.mark.parametrize("policy", list(Policy))
def test_every_state_has_a_way_to_an_end(policy: Policy) -> None:
    """Nothing more may happen than that time passes and one worker does its work, without a crash."""
    for world in visited(policy):
        if world.stored is not None and all(worker.step == "idle" for worker in world.workers):
            message, now = world.stored[0], world.now
            for _ in range(4):
                if message.terminal:
                    break
                now = max(now, message.due_at)
                taken = domain.take_over(message, now, LEASE)
                assert taken is not None, message
                message = taken
                if message.state is State.RESERVED:
                    committed = domain.commit(message, "p", now, LEASE)
                    assert committed is not None
                    message = committed
                if message.state is State.SENDING:
                    recorded = domain.record(message, message.fence, Accepted(), now)
                    assert recorded is not None
                    message = recorded
            assert message.terminal


@pytest.mark.parametrize("policy", list(Policy))
def test_what_is_not_settled_is_always_due_some_time(policy: Policy) -> None:
    for world in visited(policy):
        if world.stored is not None:
            message = world.stored[0]
            assert bool(message.due_at) is not message.terminal


@pytest.mark.parametrize("policy", list(Policy))
def test_what_is_acknowledged_is_stored(policy: Policy) -> None:
    assert all(world.stored is not None for world in visited(policy) if not world.owed)


def test_resending_may_duplicate_and_the_model_sees_it() -> None:
    assert max(world.accepts for world in visited(Policy.RESEND)) > 1


def test_without_the_sending_mark_the_model_finds_duplicates() -> None:
    assert max(world.accepts for world in visited(Policy.PARK, skip_sending=True)) > 1
