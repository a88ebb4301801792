"""The compiled evaluator against a naive one, at every instant there is; and timers against asking all the time.

Instants are small integers, so that events, windows and questions meet at the same ones, and every instant can be
tried.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.chassis.clock import DAY
from services.segment import domain as d
from services.segment.evaluate import NEVER, compiled, depends_on, evaluate
from tests.property import rule_oracle
from tests.property.rules_drawn import BUSY, Happening, Scale, busy_facts, consents, facts_of, numbers

HORIZON = 60
"""Events and questions are before it; 40 later nothing happens any more."""

instants = st.integers(0, HORIZON)
SCALE = Scale(instants, st.integers(1, 30), st.sampled_from(["", "x", "xy", "yx"]))
conditions = SCALE.conditions()
histories = SCALE.facts


def naive(condition: d.Condition, facts: d.Facts, now: int) -> bool | None:
    return rule_oracle.naive(condition, facts, now, {})


# --- laws -------------------------------------------------------------------------------------------------------------


@given(conditions, histories)
def test_agrees_with_the_naive_evaluator_at_every_instant(condition: d.Condition, facts: d.Facts) -> None:
    ask = compiled(condition)
    for now in range(HORIZON + 40):
        assert ask(facts, now)[0] is naive(condition, facts, now)


@given(conditions, histories)
def test_nothing_changes_before_the_instant_it_names(condition: d.Condition, facts: d.Facts) -> None:
    """From every instant on: the answer stays until just before `until`, and for ever when there is none."""
    ask = compiled(condition)
    answers = [ask(facts, now) for now in range(HORIZON + 40)]
    for now, (value, until) in enumerate(answers):
        assert until > now
        assert all(later[0] is value for later in answers[now : min(until, len(answers))])
        assert until == NEVER or until < len(answers), "nothing can happen so late"


@given(conditions, SCALE.attributes, st.lists(st.tuples(instants, SCALE.happenings), max_size=8))
def test_timers_alone_keep_up(
    condition: d.Condition, attributes: dict[str, d.Value], arrivals: list[tuple[int, Happening]]
) -> None:
    """Asked only when an event arrives and when a timer fires, the answer is at every instant what asking then would
    give: whether events come early, late or in any order."""
    ask = compiled(condition)
    arrived: list[Happening] = []
    facts = facts_of(attributes, arrived)
    kept, wake = ask(facts, 0)
    for now in range(HORIZON + 40):
        news = [happening for arrival, happening in arrivals if arrival == now]
        if news:
            arrived += news
            facts = facts_of(attributes, arrived)
        if news or now >= wake:
            kept, wake = ask(facts, now)
        assert kept is naive(condition, facts, now)


@given(st.integers(1, 4), st.integers(1, 30), st.lists(instants, max_size=8), instants)
@example(2, 10, [5, 5, 5, 7], 8)
def test_a_count_in_a_window_flips_exactly_when_told(least: int, micros: int, times: list[int], now: int) -> None:
    condition = d.EventAggregate("purchase", d.Count(d.NumberRange(at_least=float(least))), (), d.Within(micros))
    facts = facts_of({}, [(at, "purchase", {}) for at in times])
    value, until = evaluate(condition, facts, now)
    changes = [at for at in range(now + 1, HORIZON + 40) if naive(condition, facts, at) is not value]
    assert until == (changes[0] if changes else None)


@given(
    st.sampled_from([0.1, 0.3, 1.0, 2.0]),
    st.integers(1, 30),
    st.lists(st.tuples(instants, numbers), max_size=8),
    instants,
)
def test_a_sum_in_a_window_flips_exactly_when_told(
    least: float, micros: int, purchases: list[tuple[int, float]], now: int
) -> None:
    condition = d.EventAggregate("purchase", d.Sum("a", d.NumberRange(at_least=least)), (), d.Within(micros))
    facts = facts_of({}, [(at, "purchase", {"a": amount}) for at, amount in purchases])
    value, until = evaluate(condition, facts, now)
    changes = [at for at in range(now + 1, HORIZON + 40) if naive(condition, facts, at) is not value]
    assert until == (changes[0] if changes else None)


@pytest.mark.parametrize("kind", BUSY)
@settings(max_examples=2 * settings().max_examples)
@given(st.data())
def test_a_condition_on_events_flips_exactly_when_told(kind: str, data: st.DataObject) -> None:
    """Where events, windows, ages and spans meet at the same instants all the time."""
    condition, facts, now = data.draw(BUSY[kind]), data.draw(busy_facts), data.draw(st.integers(0, 14))
    value, until = evaluate(condition, facts, now)
    assert value is naive(condition, facts, now)
    changes = [at for at in range(now + 1, 40) if naive(condition, facts, at) is not value]
    assert until == (changes[0] if changes else None)


@given(conditions, conditions, histories, instants)
def test_kleene(left: d.Condition, right: d.Condition, facts: d.Facts, now: int) -> None:
    def says(condition: d.Condition) -> bool | None:
        return evaluate(condition, facts, now).value

    assert says(d.Not(d.Not(left))) is says(left)
    assert says(d.All((left, right))) is says(d.All((right, left)))
    assert says(d.All((left, left))) is says(left) is says(d.Any((left, left)))
    assert says(d.Not(d.All((left, right)))) is says(d.Any((d.Not(left), d.Not(right))))
    assert says(d.Any((left, d.All((left, right))))) is says(left)


@given(conditions, histories, instants, st.data())
def test_only_what_it_depends_on_matters(condition: d.Condition, facts: d.Facts, now: int, data: st.DataObject) -> None:
    needs = depends_on(condition)
    other = d.Facts(
        {
            **{name: value for name, value in data.draw(SCALE.attributes).items() if name not in needs.attributes},
            **{name: value for name, value in facts.attributes.items() if name in needs.attributes},
        },
        {kind: history for kind, history in facts.events.items() if kind in needs.event_types},
        {
            **{key: agreed for key, agreed in data.draw(consents).items() if key not in needs.consents},
            **{key: agreed for key, agreed in facts.consents.items() if key in needs.consents},
        },
        facts.time_zone if needs.zone else "Asia/Tokyo",
    )
    assert evaluate(condition, other, now) == evaluate(condition, facts, now)


@settings(max_examples=25)
@given(st.lists(st.tuples(instants, numbers), min_size=60, max_size=90), instants)
def test_long_histories_may_be_early_but_never_late(purchases: list[tuple[int, float]], now: int) -> None:
    """So many comings and goings that the evaluator doesn't look at each: it wakes early instead."""
    condition = d.EventAggregate("purchase", d.Sum("a", d.NumberRange(above=0.0, below=2.0)), (), d.Within(20))
    facts = facts_of({}, [(at, "purchase", {"a": amount}) for at, amount in purchases])
    value, until = evaluate(condition, facts, now)
    end = HORIZON + 40 if until is None else until
    assert all(naive(condition, facts, at) is value for at in range(now, end))


