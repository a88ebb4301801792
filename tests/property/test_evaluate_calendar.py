"""The whole language against the oracle at the scale of the calendar: where clocks are set, days are skipped and years
have their leap days.

Everything there is happens at or near a few instants, so all of those at which an answer may change are known: between
them it's the same.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TypeVar
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.clock import DAY
from services.segment import domain as d
from services.segment.evaluate import NEVER, Compiled, depends_on, evaluate, explain
from services.segment.rules import Published, Rules
from tests.property.rule_oracle import day_starts, naive
from tests.property.rules_drawn import Scale

T = TypeVar("T")

HOUR = DAY // 24
LATER = 365 * DAY
"""Anniversaries of what is near now come again about then."""


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


PLACES = (
    # Clocks go forward at two in the morning, and back at three.
    ("Europe/Madrid", at("2026-03-28")),
    ("Europe/Madrid", at("2026-10-24")),
    # They go forward and back at midnight: one day begins at one o'clock, another would begin twice.
    ("America/Sao_Paulo", at("2018-11-03")),
    ("America/Sao_Paulo", at("2018-02-17")),
    # They go back a minute after midnight, which is before it again.
    ("America/St_Johns", at("2010-11-06")),
    # There was no 30th of December.
    ("Pacific/Apia", at("2011-12-29")),
    # A leap day, with an offset of three quarters.
    ("Asia/Kathmandu", at("2028-02-28")),
    ("UTC", at("2025-02-27")),
    ("", at("1999-12-31")),
)
ODD_TEXTS = ("", "x", "2024-02-29", "2025-02-29", "2026-3-29", "9999-12-31", "0001-01-01")


@cache
def scale(zone: str, start: int) -> Scale:
    instants = st.builds(
        lambda hours, minute, micros: start + hours * HOUR + minute * 60_000_000 + micros,
        st.integers(0, 4 * 24),
        st.sampled_from([0, 0, 30]),
        st.sampled_from([-1, 0, 0, 1]),
    )
    durations = st.sampled_from([1, HOUR, DAY - 1, DAY, DAY + HOUR, 3 * DAY])
    zones = st.sampled_from(["", "No/Where", "Asia/Tokyo", zone, zone])
    return Scale(instants, durations, date_texts(start), zones, dates=True)


def date_texts(start: int) -> st.SearchStrategy[str]:
    """Dates near an instant, in its year or another one."""
    day = datetime.fromtimestamp(start // 1_000_000, UTC).date()
    near = st.builds(
        lambda days, years: f"{day.year + years}{day + timedelta(days=days):-%m-%d}",
        st.integers(-3, 7),
        st.sampled_from([0, 0, 0, 1, -1, -4, -30]),
    )
    return st.one_of(near, near, st.sampled_from(ODD_TEXTS))


@dataclass(frozen=True)
class Case:
    condition: d.Condition
    facts: d.Facts
    now: int
    segments: dict[str, d.Definition]

    @property
    def others(self) -> dict[str, Published]:
        """Each segment asks only those before it."""
        known: dict[str, Published] = {}
        for id_, definition in self.segments.items():
            known[id_] = Published.of(id_, 1, 1, definition, known)
        return known

    @property
    def published(self) -> Published:
        return Published.of("asked", 1, 1, d.Definition(self.condition), self.others)

    @property
    def asks(self) -> dict[str, Compiled]:
        return {id_: other.ask for id_, other in self.others.items()}

    def verdict(self, now: int) -> bool | None:
        return naive(self.condition, self.facts, now, self.segments)

    def turns(self) -> list[int]:
        """Every instant after now at which something may come, go, grow old or begin."""
        rules = [self.condition, *(definition.condition for definition in self.segments.values())]
        spans = {0}
        zones = {self.facts.time_zone, "UTC"}
        for rule in rules:
            for node, _, _ in d.inside(rule):
                if isinstance(node, d.EventAggregate | d.Sequence) and isinstance(node.window, d.Within):
                    spans.add(node.window.micros)
                if isinstance(node, d.EventAggregate) and isinstance(node.aggregate, d.First | d.Last):
                    test = node.aggregate.test
                    if isinstance(test, d.Age):
                        spans |= {test.at_least or 0, test.below or 0}
                if isinstance(node, d.DateTest):
                    zones.add(node.time_zone)
        events = [occurred for history in self.facts.events.values() for occurred in history.at]
        start = self.now - self.now % DAY - 6 * DAY
        days = [
            midnight
            for zone in zones - {"", "No/Where"}
            for begin, long in ((start, 20), (start + LATER - 8 * DAY, 30))
            for midnight in day_starts(begin, long, ZoneInfo(zone))
        ]
        return sorted({turn for turn in [*(e + span for e in events for span in spans), *days] if turn > self.now})


@st.composite
def cases(draw: st.DrawFn) -> Case:
    drawn = scale(*draw(st.sampled_from(PLACES)))
    segments: dict[str, d.Definition] = {}
    for id_ in ("one", "two")[: draw(st.integers(0, 2))]:
        segments[id_] = d.Definition(draw(drawn.conditions(*segments)), draw(st.booleans()))
    return Case(draw(drawn.conditions(*segments)), draw(drawn.facts), draw(drawn.instants), segments)


@st.composite
def dated(draw: st.DrawFn) -> Case:
    """One test of a date that there is."""
    drawn = scale(*draw(st.sampled_from(PLACES)))
    values = st.one_of(drawn.texts, drawn.instants)
    facts = d.Facts({"a": draw(values), "b": draw(values)}, {}, {}, draw(drawn.zones))
    return Case(draw(drawn.date_tests), facts, draw(drawn.instants), {})


@settings(max_examples=4 * settings().max_examples)
@given(dated())
def test_a_date_flips_exactly_when_told(case: Case) -> None:
    """But for days that are skipped, which pass in no time: looking then is early."""
    value, until = evaluate(case.condition, case.facts, case.now)
    assert value is case.verdict(case.now)
    turns = case.turns()
    changes = [turn for turn in turns if case.verdict(turn) is not value]
    if until is not None:
        assert not changes or case.now < until <= changes[0]
        assert until in turns or until > case.now + 12 * DAY
    else:
        assert not changes
    if until is not None and changes and until < changes[0]:
        assert case.verdict(until) is value
        assert _is_anniversary(case.condition) or "Pacific/Apia" in (case.facts.time_zone, case.condition.time_zone)


def _is_anniversary(condition: d.Condition) -> bool:
    return isinstance(condition, d.DateTest) and isinstance(condition.test, d.AnniversaryInDays)


@given(cases())
def test_the_oracle_agrees_now_and_until_the_answer_changes(case: Case) -> None:
    """And what is told to be the next change is an instant at which something happens, not one in between."""
    value, until = evaluate(case.condition, case.facts, case.now, case.asks)
    assert value is case.verdict(case.now)
    turns = case.turns()
    end = NEVER if until is None else until
    for turn in turns:
        if turn < end:
            assert case.verdict(turn) is value
        if turn <= end:
            assert case.verdict(turn - 1) is value or turn - 1 < case.now
    assert until is None or until in turns or until > turns[-1] or case.now + 12 * DAY < until


@given(cases())
def test_timers_alone_keep_up_with_the_calendar(case: Case) -> None:
    """From timer to timer every answer is the oracle's, and few timers are for nothing."""
    published = case.published
    kept, wake = published.ask(case.facts, case.now)
    wakes = changes = 0
    for turn in case.turns():
        while wake <= turn:
            before, now = kept, wake
            kept, wake = published.ask(case.facts, now)
            assert wake > now
            wakes += 1
            changes += kept is not before
        assert kept is (case.verdict(turn) is True)
    # A junction may look again when one of its parts changes and the others decide.
    assert wakes <= changes + len(case.turns())


