"""The rule language by example: how it's printed, what is wrong in it, days where clocks are set, what explains it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from camino.segment.v1.segment_pb2 import SegmentDefinition
from google.protobuf import json_format

from services.chassis.clock import DAY
from services.chassis.errors import InvalidDefinition, Violation
from services.segment import domain as d
from services.segment.catalogue import Catalogue
from services.segment.definitions import definition_of
from services.segment.domain.printed import in_lines, printed
from services.segment.evaluate import compiled, evaluate, explain
from services.segment.references import MOST, MOST_IN_A_ROW, Reference, references

MINUTE = DAY // 24 // 60


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def read(condition: dict[str, object]) -> d.Condition:
    wire = json_format.ParseDict({"condition": condition}, SegmentDefinition())
    return definition_of(wire).condition


def of_purchases(**more: object) -> dict[str, object]:
    return {"event": {"eventType": "purchase", **more}}


def then(**more: object) -> dict[str, object]:
    return {"sequence": {"steps": [{"eventType": "visit"}, {"eventType": "purchase"}], **more}}


AMOUNT = {"name": "amount", "number": {"atLeast": 50}}
NEWS = {"channel": "CHANNEL_EMAIL", "topic": "news"}
ES = {"attribute": {"name": "country", "in": {"values": [{"stringValue": "ES"}, {"stringValue": "PT"}]}}}
OLD = {"attribute": {"name": "age", "number": {"above": 64.5, "below": 90}}}


# --- the printed form -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "line"),
    [
        (ES, 'country in ("ES", "PT")'),
        (OLD, "age > 64.5 and < 90"),
        ({"attribute": {"name": "my plan", "startsWith": 'a"b'}}, '"my plan" starts with "a\\"b"'),
        ({"attribute": {"name": "tags", "contains": "x"}}, 'tags contains "x"'),
        ({"attribute": {"name": "vip", "exists": False}}, "vip is missing"),
        (
            {"attribute": {"name": "joined", "time": {"before": "2025-01-01T00:00:00Z"}}},
            "joined before 2025-01-01T00:00:00Z",
        ),
        ({"date": {"attribute": "renewal_date", "inDays": {"atMost": -8}}}, "date(renewal_date) in <= -8 days"),
        (
            {"date": {"attribute": "r", "inDays": {"atLeast": 0, "atMost": 0}, "timeZone": "Asia/Tokyo"}},
            "date(r, Asia/Tokyo) today",
        ),
        (
            {"date": {"attribute": "born", "anniversaryInDays": {"atLeast": 0, "atMost": 7}}},
            "anniversary(born) in 0 to 7 days",
        ),
        (
            of_purchases(count={"atLeast": 2}, where=[AMOUNT], window={"within": "2592000s"}),
            "count(purchase where amount >= 50 within 30d) >= 2",
        ),
        (
            of_purchases(
                sum={"property": "amount", "range": {"above": 9.5}},
                window={"between": {"atOrAfter": "2025-01-01T00:00:00Z"}},
            ),
            "sum(amount of purchase since 2025-01-01T00:00:00Z) > 9.5",
        ),
        (of_purchases(average={"property": "amount", "range": {"below": 1}}), "average(amount of purchase) < 1"),
        (of_purchases(last={"property": {"name": "amount", "number": {"above": 50}}}), "last(purchase).amount > 50"),
        (
            of_purchases(first={"occurredAt": {"before": "2025-01-01T00:00:00Z"}}),
            "first(purchase) occurred before 2025-01-01T00:00:00Z",
        ),
        (
            of_purchases(last={"age": {"atLeast": "5400s", "below": "86400s"}}),
            "last(purchase) is >= 1h30m and < 1d ago",
        ),
        (then(), "sequence(visit then purchase)"),
        (
            then(within="60s", fromFirst=True, window={"within": "0.5s"}),
            "sequence(from the first visit then purchase within 500ms) less than 1m apart",
        ),
        ({"consent": {**NEWS, "standing": "CONSENT_STANDING_UNKNOWN"}}, "consent(email, news) is unknown"),
        ({"inSegment": "vip"}, "in segment vip"),
        (
            {"any": {"conditions": [ES, {"all": {"conditions": [OLD, {"not": ES}]}}]}},
            'country in ("ES", "PT") or (age > 64.5 and < 90 and not country in ("ES", "PT"))',
        ),
        ({"not": {"any": {"conditions": [ES, OLD]}}}, 'not (country in ("ES", "PT") or age > 64.5 and < 90)'),
    ],
)
def test_a_condition_is_printed_on_a_line(condition: dict[str, object], line: str) -> None:
    assert printed(read(condition)) == line


def test_a_long_one_is_printed_on_lines_of_its_parts() -> None:
    condition = read(
        {"all": {"conditions": [ES, {"any": {"conditions": [OLD, ES]}}, {"not": {"all": {"conditions": [OLD, ES]}}}]}}
    )
    assert in_lines(condition, 200) == printed(condition)
    assert in_lines(condition, 40).splitlines() == [
        "all of",
        '- country in ("ES", "PT")',
        "- any of",
        "  - age > 64.5 and < 90",
        '  - country in ("ES", "PT")',
        "- not (",
        "    all of",
        "    - age > 64.5 and < 90",
        '    - country in ("ES", "PT")',
        "  )",
    ]


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "path"),
    [
        ({"date": {"attribute": "x"}}, "date"),
        ({"date": {"attribute": "x", "inDays": {}}}, "date.in_days"),
        ({"date": {"attribute": "x", "inDays": {"atLeast": 2, "atMost": 1}}}, "date.in_days"),
        ({"date": {"attribute": "x", "anniversaryInDays": {"atMost": -1}}}, "date.anniversary_in_days"),
        ({"date": {"attribute": "x", "anniversaryInDays": {"atLeast": 366}}}, "date.anniversary_in_days"),
        ({"date": {"attribute": "x", "inDays": {"atMost": 1}, "timeZone": "Mars/One"}}, "date.time_zone"),
        ({"date": {"attribute": "x", "inDays": {"atMost": 1}, "timeZone": "../etc"}}, "date.time_zone"),
        ({"date": {"attribute": "x", "inDays": {"atMost": 1}, "timeZone": "localtime"}}, "date.time_zone"),
        (of_purchases(first={}), "event.first"),
        (of_purchases(first={"age": {}}), "event.first.age"),
        (of_purchases(last={"age": {"atLeast": "60s", "below": "60s"}}), "event.last.age"),
        (of_purchases(last={"property": {"name": "n", "number": {}}}), "event.last.property.number"),
        (of_purchases(last={"occurredAt": {}}), "event.last.occurred_at"),
        (of_purchases(max={"property": "n", "range": {"above": 1, "below": 1}}), "event.max.range"),
        ({"event": {"eventType": "camino.message.seen", "count": {"atLeast": 1}}}, "event.event_type"),
        ({"sequence": {"steps": [{"eventType": "a"}]}}, "sequence.steps"),
        ({"sequence": {"steps": [{"eventType": "a"}, {"eventType": "camino."}]}}, "sequence.steps[1].event_type"),
        (then(within="0.000000001s"), "sequence.within"),
        (then(window={"between": {}}), "sequence.window.between"),
        ({"consent": {"channel": "CHANNEL_EMAIL", "topic": "news"}}, "consent.standing"),
        ({"consent": {"topic": "news", "standing": "CONSENT_STANDING_UNKNOWN"}}, "consent.channel"),
    ],
)  # fmt: skip
def test_conditions_that_make_no_sense(condition: dict[str, object], path: str) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        read(condition)
    assert [violation.field for violation in refused.value.violations] == [f"definition.condition.{path}"]


def test_what_becomes_of_messages_may_be_asked_for() -> None:
    for kind in d.MESSAGE_EVENTS:
        read({"event": {"eventType": kind, "count": {"atLeast": 1}, "where": [{"name": "journey_id", "exists": True}]}})


# --- segments that ask each other -------------------------------------------------------------------------------------


def asking(catalogue: Catalogue, segment_id: str, *others: str) -> Catalogue:
    wanted = [Reference(other, f"definition.condition.any.conditions[{n}]") for n, other in enumerate(others)]
    return catalogue.with_published(segment_id, repr((segment_id, others)), "", 1, wanted)


def refused(catalogue: Catalogue, segment_id: str, *others: str) -> list[Violation]:
    with pytest.raises(InvalidDefinition) as refusal:
        asking(catalogue, segment_id, *others)
    return list(refusal.value.violations)


def test_references_are_found_where_they_stand() -> None:
    condition = read({"not": {"any": {"conditions": [ES, {"inSegment": "a"}, {"not": {"inSegment": "b"}}]}}})
    assert references(condition, "c") == [
        Reference("a", "c.not.any.conditions[1].in_segment"),
        Reference("b", "c.not.any.conditions[2].not.in_segment"),
    ]


def test_who_asks_an_edited_segment_is_evaluated_anew_and_keeps_its_version() -> None:
    first = asking(asking(asking(asking(Catalogue(), "a"), "b", "a"), "c", "b", "b"), "other").with_ready(9, 9)
    second = asking(first, "a", "other")
    assert second.edition > first.edition
    assert {id_: head.newest.edition == second.edition for id_, head in second.heads.items()} == {
        "a": True,
        "b": True,
        "c": True,
        "other": False,
    }
    # It's switched together with what it asks, and not before that.
    assert second.with_switched(second.edition - 1, 10) is second
    switched = second.with_switched(second.edition, 10)
    assert {id_: head.switched_at for id_, head in switched.heads.items()} == {"a": 10, "b": 10, "c": 10, "other": 0}
    assert (switched.heads["c"].serving.number, switched.heads["c"].serving.etag) == (1, first.heads["c"].serving.etag)
    assert switched.heads["c"].serving.asks == ("b", "b")


def test_segments_that_ask_each_other_are_switched_together() -> None:
    """Whichever of them was published last: nobody asks two versions of one at a time."""
    ready = asking(asking(Catalogue(), "a"), "b", "a").with_ready(9, 9)
    edited = asking(asking(asking(ready, "other"), "a", "other"), "b", "a", "other")
    a, b = edited.heads["a"].newest.edition, edited.heads["b"].newest.edition
    assert a < b
    assert edited.with_switched(a, 10) is edited
    assert {id_ for id_, head in edited.with_switched(b, 10).heads.items() if head.switched_at} == {"a", "b"}
    # One that is new asks what serves, and goes along with it.
    new = asking(edited, "new", "a")
    assert new.heads["new"].upcoming == new.heads["new"].serving
    assert new.with_switched(b, 10) is new
    switched = new.with_switched(new.edition, 10)
    assert {id_ for id_, head in switched.heads.items() if head.switched_at} == {"a", "b", "new"}


def test_no_segment_asks_itself_by_whatever_way() -> None:
    catalogue = asking(asking(asking(Catalogue(), "a"), "b", "a"), "c", "b")
    [alone] = refused(catalogue, "new", "new")
    assert alone.message == "comes back to this segment: new asks new"
    circle, unknown = refused(catalogue, "a", "c", "nobody")
    assert circle == Violation(
        "definition.condition.any.conditions[0]", "comes back to this segment: a asks c asks b asks a"
    )
    assert unknown == Violation(
        "definition.condition.any.conditions[1]", "there is no segment 'nobody'; publish it first"
    )


def test_how_far_and_how_often_segments_ask_each_other_is_bounded() -> None:
    row = asking(Catalogue(), "s0")
    for number in range(1, MOST_IN_A_ROW + 1):
        row = asking(row, f"s{number}", f"s{number - 1}")
    assert [violation.field for violation in refused(row, "more", f"s{MOST_IN_A_ROW}")] == ["definition.condition"]
    row = asking(row, "base")
    assert f"makes segment 's{MOST_IN_A_ROW}' ask" in refused(row, "s0", "base")[0].message

    many = asking(asking(Catalogue(), "one"), "ten", *["one"] * 10)
    many = asking(many, "hundred", *["ten"] * 9)
    assert [violation.field for violation in refused(many, "thousand", *["hundred"] * (MOST // 100 + 1))] == [
        "definition.condition"
    ]


# --- sequences --------------------------------------------------------------------------------------------------------


def test_when_the_first_leaves_the_window_another_is_the_first() -> None:
    steps = (d.Step("visit"), d.Step("purchase"))
    visits, purchases = d.History([0, 3], ["v1", "v2"], [{}, {}]), d.History([4], ["p1"], [{}])
    facts = d.Facts({}, {"visit": visits, "purchase": purchases})
    second_in_time = d.Sequence(steps, 2, d.Within(5), from_first=True)
    assert evaluate(second_in_time, facts, 4) == (False, 5)
    assert evaluate(second_in_time, facts, 5) == (True, 8)
    assert evaluate(second_in_time, facts, 8) == (False, None)
    any_in_time = d.Sequence(steps, 2, d.Within(5))
    assert evaluate(any_in_time, facts, 4) == (True, 8)


# --- days -------------------------------------------------------------------------------------------------------------


def on(day: str, zone: str, **days: int) -> d.DateTest:
    return d.DateTest("day", d.InDays(d.DayRange(**days)), zone)


@pytest.mark.parametrize(
    ("day", "zone", "begins"),
    [
        # The day after clocks go forward is 23 hours after the day before.
        ("2026-03-30", "Europe/Madrid", "2026-03-29T22:00:00"),
        # Midnight is skipped: it begins at one o'clock.
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00"),
        # Clocks show it at midnight, and again an hour later.
        ("2010-11-07", "America/St_Johns", "2010-11-07T02:30:00"),
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00:00"),
        # The hour around midnight is skipped.
        ("1919-03-31", "America/Toronto", "1919-03-31T04:30:00"),
        ("2026-03-30", "", "2026-03-30T00:00:00"),
    ],
)
def test_a_day_begins_when_clocks_first_show_it(day: str, zone: str, begins: str) -> None:
    begin = at(begins)
    condition = on(day, zone, at_most=0)
    facts = d.Facts({"day": day}, {})
    assert evaluate(condition, facts, begin - 1) == (False, begin)
    for later in range(0, 180 * MINUTE, MINUTE // 2):
        assert evaluate(condition, facts, begin + later) == (True, None)


def test_a_day_that_clocks_skip_is_never_today() -> None:
    facts = d.Facts({"day": "2011-12-30"}, {}, {}, "Pacific/Apia")
    today = on("2011-12-30", "", at_least=0, at_most=0)
    before, after = at("2011-12-30T09:59:00"), at("2011-12-30T10:00:00")
    assert evaluate(today, facts, before) == (False, after)
    assert evaluate(today, facts, after) == (False, None)


def test_the_29th_of_february_has_its_day_on_the_1st_of_march() -> None:
    condition = d.DateTest("born", d.AnniversaryInDays(d.DayRange(at_most=0)))
    facts = d.Facts({"born": "1996-02-29"}, {})
    assert evaluate(condition, facts, at("2027-02-28T23:00:00")) == (False, at("2027-03-01T00:00:00"))
    assert evaluate(condition, facts, at("2027-03-01T00:00:00")) == (True, at("2027-03-02T00:00:00"))
    assert evaluate(condition, facts, at("2027-03-02T00:00:00")) == (False, at("2028-02-29T00:00:00"))


def test_the_profiles_zone_comes_before_the_conditions() -> None:
    noon = at("2026-06-01T12:00:00")
    condition = on("", "Asia/Tokyo", at_least=0, at_most=0)
    for zone, today in (("", "2026-06-01"), ("No/Where", "2026-06-01"), ("Pacific/Kiritimati", "2026-06-02")):
        assert evaluate(condition, d.Facts({"day": today}, {}, {}, zone), noon).value is True


@pytest.mark.parametrize(
    "value", [5.0, True, ["2026-06-01"], "2026-6-1", "20260601", "2026-02-30", "2026-06-01T00:00:00"]
)
def test_what_is_no_date_satisfies_no_test(value: d.Value) -> None:
    assert evaluate(on("", "", at_least=-1), d.Facts({"day": value}, {}), 0) == (False, None)


# --- explanations -----------------------------------------------------------------------------------------------------


def test_an_explanation_tells_what_was_looked_at() -> None:
    now = at("2026-06-01T12:00:00")
    condition = read(
        {
            "all": {
                "conditions": [
                    ES,
                    OLD,
                    {"date": {"attribute": "renewal", "inDays": {"atMost": 30}}},
                    {"consent": {**NEWS, "standing": "CONSENT_STANDING_OPTED_IN"}},
                    of_purchases(count={"atLeast": 2}, window={"within": "3600s"}),
                    of_purchases(max={"property": "amount", "range": {"above": 5}}),
                    of_purchases(last={"age": {"below": "7200s"}}),
                    of_purchases(first={"property": {"name": "shop", "exists": True}}),
                    then(),
                ]
            }
        }
    )
    purchases = d.History(
        [now - 90 * MINUTE, now - 30 * MINUTE, now + 1], ["a", "b", "c"], [{"amount": 7.5}, {}, {"amount": 9.0}]
    )
    facts = d.Facts({"country": "FR", "renewal": "2026-06-11"}, {"purchase": purchases}, {"email/news": True})
    told = explain(condition, facts, now)
    assert (told.value, told.looked_at) == (False, "")
    assert [(one.looked_at, one.value, one.until) for one in told.children] == [
        ('"FR"', False, None),
        ("none", None, None),
        ('"2026-06-11", in 10 days in UTC', True, None),
        ("opted in", True, None),
        ("1", False, now + 1),
        ("7.5", True, None),
        ("30m ago", True, now + 120 * MINUTE + 1),
        ("none", False, None),
        ("0 visit, 2 purchase", False, None),
    ]


def test_asked_segments_are_explained_as_far_as_there_is_room() -> None:
    """A chain of them that gets too deep, and one that asks for too many."""

    spanish = read(ES)

    def shown(condition: d.Condition, conditions: dict[str, d.Condition]) -> tuple[int, int]:
        """How many conditions, on how many levels."""
        asks = {id_: compiled(spanish) for id_ in conditions}
        pending = [(explain(condition, d.Facts({}, {}), 0, asks, conditions), 1)]
        number = deepest = 0
        while pending:
            node, depth = pending.pop()
            number, deepest = number + 1, max(deepest, depth)
            pending += [(child, depth + 1) for child in node.children]
        return number, deepest

    chain: dict[str, d.Condition] = {"0": spanish}
    for number in range(1, 16):
        deep: d.Condition = d.InSegment(f"{number - 1}")
        for _ in range(9):
            deep = d.Not(deep)
        chain[f"{number}"] = deep
    assert shown(chain["15"], chain) == (60, 60)
    wide = {"big": d.All((spanish,) * 299)}
    assert shown(d.Any((d.InSegment("big"),) * 5), wide) == (1 + 5 + 3 * 300, 4)


def test_attributes_of_the_moment_hide_the_profiles_own() -> None:
    facts = d.Facts({"page": "home", "country": "ES"}, {}, {"email/news": True}, "Europe/Madrid")
    here = facts.in_context({"page": "checkout"})
    assert here == d.Facts({"page": "checkout", "country": "ES"}, {}, {"email/news": True}, "Europe/Madrid")
    assert facts.attributes["page"] == "home"