def test_sums_beyond_doubles() -> None:
    facts = facts_of({}, [(1, "purchase", {"a": 1.7e308}), (2, "purchase", {"a": 1.7e308})])
    greatest = 1.7976931348623157e308
    assert evaluate(d.EventAggregate("purchase", d.Sum("a", d.NumberRange(above=greatest))), facts, 3).value is True
    assert evaluate(d.EventAggregate("purchase", d.Sum("a", d.NumberRange(at_most=greatest))), facts, 3).value is False
    back = facts_of({}, [*((at, "purchase", {"a": 1.7e308}) for at in (1, 2)), (3, "purchase", {"a": -1.7e308})])
    condition = d.EventAggregate("purchase", d.Sum("a", d.NumberRange(at_least=1.7e308, at_most=1.7e308)))
    assert evaluate(condition, back, 3).value is True


# --- a cohort of buyers -----------------------------------------------------------------------------------------------


def cohort(size: int) -> list[list[int]]:
    """Days of purchases of people who first bought within 12 weeks and were watched for 18 months: most buy once, some
    for long."""
    dice = random.Random(1997)
    people = []
    for _ in range(size):
        days = [dice.randrange(84)]
        rate = dice.gammavariate(0.55, 1 / 10.6)
        while rate > 0 and dice.random() > 0.2:
            day = days[-1] + int(dice.expovariate(rate))
            if day >= 546:
                break
            days.append(day)
        people.append(days)
    return people


LOYAL = d.EventAggregate("purchase", d.Count(d.NumberRange(at_least=3.0)))
LAPSED = d.All(
    (
        d.EventAggregate("purchase", d.Count(d.NumberRange(at_least=1.0))),
        d.EventAggregate("purchase", d.Count(d.NumberRange(below=1.0)), (), d.Within(180 * DAY)),
    )
)


@pytest.mark.parametrize("rule", [LOYAL, LAPSED])
def test_a_cohort(rule: d.Condition) -> None:
    """Every buyer's transitions, by events and timers, are those that reading the finished history shows."""
    ask = compiled(rule)
    transitions = 0
    for days in cohort(500):
        purchases = [day * DAY for day in days]
        facts = d.Facts({}, {})
        kept, wake = ask(facts, 0)
        told: dict[int, bool | None] = {}
        for index, at in enumerate([*purchases, NEVER]):
            while wake < min(at + 1, NEVER):
                told[wake], wake = ask(facts, wake)
            if at == NEVER:
                break
            history = facts.events.setdefault("purchase", d.History([], [], []))
            history.at.append(at)
            history.ids.append(f"e{index}")
            history.properties.append({})
            told[at], wake = ask(facts, at)

        expected: dict[int, bool | None] = {}
        for at in sorted({*purchases, *(purchase + 180 * DAY for purchase in purchases)}):
            bought = sum(purchase <= at for purchase in purchases)
            recent = any(at - 180 * DAY < purchase <= at for purchase in purchases)
            expected[at] = bought >= 3 if rule is LOYAL else bought >= 1 and not recent
        assert changes(told, kept) == changes(expected, kept)
        transitions += len(changes(told, kept))
    assert transitions > 50


def changes(told: dict[int, bool | None], first: bool | None) -> list[tuple[int, bool | None]]:
    """The instants at which what was told differs from what was told before."""
    result = []
    for at, value in sorted(told.items()):
        if value is not first:
            result.append((at, value))
        first = value
    return result


def test_the_rules_of_the_cohort_differ_by_one_microsecond() -> None:
    facts = facts_of({}, [(0, "purchase", {})])
    assert evaluate(LAPSED, facts, 180 * DAY - 1) == (False, 180 * DAY)
    assert evaluate(LAPSED, facts, 180 * DAY) == (True, None)
    assert evaluate(replace(LAPSED, conditions=LAPSED.conditions[:1]), facts, 0) == (True, None)