@given(cases())
def test_an_explanation_says_what_the_evaluator_says_of_each_part(case: Case) -> None:
    """Also of the segments that are asked; and what happened after its instant isn't looked at."""
    conditions = {id_: definition.condition for id_, definition in case.segments.items()}
    told = explain(case.condition, case.facts, case.now, case.asks, conditions)
    assert (told.value, told.until) == evaluate(case.condition, case.facts, case.now, case.asks)
    until_then = replace(
        case.facts,
        events={
            kind: d.History(
                *(column[: bisect_right(held.at, case.now)] for column in (held.at, held.ids, held.properties))
            )
            for kind, held in case.facts.events.items()
        },
    )
    then = explain(case.condition, until_then, case.now, case.asks, conditions)
    pending = [(told, then, case.condition)]
    while pending:
        one, same, node = pending.pop()
        assert one.value is naive(node, case.facts, case.now, case.segments)
        assert (same.looked_at, same.value) == (one.looked_at, one.value)
        inner = [child for child, _ in d.children(node)]
        if isinstance(node, d.InSegment):
            inner = [conditions[node.segment_id]]
        assert len(one.children) == len(inner)
        pending += zip(one.children, same.children, inner, strict=True)


@given(cases(), cases())
def test_only_what_touches_a_rule_matters_to_it(case: Case, other: Case) -> None:
    """Also by way of the segments that it asks: so an event touches only the rules whose answer it may change."""
    published = case.published
    needs = published.needs
    facts = d.Facts(
        _mixed(case.facts.attributes, other.facts.attributes, needs.attributes),
        _mixed(case.facts.events, other.facts.events, needs.event_types),
        _mixed(case.facts.consents, other.facts.consents, needs.consents),
        case.facts.time_zone if needs.zone else other.facts.time_zone,
    )
    assert published.ask(facts, case.now) == published.ask(case.facts, case.now)
    rules = Rules(1, [published])
    assert set(rules.by_attribute) == needs.attributes
    assert set(rules.by_event_type) == needs.event_types
    assert set(rules.by_consent) == needs.consents
    assert bool(rules.by_zone) is needs.zone
    assert depends_on(case.condition).segments <= needs.segments <= case.segments.keys()


def _mixed(own: dict[str, T], others: dict[str, T], needed: frozenset[str]) -> dict[str, T]:
    return {
        **{name: value for name, value in others.items() if name not in needed},
        **{name: value for name, value in own.items() if name in needed},
    }
