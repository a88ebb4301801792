"""Definitions: what is wrong with them, told at once and by path; and windows, to the microsecond."""

from __future__ import annotations

from dataclasses import replace

import pytest
from camino.segment.v1.segment_pb2 import MISSING_TRUE, SegmentDefinition
from google.protobuf import json_format

from services.chassis.clock import DAY
from services.chassis.errors import EtagMismatch, InvalidDefinition
from services.segment import compiling, definitions
from services.segment import domain as d
from services.segment.catalogue import Catalogue
from services.segment.evaluate import NEVER, depends_on, evaluate
from services.segment.references import Reference
from services.segment.rules import NO_RULES, Published, Rules
from services.segment.standing import Cause
from services.segment.state import Event, ProfileState, StaleRules

NOW = 1_750_000_000_000_000


def definition(condition: dict[str, object], **others: object) -> SegmentDefinition:
    return json_format.ParseDict({"condition": condition, **others}, SegmentDefinition())


def paths(condition: dict[str, object]) -> list[str]:
    with pytest.raises(InvalidDefinition) as error:
        definitions.definition_of(definition(condition))
    return [violation.field for violation in error.value.violations]


# --- definitions ------------------------------------------------------------------------------------------------------


def test_every_violation_is_named_with_its_path() -> None:
    found = paths(
        {
            "all": {
                "conditions": [
                    {"attribute": {"name": "age", "number": {"atLeast": 65, "below": 18}}},
                    {"event": {"eventType": "purchase", "sum": {"range": {"atLeast": 1}}}},
                    {"not": {"any": {"conditions": [{}, {"attribute": {"name": "x"}}]}}},
                    {
                        "event": {
                            "eventType": "purchase",
                            "count": {"above": 1, "below": 2},
                            "where": [{"name": "n", "number": {}}],
                            "window": {
                                "between": {"atOrAfter": "2026-02-01T00:00:00Z", "before": "2026-01-01T00:00:00Z"}
                            },
                        }
                    },
                ]
            }
        }
    )
    assert set(found) == {
        "definition.condition.all.conditions[0].attribute.number",
        "definition.condition.all.conditions[1].event.sum.property",
        "definition.condition.all.conditions[2].not.any.conditions[0]",
        "definition.condition.all.conditions[2].not.any.conditions[1].attribute",
        "definition.condition.all.conditions[3].event.count",
        "definition.condition.all.conditions[3].event.where[0].number",
        "definition.condition.all.conditions[3].event.window.between",
    }
    assert len(found) == 7


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ({}, "event"),
        ({"count": {}}, "event.count"),
        ({"count": {"atMost": -1}}, "event.count"),
        ({"count": {"atLeast": 1}, "window": {}}, "event.window"),
        ({"count": {"atLeast": 1}, "window": {"within": "0s"}}, "event.window.within"),
        ({"count": {"atLeast": 1}, "window": {"between": {}}}, "event.window.between"),
        ({"sum": {"property": "amount", "range": {"above": 2, "atMost": 2}}}, "event.sum.range"),
    ],
)
def test_event_conditions_that_say_nothing(event: dict[str, object], path: str) -> None:
    assert paths({"event": {"eventType": "purchase", **event}}) == [f"definition.condition.{path}"]


def test_nesting_and_size_are_bounded() -> None:
    leaf: dict[str, object] = {"attribute": {"name": "x", "exists": True}}
    deep = leaf
    for _ in range(d.MAX_DEPTH - 1):
        deep = {"not": deep}
    definitions.definition_of(definition(deep))
    assert paths({"not": deep}) == ["definition.condition" + ".not" * d.MAX_DEPTH]
    row = {"all": {"conditions": [leaf] * 100}}
    assert paths({"all": {"conditions": [row] * 10}}) == ["definition.condition"]
    long = [{"stringValue": f"{number:04000}"} for number in range(70)]
    assert paths({"attribute": {"name": "x", "in": {"values": long}}}) == ["definition"]


