"""Every way that the send protocol can go while its person is erased, at any moment of it: see `test_send_protocol`,
whose world this is, with a marker in it.

Erasing writes the marker, and then erases the message if it's there. The gate reads the marker, for a message that is
stored; what it read may be long past when the worker goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import pytest

from services.channels import domain
from services.channels.domain import Policy, State
from tests.property import test_send_protocol as protocol
from tests.property.test_send_protocol import LEASE, Model, Worker


@dataclass(frozen=True)
class World(protocol.World):
    marked: bool = False
    erased: bool = False
    """Erasing has gone through what was there."""


class Erasing(Model):
    """`blind` lets the gate look for no marker, `forgetful` lets erasing leave a message that is being sent as it is:
    to see that the model finds what these do."""

    def __init__(self, policy: Policy, *, blind: bool = False, forgetful: bool = False) -> None:
        super().__init__(policy)
        self.counts = policy is Policy.PARK
        self.blind = blind
        self.forgetful = forgetful

    def next(self, world: protocol.World) -> Iterator[protocol.World]:
        assert isinstance(world, World)
        # How often it's accepted is of interest only where it must be once.
        yield from (replace(one, accepts=one.accepts * self.counts) for one in super().next(world))
        if not world.marked:
            yield replace(world, marked=True)
        elif not world.erased:
            yield replace(self._erase(world), erased=True)

    def _erase(self, world: World) -> protocol.World:
        if world.stored is None:
            return world
        message, rev = world.stored
        if self.forgetful and message.state is State.SENDING:
            return world
        return self._save(world, domain.erase(message, world.now), rev)[0]

    def _step(self, world: protocol.World, worker: Worker) -> Iterator[tuple[protocol.World, Worker]]:
        assert isinstance(world, World)
        if worker.step == "gated":
            yield from super()._step(world, replace(worker, step="reserved"))
        elif worker.step != "reserved":
            yield from super()._step(world, worker)
        elif not world.marked or self.blind:
            yield world, replace(worker, step="gated")
        else:
            assert worker.held is not None
            message, rev = worker.held
            yield self._save(world, domain.erase(message, world.now), rev)[0], self._done(worker)


def worlds_of(model: Erasing) -> Iterator[World]:
    """All that there can be, the nearest first."""
    seen: set[object] = set()
    queue = deque([World()])
    while queue:
        world = queue.popleft()
        stored = world.stored
        known = (protocol.key(world), world.marked, world.erased, stored is not None and stored[0].erased)
        if known not in seen:
            seen.add(known)
            yield world
            queue.extend(following for following in model.next(world) if isinstance(following, World))


@cache
def visited(policy: Policy) -> tuple[World, ...]:
    return tuple(worlds_of(Erasing(policy)))


def has_late_commit(model: Erasing, worlds: Iterable[World]) -> bool:
    """Whether a worker decides to call the provider after its person was erased."""
    return any(
        committed(following) > committed(world) for world in worlds if world.erased for following in model.next(world)
    )


def committed(world: protocol.World) -> int:
    return sum(worker.step == "committed" for worker in world.workers)


def test_a_parked_message_is_never_accepted_twice() -> None:
    worlds = visited(Policy.PARK)
    assert len(worlds) > 1_000
    assert max(world.accepts for world in worlds) == 1


@pytest.mark.parametrize("policy", list(Policy))
def test_once_its_person_is_erased_no_call_is_decided_on(policy: Policy) -> None:
    assert not has_late_commit(Erasing(policy), visited(policy))


@pytest.mark.parametrize("policy", list(Policy))
def test_what_is_stored_afterwards_is_erased_or_about_to_be(policy: Policy) -> None:
    """About to be is what was asked for late, and the gate hasn't been asked about."""
    for world in visited(policy):
        if world.erased and world.stored is not None:
            message = world.stored[0]
            assert message.erased or message.state is State.RESERVED
            assert not message.erased or message.terminal or message.state is State.SENDING


def test_what_was_accepted_is_never_recorded_as_not_sent() -> None:
    for world in visited(Policy.PARK):
        busy = any(worker.step != "idle" for worker in world.workers)
        if world.accepts and not busy and world.stored is not None and world.stored[0].terminal:
            assert world.stored[0].state in (State.SENT, State.UNKNOWN)


@pytest.mark.parametrize("policy", list(Policy))
def test_a_message_whose_worker_died_comes_to_an_end(policy: Policy) -> None:
    """By nothing more than that its lease ends, and somebody takes it over."""
    for world in visited(policy):
        if world.erased and world.stored is not None and all(worker.step == "idle" for worker in world.workers):
            message = world.stored[0]
            if not message.terminal:
                taken = domain.take_over(message, max(world.now, message.due_at), LEASE)
                assert taken is not None
                assert taken.terminal or domain.erase(taken, world.now).terminal


@pytest.mark.parametrize("policy", list(Policy))
def test_without_a_look_for_the_marker_the_model_finds_a_call(policy: Policy) -> None:
    model = Erasing(policy, blind=True)
    assert has_late_commit(model, worlds_of(model))


def test_if_what_is_being_sent_were_left_as_it_is_the_model_finds_it() -> None:
    assert any(
        world.erased and world.stored and not world.stored[0].erased and world.stored[0].state is State.RETRY
        for world in worlds_of(Erasing(Policy.RESEND, forgetful=True))
    )
