"""Random valid journeys, walked with random answers, holds and lateness: what holds for every walk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.chassis.clock import DAY, MINUTE, SECOND
from services.orchestrator.domain import engine
from services.orchestrator.domain.decision import SendSpec, Verdict
from services.orchestrator.domain.engine import Event, Facts, Run, RunState, Transition, advance
from services.orchestrator.domain.journey import Branch, Condition, Exit, Journey, Send, Step, Wait, violations
from services.orchestrator.domain.person import OPTED_IN, Person

START = 1_750_000_000 * SECOND
SEGMENTS = ("vip", "lapsed", "new")
SPEC = SendSpec(1, "welcome", 1, "news", 1, lifetime=3650 * DAY, unknown_policy=1)
PERSON = Person("p1", endpoints={1: "ana@example.com"}, attributes={"a": 1.0}, consents={(1, "news"): OPTED_IN})


def _holds(name: str, wanted: Any) -> Any:
    return lambda values: values.get(name) == wanted


@st.composite
def branches(draw: st.DrawFn, targets: st.SearchStrategy[str]) -> Branch:
    kind = draw(st.sampled_from(("segment", "segment", "attribute", "event")))
    if kind == "segment":
        return Branch(draw(targets), in_segment=draw(st.sampled_from(SEGMENTS)))
    if kind == "attribute":
        return Branch(draw(targets), attribute=_holds("a", draw(st.sampled_from((1.0, 2.0)))))
    return Branch(draw(targets), event_property=_holds("e", draw(st.sampled_from((1.0, 2.0)))))


@st.composite
def journeys(draw: st.DrawFn) -> Journey:
    """Steps lead forward; only waits lead back, so every loop has one."""
    count = draw(st.integers(1, 6))
    ids = [f"s{number}" for number in range(count)]
    steps: list[Step] = []
    for number, id_ in enumerate(ids):
        forward = st.sampled_from([*ids[number + 1 :], ""])
        kind = draw(st.sampled_from(("send", "wait", "condition", "exit")))
        if kind == "send":
            steps.append(Send(id_, draw(forward), SPEC))
        elif kind == "wait":
            steps.append(Wait(id_, draw(st.sampled_from([*ids, ""])), draw(st.integers(1, 3 * DAY))))
        elif kind == "condition":
            chosen = tuple(draw(st.lists(branches(forward), min_size=1, max_size=3)))
            steps.append(Condition(id_, chosen, draw(forward)))
        else:
            steps.append(Exit(id_, f"at {id_}"))
    found = [violation for violation in violations(tuple(steps)) if "no step leads" not in violation.message]
    assert not found
    return Journey("w", "j", 1, "purchase", (), False, DAY, {step.id: step for step in steps}, ids[0])


@dataclass(frozen=True)
class World:
    """Answers to all that a run asks; the n-th wake finds the journey paused where `paused` says so."""

    memberships: dict[str, bool]
    person: Person | None
    lateness: tuple[int, ...]
    paused: tuple[bool, ...]

    def facts(self, wake: int) -> Facts:
        return Facts(self.person, self.paused[wake % len(self.paused)], self.memberships)


worlds = st.builds(
    World,
    st.fixed_dictionaries(dict.fromkeys(SEGMENTS, st.booleans())),
    st.sampled_from((PERSON, replace(PERSON, consents={}), replace(PERSON, endpoints={}), None)),
    st.lists(st.integers(0, 2 * DAY), min_size=1, max_size=4).map(tuple),
    st.lists(st.booleans(), min_size=1, max_size=3).map(tuple),
)


def fresh(journey: Journey) -> Run:
    return Run("r1", "p1", Event("e1", "purchase", {"e": 1.0}), journey.first, START)


def walk(journey: Journey, world: World, wakes: int = 12, *, late: bool = False) -> list[Transition]:
    """Wake a run whenever it asks for it, or some time later."""
    run, now, transitions = fresh(journey), START, []
    for wake in range(wakes):
        transition = advance(journey, run, now, world.facts(wake))
        transitions.append(transition)
        run = transition.run
        if run.state is not RunState.ACTIVE:
            break
        now = run.wake_at + (world.lateness[wake % len(world.lateness)] if late else 0)
    return transitions


def steps_of(transitions: list[Transition]) -> list[tuple[str, int, Verdict]]:
    return [(d.step_id, d.visit, d.decision.verdict) for transition in transitions for d in transition.decided]


@given(journeys(), worlds)
def test_a_run_ends_or_waits_for_an_instant_ahead(journey: Journey, world: World) -> None:
    run, now = fresh(journey), START
    for wake in range(12):
        run = advance(journey, run, now, world.facts(wake)).run
        if run.state is not RunState.ACTIVE:
            assert run.ended_at == now
            assert run.wake_at == 0
            return
        assert run.wake_at > now
        now = run.wake_at


@given(journeys(), worlds)
def test_the_same_inputs_give_the_same_transition(journey: Journey, world: World) -> None:
    assert walk(journey, world) == walk(journey, world)


@given(journeys(), worlds, st.integers(1, DAY))
def test_waking_twice_or_too_early_changes_nothing(journey: Journey, world: World, early: int) -> None:
    for wake, transition in enumerate(walk(journey, world)):
        run = transition.run
        assume(run.wake_at - early > 0 or run.state is not RunState.ACTIVE)
        for now in (run.wake_at - early, run.wake_at - 1):
            assert advance(journey, run, now, world.facts(wake)) == Transition(run)


@given(journeys(), worlds)
def test_a_run_that_has_ended_stays_as_it_is(journey: Journey, world: World) -> None:
    last = walk(journey, world)[-1].run
    assume(last.state is not RunState.ACTIVE)
    assert advance(journey, last, START + 1000 * DAY, world.facts(0)) == Transition(last)


@given(journeys(), worlds)
def test_late_wakes_take_the_same_steps_as_punctual_ones(journey: Journey, world: World) -> None:
    punctual, late = walk(journey, world), walk(journey, world, late=True)
    assert steps_of(late) == steps_of(punctual)
    assert [t.run.step_id for t in late] == [t.run.step_id for t in punctual]
    assert [t.run.visits for t in late] == [t.run.visits for t in punctual]
    assert late[-1].run.state == punctual[-1].run.state


@given(journeys(), worlds)
def test_what_is_needed_is_asked_before_anything_happens(journey: Journey, world: World) -> None:
    """Asking segment by segment, with nothing done in between, comes to the same as knowing all from the start."""
    run, now = fresh(journey), START
    for wake in range(12):
        everything = world.facts(wake)
        known: dict[str, bool] = {}
        while (transition := advance(journey, run, now, replace(everything, memberships=known))).needs:
            assert transition.run == run
            assert transition.decided == ()
            assert not transition.needs & known.keys()
            known |= {segment: world.memberships[segment] for segment in transition.needs}
        assert transition == advance(journey, run, now, everything)
        run = transition.run
        if run.state is not RunState.ACTIVE:
            return
        now = run.wake_at


@given(journeys(), worlds, st.integers(1, MINUTE))
def test_a_run_put_off_at_its_place_goes_on_as_it_would_have(journey: Journey, world: World, pause: int) -> None:
    """As happens when a segment can't answer yet: the run sleeps where it was, whether or not it has begun."""
    run, now = fresh(journey), START
    for wake in range(6):
        expected = advance(journey, run, now + pause, world.facts(wake))
        later = advance(journey, replace(run, wake_at=now + pause), now + pause, world.facts(wake))
        assert later == expected
        run = expected.run
        if run.state is not RunState.ACTIVE:
            return
        now = run.wake_at