def test_a_definition_keeps_its_meaning_on_the_way_in() -> None:
    wire = definition(
        {
            "all": {
                "conditions": [
                    {"attribute": {"name": "tags", "equals": {"stringListValue": {"values": ["a", "b"]}}}},
                    {"attribute": {"name": "joined", "time": {"before": "2026-01-01T00:00:00Z"}}},
                    {
                        "event": {
                            "eventType": "purchase",
                            "window": {"within": "1.5s"},
                            "where": [{"name": "paid", "equals": {"boolValue": True}}],
                            "count": {"atLeast": 0},
                        }
                    },
                ]
            }
        },
        missing=MISSING_TRUE,
        displayName="Some",
    )
    assert definitions.definition_of(wire) == d.Definition(
        d.All(
            (
                d.AttributeTest("tags", d.Equals(("a", "b"))),
                d.AttributeTest("joined", d.TimeRange(before=1_767_225_600_000_000)),
                d.EventAggregate(
                    "purchase",
                    d.Count(d.NumberRange(at_least=0.0)),
                    (d.AttributeTest("paid", d.Equals(True)),),
                    d.Within(1_500_000),
                ),
            )
        ),
        missing=True,
        display_name="Some",
    )
    needs = depends_on(definitions.definition_of(wire).condition)
    assert needs.attributes == {"tags", "joined"}
    assert needs.event_types == {"purchase"}


# --- windows and types ------------------------------------------------------------------------------------------------


def purchases(*times: int) -> d.Facts:
    at = sorted(times)
    return d.Facts({}, {"purchase": d.History(at, [f"e{index}" for index in range(len(at))], [{} for _ in at])})


def bought(window: d.Window, least: float = 1.0) -> d.EventAggregate:
    return d.EventAggregate("purchase", d.Count(d.NumberRange(at_least=least)), (), window)


def test_an_event_leaves_a_window_exactly_when_it_is_that_old() -> None:
    condition = bought(d.Within(30 * DAY))
    leaves = NOW + 30 * DAY
    assert evaluate(condition, purchases(NOW), NOW - 1) == (False, NOW)
    assert evaluate(condition, purchases(NOW), NOW) == (True, leaves)
    assert evaluate(condition, purchases(NOW), leaves - 1) == (True, leaves)
    assert evaluate(condition, purchases(NOW), leaves) == (False, None)


def test_a_fixed_range_takes_its_start_and_not_its_end() -> None:
    condition = bought(d.TimeRange(NOW, NOW + 10))
    assert evaluate(condition, purchases(NOW), NOW + 99) == (True, None)
    assert evaluate(condition, purchases(NOW + 9), NOW + 99) == (True, None)
    assert evaluate(condition, purchases(NOW - 1, NOW + 10), NOW + 99) == (False, None)
    assert evaluate(condition, purchases(NOW + 9), NOW) == (False, NOW + 9)


def test_the_departure_that_matters_is_the_one_that_is_told() -> None:
    """Of five purchases the third but last decides whether there are three."""
    times = [NOW - 5, NOW - 4, NOW - 3, NOW - 2, NOW - 1]
    assert evaluate(bought(d.Within(100), 3.0), purchases(*times), NOW) == (True, NOW - 3 + 100)


@pytest.mark.parametrize(
    ("value", "test", "passes"),
    [
        (1.0, d.Equals(True), False),
        (True, d.Equals(1.0), False),
        (1, d.Equals(1.0), False),
        (1, d.Equals(1), True),
        (["a"], d.Equals(("a",)), True),
        (["a", "b"], d.Equals(("b", "a")), False),
        ("a", d.In(("a", 1.0)), True),
        (True, d.In(("a", 1.0)), False),
        ("abc", d.Contains("b"), True),
        (["abc"], d.Contains("b"), False),
        (["b"], d.Contains("b"), True),
        (5.0, d.Contains("5"), False),
        ("abc", d.StartsWith("ab"), True),
        (18.0, d.NumberRange(at_least=18.0), True),
        (18.0, d.NumberRange(above=18.0), False),
        (True, d.NumberRange(at_least=0.0), False),
        (5, d.TimeRange(5, 6), True),
        (6, d.TimeRange(5, 6), False),
        (True, d.TimeRange(0, 6), False),
    ],
)
def test_values_keep_their_types(value: d.Value, test: d.Test, passes: bool) -> None:
    assert evaluate(d.AttributeTest("x", test), d.Facts({"x": value}, {}), NOW).value is passes
    assert evaluate(d.AttributeTest("x", test), d.Facts({}, {}), NOW).value is None


# --- catalogues -------------------------------------------------------------------------------------------------------


