"""The rules of sending: the strictest wins, all are asked, and quiet hours end when it isn't quiet, in every zone."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.chassis.clock import DAY, HOUR, MINUTE, SECOND
from services.orchestrator.domain.decision import (
    TRANSACTIONAL,
    QuietHours,
    SendSpec,
    Verdict,
    decide,
    quiet_until,
)
from services.orchestrator.domain.person import OPTED_IN, OPTED_OUT, Person

MARKETING = 1
UNKNOWN = 0
RULES = ["state", "endpoint", "consent", "expiry", "quiet_hours"]

# Gaps and folds at night, at midnight, of half an hour, of a quarter of an hour's offset; and none at all.
ZONES = (
    "Europe/Madrid",
    "America/New_York",
    "Africa/Cairo",
    "America/Asuncion",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Asia/Kolkata",
    "UTC",
)


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * SECOND


def near(change: str) -> st.SearchStrategy[int]:
    """Instants around a change of clocks."""
    return st.integers(-30 * 60, 30 * 60).map(lambda minutes: micros(change) + minutes * MINUTE)


instants = st.one_of(
    near("2026-03-29T01:00+00:00"),  # Madrid's gap
    near("2026-10-25T01:00+00:00"),  # its fold
    near("2026-03-08T07:00+00:00"),  # New York's gap
    near("2026-11-01T06:00+00:00"),  # its fold
    near("2026-04-23T22:00+00:00"),  # Cairo's gap, at midnight
    near("2026-10-29T21:00+00:00"),  # its fold, at midnight
    near("2026-04-04T15:00+00:00"),  # Lord Howe's fold, of half an hour
    near("2026-10-03T15:30+00:00"),  # its gap
    st.integers(micros("2020-01-01T00:00+00:00"), micros("2036-01-01T00:00+00:00")),
)
minutes = st.integers(0, 24 * 60 - 1)
windows = st.builds(QuietHours, minutes, minutes)


def is_quiet(window: QuietHours, zone: str, at: int) -> bool:
    """By the wall clock: what the rule means, said without the rule."""
    local = datetime.fromtimestamp(at // SECOND, UTC).astimezone(ZoneInfo(zone))
    minute = local.hour * 60 + local.minute
    if window.start <= window.end:
        return window.start <= minute < window.end
    return not window.end <= minute < window.start


@given(windows, st.sampled_from(ZONES), instants)
@example(QuietHours(22 * 60, 150), "Europe/Madrid", micros("2026-10-25T01:10+00:00"))  # the fold's second 02:10
@example(QuietHours(22 * 60, 150), "Europe/Madrid", micros("2026-10-25T00:10+00:00"))  # its first
@example(QuietHours(200, 150), "Europe/Madrid", micros("2026-03-29T00:10+00:00"))  # what isn't quiet is in the gap
@example(QuietHours(22 * 60, 30), "Africa/Cairo", micros("2026-04-23T21:10+00:00"))
def test_quiet_hours_hold_exactly_while_it_is_quiet(window: QuietHours, zone: str, now: int) -> None:
    until = quiet_until(window, zone, now)
    if not is_quiet(window, zone, now):
        assert until == 0
        return
    assert now < until <= now + 2 * DAY + 2 * HOUR
    assert not is_quiet(window, zone, until)


@given(windows, st.sampled_from(("UTC", "Asia/Kolkata")), instants)
def test_without_changes_of_clocks_a_hold_ends_with_the_first_minute_that_is_not_quiet(
    window: QuietHours, zone: str, now: int
) -> None:
    until = quiet_until(window, zone, now)
    if until:
        assert until % MINUTE == 0
        assert is_quiet(window, zone, until - 1)
        assert until - now <= DAY


@pytest.mark.parametrize(
    ("window", "zone", "now", "until"),
    [
        ((22 * 60, 8 * 60), "Europe/Madrid", "2026-07-01T23:30+02:00", "2026-07-02T08:00+02:00"),
        ((22 * 60, 8 * 60), "Europe/Madrid", "2026-07-02T00:30+02:00", "2026-07-02T08:00+02:00"),
        ((22 * 60, 8 * 60), "Europe/Madrid", "2026-07-02T07:59:59+02:00", "2026-07-02T08:00+02:00"),
        # Over the night of a gap and of a fold the end is by the wall clock: 9 and 11 hours later.
        ((22 * 60, 8 * 60), "Europe/Madrid", "2026-03-28T22:00+01:00", "2026-03-29T08:00+02:00"),
        ((22 * 60, 8 * 60), "Europe/Madrid", "2026-10-24T22:00+02:00", "2026-10-25T08:00+01:00"),
        # An end that doesn't exist shifts forward; of one that comes twice the first counts, the second from within it.
        ((0, 150), "Europe/Madrid", "2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00"),
        ((0, 150), "Europe/Madrid", "2026-10-25T01:30+02:00", "2026-10-25T02:30+02:00"),
        ((0, 150), "Europe/Madrid", "2026-10-25T02:10+01:00", "2026-10-25T02:30+01:00"),
    ],
)
def test_examples_of_ends(window: tuple[int, int], zone: str, now: str, until: str) -> None:
    assert quiet_until(QuietHours(*window), zone, micros(now)) == micros(until)


def test_an_empty_window_is_never_quiet() -> None:
    assert all(quiet_until(QuietHours(600, 600), "UTC", hour * HOUR) == 0 for hour in range(24))


specs = st.builds(
    SendSpec,
    channel=st.integers(1, 4),
    template_id=st.just("t"),
    template_version=st.just(1),
    topic=st.sampled_from(("news", "offers")),
    purpose=st.sampled_from((MARKETING, TRANSACTIONAL)),
    lifetime=st.integers(1, 3 * DAY),
    unknown_policy=st.just(1),
    quiet_hours=st.none() | windows,
)
people = st.none() | st.builds(
    Person,
    profile_id=st.just("p"),
    endpoints=st.dictionaries(st.integers(1, 4), st.sampled_from(("", "there"))),
    consents=st.dictionaries(
        st.tuples(st.integers(1, 4), st.sampled_from(("news", "offers"))), st.sampled_from((OPTED_IN, OPTED_OUT))
    ),
    time_zone=st.sampled_from((*ZONES, "")),
)


@given(specs, people, st.booleans(), instants, st.integers(0, 4 * DAY), st.sampled_from(ZONES))
def test_the_strictest_rule_wins_and_all_are_asked(
    spec: SendSpec, person: Person | None, paused: bool, now: int, waited: int, workspace_zone: str
) -> None:
    decision = decide(spec, person, paused=paused, due_since=now - waited, now=now, workspace_zone=workspace_zone)
    assert [rule.name for rule in decision.rules] == RULES
    assert decision.verdict is max(rule.verdict for rule in decision.rules)
    assert all(rule.input for rule in decision.rules)
    if decision.verdict is Verdict.HOLD:
        assert decision.hold_until > now
        assert decision.hold_until == max(rule.until for rule in decision.rules)
    else:
        assert decision.hold_until == 0
    if decision.verdict is Verdict.DROP:
        assert decision.dropped_by in RULES
    if decision.verdict is Verdict.SEND:
        assert person is not None
        assert decision.endpoint == person.endpoints[spec.channel] != ""
        assert waited < spec.lifetime
    assert (decision.rules[3].verdict is Verdict.DROP) == (waited >= spec.lifetime)
    if spec.purpose == TRANSACTIONAL:
        assert decision.rules[4].verdict is Verdict.SEND


@pytest.mark.parametrize(
    ("purpose", "state", "verdict"),
    [
        (MARKETING, OPTED_IN, Verdict.SEND),
        (MARKETING, UNKNOWN, Verdict.DROP),
        (MARKETING, OPTED_OUT, Verdict.DROP),
        (TRANSACTIONAL, OPTED_IN, Verdict.SEND),
        (TRANSACTIONAL, UNKNOWN, Verdict.SEND),
        (TRANSACTIONAL, OPTED_OUT, Verdict.DROP),
    ],
)
def test_what_a_consent_allows(purpose: int, state: int, verdict: Verdict) -> None:
    spec = SendSpec(1, "t", 1, "news", purpose, DAY, 1)
    elsewhere = {(2, "news"): OPTED_IN, (1, "offers"): OPTED_IN}
    person = Person("p", {1: "there"}, {}, {**elsewhere, **({(1, "news"): state} if state else {})})
    decision = decide(spec, person, paused=False, due_since=0, now=0)
    assert decision.verdict is verdict
    assert decision.dropped_by == ("consent" if verdict is Verdict.DROP else "")


def test_a_person_without_a_zone_has_the_workspaces() -> None:
    spec = SendSpec(1, "t", 1, "news", MARKETING, DAY, 1, QuietHours(0, 60))
    person = Person("p", {1: "there"}, {}, {(1, "news"): OPTED_IN})
    now = micros("2026-07-01T22:30+00:00")
    decision = decide(spec, person, paused=False, due_since=now, now=now, workspace_zone="Europe/Madrid")
    assert (decision.verdict, decision.hold_until) == (Verdict.HOLD, micros("2026-07-02T01:00+02:00"))