@given(journeys(), worlds)
def test_every_visit_of_a_send_is_decided_once_and_for_all(journey: Journey, world: World) -> None:
    final = [(d.step_id, d.visit) for t in walk(journey, world, 30) for d in t.decided if d.decision.verdict != 2]
    assert len(final) == len(set(final))


@settings(deadline=None, max_examples=5)
@given(st.integers(1, DAY))
def test_a_step_is_visited_so_often_and_then_the_run_fails_visibly(duration: int) -> None:
    steps = {"send": Send("send", "wait", SPEC), "wait": Wait("wait", "send", duration)}
    journey = Journey("w", "j", 1, "purchase", (), False, DAY, steps, "send")
    run, now, sent = fresh(journey), START, 0
    while run.state is RunState.ACTIVE:
        transition = advance(journey, run, now, Facts(PERSON))
        sent += len(transition.decided)
        run = transition.run
        now = max(now, run.wake_at)
    assert run.state is RunState.FAILED
    assert sent == engine.MAX_VISITS
    assert "'send' was visited more than 1000 times" in run.end_reason


def test_a_step_that_is_gone_fails_the_run() -> None:
    journey = Journey("w", "j", 1, "purchase", (), False, DAY, {"a": Exit("a", "")}, "gone")
    run = advance(journey, fresh(journey), START, Facts(PERSON)).run
    assert (run.state, run.end_reason) == (RunState.FAILED, "there is no step 'gone'")