def test_publishing_again_changes_nothing_and_an_old_etag_is_refused() -> None:
    first = Catalogue().with_published("vip", "aa", "", 1)
    assert (first.edition, first.heads["vip"].newest.number) == (1, 1)
    assert first.with_published("vip", "aa", "", 2) is first
    second = first.with_published("vip", "bb", "aa", 2)
    assert (second.edition, second.heads["vip"].newest.number, second.heads["vip"].created_at) == (2, 2, 1)
    # A retry of what has succeeded, with the etag it was based on then.
    assert second.with_published("vip", "bb", "aa", 3) is second
    with pytest.raises(EtagMismatch):
        second.with_published("vip", "cc", "aa", 3)
    with pytest.raises(EtagMismatch):
        second.with_published("new", "cc", "aa", 3)


def test_editions_grow_also_when_a_catalogue_is_deleted_and_begun_anew() -> None:
    first = Catalogue().with_published("vip", "aa", "", 100)
    again = first.with_published("vip", "bb", "", 100)
    anew = Catalogue().with_published("vip", "aa", "", 102)
    assert first.edition < again.edition < anew.edition
    assert (again.heads["vip"].newest.number, anew.heads["vip"].newest.number) == (2, 1)


def test_only_what_was_computed_serves_and_only_what_was_told_is_ready() -> None:
    catalogue = Catalogue().with_published("a", "1", "", 1).with_published("b", "2", "", 2)
    assert {id_: head.ready for id_, head in catalogue.with_ready(1, 1).heads.items()} == {"a": True, "b": False}
    edited = catalogue.with_ready(2, 2).with_published("a", "3", "", 3).with_published("b", "4", "", 4)
    assert [head.serving.etag for head in edited.heads.values()] == ["1", "2"]
    assert edited.with_switched(2, 5) is edited
    switched = edited.with_switched(3, 5)
    assert switched.edition == 5
    assert {id_: (head.serving.etag, head.ready) for id_, head in switched.heads.items()} == {
        "a": ("3", False),
        "b": ("2", True),
    }
    assert (switched.heads["a"].switched_at, switched.switched, switched.demanded) == (5, 3, 4)
    # Not when what was told is what followed from the version before.
    assert not switched.with_ready(4, 4).heads["a"].ready
    told = switched.with_ready(5, 5)
    # Some replica may still go by the version before.
    assert (told.heads["a"].ready, told.switched, told.awaited) == (True, 3, [4])
    assert told.with_switched(4, 6).with_ready(6, 6).awaited == []


def test_an_edit_of_an_edit_takes_its_place() -> None:
    first = Catalogue().with_published("a", "1", "", 1).with_ready(1, 1)
    head = first.with_published("a", "2", "", 2).with_published("a", "1", "2", 3).heads["a"]
    assert head.upcoming is not None
    assert (head.serving.number, head.upcoming.number, head.upcoming.edition, head.upcoming.etag) == (1, 3, 3, "1")


def test_a_former_version_asks_what_served_beside_it_though_a_clock_went_back() -> None:
    """`a` was switched first, by a clock that was ahead: what `b` asked before its own switch is what `a` says now."""
    served: dict[str, d.Definition] = {
        "1": d.Definition(d.Not(bought(None))),
        "2": d.Definition(bought(None)),
        "3": d.Definition(d.InSegment("a")),
        "4": d.Definition(d.Not(d.InSegment("a"))),
    }
    asks_a = [Reference("a", "")]
    catalogue = Catalogue().with_published("a", "1", "", 1).with_published("a", "2", "", 2).with_switched(2, 900)
    catalogue = catalogue.with_published("b", "3", "", 3, asks_a).with_published("b", "4", "", 4, asks_a)
    catalogue = catalogue.with_switched(catalogue.demanded, 800)
    former = compiling.rules(catalogue, NO_RULES, lambda _, etag: served[etag]).former["b"]
    assert former.ask(purchases(NOW), NOW)[0]


# --- states -----------------------------------------------------------------------------------------------------------


def rules(edition: int, *segments: tuple[str, int, d.Condition]) -> Rules:
    return Rules(
        edition,
        [Published.of(id_, 1, since, d.Definition(rule), serves_from=since) for id_, since, rule in segments],
    )


def purchase(event_id: str, at: int) -> Event:
    return Event(event_id, "purchase", at, {})


def told(state: ProfileState) -> list[tuple[str, bool, int, Cause, str]]:
    return [(t.segment_id, t.member, t.effective_at, t.cause, t.event_id) for t in state.outbox]


def test_a_late_timer_tells_what_a_punctual_one_would_have() -> None:
    recent = rules(1, ("recent", 1, bought(d.Within(100))), ("two", 1, bought(d.Within(100), 2.0)))
    state = ProfileState()
    state.observe_event(purchase("e1", 10), recent, 10)
    state.observe_event(purchase("e2", 50), recent, state.catch_up(recent, 50))
    assert state.wake_at == 110
    state.observe_event(purchase("e3", 400), recent, state.catch_up(recent, 400))
    assert told(state) == [
        ("recent", True, 10, Cause.EVENT, "e1"),
        ("two", True, 50, Cause.EVENT, "e2"),
        ("two", False, 110, Cause.TIME, ""),
        ("recent", False, 150, Cause.TIME, ""),
        ("recent", True, 400, Cause.EVENT, "e3"),
    ]
    assert [t.sequence for t in state.outbox] == [1, 2, 3, 4, 5]


def test_what_is_known_has_no_second_effect() -> None:
    ever = rules(1, ("two", 1, bought(None, 2.0)))
    state = ProfileState()
    for _ in range(3):
        state.observe_event(purchase("e1", 10), ever, state.catch_up(ever, 20))
        state.observe_event(purchase("e0", 10), ever, state.catch_up(ever, 20))
    assert state.facts.events["purchase"].ids == ["e0", "e1"]
    assert len(state.outbox) == 1
    state.observe_profile(2, d.Person({"x": 1.0}), ever, 20)
    state.observe_profile(1, d.Person({"x": 2.0}), ever, 20)
    assert state.facts.attributes == {"x": 1.0}


def test_a_new_profile_is_evaluated_by_everything() -> None:
    """Also by what doesn't ask about what made it known."""
    idle = rules(1, ("idle", 1, d.Not(bought(None))), ("spanish", 1, d.AttributeTest("country", d.Equals("ES"))))
    state = ProfileState()
    state.observe_profile(1, d.Person({"city": "Vigo"}), idle, 5)
    assert told(state) == [("idle", True, 5, Cause.PROFILE, "")]
    assert state.memberships.keys() == {"idle"}


def test_only_newer_definitions_are_evaluated_again() -> None:
    old = rules(1, ("buyers", 1, bought(None)))
    state = ProfileState()
    state.observe_event(purchase("e1", 10), old, 10)
    new = rules(2, ("buyers", 1, bought(None)), ("loyal", 2, bought(None, 2.0)), ("any", 2, bought(None)))
    state.catch_up(new, 30)
    assert told(state)[1:] == [("any", True, 30, Cause.EDIT, "")]
    assert state.edition == 2
    with pytest.raises(StaleRules):
        state.catch_up(old, 40)


def test_evaluation_does_not_go_back_in_time() -> None:
    recent = rules(1, ("recent", 1, bought(d.Within(100))))
    state = ProfileState()
    state.observe_event(purchase("e1", 10), recent, 10)
    assert state.catch_up(recent, 110) == 110
    assert state.catch_up(recent, 105) == 110, "another replica's clock is behind"
    assert [t.member for t in state.outbox] == [True, False]
    assert state.wake_at == NEVER


def test_who_enters_by_what_serves_differs_from_an_upcoming_version_that_was_asked_before() -> None:
    """Though the upcoming one isn't touched by what happens, and said no to somebody who was no member."""
    serving = Published.of("often", 1, 1, d.Definition(bought(None)), serves_from=1)
    upcoming = Published.of("often", 2, 2, d.Definition(d.AttributeTest("vip", d.Exists(True))))
    before, edited = Rules(1, [serving]), Rules(2, [serving], [upcoming])
    state = ProfileState()
    state.observe_profile(1, d.Person(), before, 10)
    state.catch_up(edited, 20)
    assert (state.prospects, state.differs_from) == ({}, 0)
    state.observe_event(purchase("e1", 30), edited, 30)
    assert state.differs_from == 2
    switched = Rules(3, [replace(upcoming, serves_from=3, switched_at=40)], [], [serving])
    state.catch_up(switched, 50)
    assert told(state) == [("often", True, 30, Cause.EVENT, "e1"), ("often", False, 40, Cause.EDIT, "")]
    assert (state.prospects, state.differs_from) == ({}, 0)
