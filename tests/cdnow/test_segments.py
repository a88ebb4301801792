"""The segments of `examples/cdnow`, on the real cohort, are what an independent query engine says that they are: person
by person, at dates that lie on the very edges, and at the instants at which people enter and leave.

Held to it are the evaluator over whole histories (batch), the life of everyone through `ProfileState` and of some
through a store with its timers (streaming), and `CheckMembership` at those instants (edge).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from itertools import groupby
from pathlib import Path

import pytest

from services.chassis.clock import DAY, Instant
from services.chassis.wire import instant
from services.segment.app import SegmentConfig
from services.segment.rules import Rules
from services.segment.standing import Cause
from tests.cdnow import rules as published_rules
from tests.cdnow.cohort import EVERY, FILE, Customer, load, midnight
from tests.cdnow.oracle import SEGMENTS, Oracle
from tests.cdnow.replay import Lived, Service, live
from tests.segments import PARTITIONS, opened

THEN = midnight(date(1997, 3, 15)) + 180 * DAY
"""When purchases of a day leave the last 180 days."""
IN_WINTER = midnight(date(1997, 9, 1)) + 90 * DAY
"""The same of 90 days, with an hour in between that clocks showed twice: at 11 pm."""
DATES = (
    midnight(date(1997, 2, 14)),  # When half of them were still to come.
    midnight(date(1997, 4, 1)),
    THEN - 1,
    THEN,
    IN_WINTER - 1,
    IN_WINTER,
    midnight(date(1997, 12, 25)),
    midnight(date(1998, 1, 1)) - 1,
    midnight(date(1998, 2, 14)),
    midnight(date(1998, 7, 1)),  # The day after the last purchase.
    midnight(date(2001, 6, 1)),
)

Members = Mapping[tuple[str, Instant], set[str]]
"""Who is in a segment at a date."""
Flip = tuple[str, Instant, bool]
"""Who entered (true) or left (false), and when."""


@pytest.fixture(scope="module")
def cohort() -> list[Customer]:
    return load()


@pytest.fixture(scope="module")
def rules() -> Rules:
    return published_rules.published()


@pytest.fixture(scope="module")
def members() -> Members:
    return Oracle(FILE).members(DATES)


@pytest.fixture(scope="module")
def flips() -> Mapping[str, set[Flip]]:
    return Oracle(FILE).flips(DATES[-1])


@pytest.fixture(scope="module")
def lives(cohort: list[Customer], rules: Rules) -> dict[str, Lived]:
    return {customer.customer_id: live(customer, rules, DATES) for customer in cohort}


def difference(found: Members, expected: Members, among: Iterable[str]) -> dict[tuple[str, Instant], set[str]]:
    """Of whom it's said otherwise, by segment and date; empty if all is as it should be."""
    asked = set(among)
    assert found.keys() == expected.keys()
    return {key: wrong for key in expected if (wrong := (found[key] ^ expected[key]) & asked)}


def with_segment(found: Mapping[tuple[Instant, str], set[str]]) -> dict[tuple[str, Instant], set[str]]:
    """From the segments of each person to the people of each segment."""
    turned: dict[tuple[str, Instant], set[str]] = {(segment, at): set() for segment in SEGMENTS for at in DATES}
    for (at, customer_id), segments in found.items():
        for segment in segments:
            turned[segment, at].add(customer_id)
    return turned


# --- what is compared with --------------------------------------------------------------------------------------------


def test_there_is_sql_for_each_segment(rules: Rules) -> None:
    assert sorted(SEGMENTS) == sorted(rules.by_id)
    assert len(SEGMENTS) >= 24


def test_the_dates_and_segments_tell_people_apart(cohort: list[Customer], members: Members) -> None:
    for segment in SEGMENTS:
        sizes = [len(members[segment, at]) for at in DATES]
        assert max(sizes) > 0, segment
        assert min(sizes) < len(cohort), segment
    for before, after in ((THEN - 1, THEN), (IN_WINTER - 1, IN_WINTER)):
        changed = {segment for segment in SEGMENTS if members[segment, before] != members[segment, after]}
        assert changed, "nobody's window ends then"


# --- batch ------------------------------------------------------------------------------------------------------------


def test_batch_says_of_whole_histories_what_sql_says(cohort: list[Customer], rules: Rules, members: Members) -> None:
    found: dict[tuple[str, Instant], set[str]] = {(segment, at): set() for segment in SEGMENTS for at in DATES}
    for customer in cohort:
        for at in DATES:
            if customer.purchases[0].at > at:
                continue  # Nobody is in a segment before anything is known of them.
            facts = customer.facts(at)
            for segment in rules.by_id.values():
                if segment.ask(facts, at)[0]:
                    found[segment.segment_id, at].add(customer.customer_id)
    assert difference(found, members, (customer.customer_id for customer in cohort)) == {}


# --- streaming --------------------------------------------------------------------------------------------------------


def test_streaming_leaves_everyone_where_sql_says(lives: dict[str, Lived], members: Members) -> None:
    found = {(at, id_): segments for id_, lived in lives.items() for at, segments in lived.members.items()}
    assert difference(with_segment(found), members, lives) == {}


def test_everyone_enters_and_leaves_at_the_instants_that_sql_says(
    lives: dict[str, Lived], flips: Mapping[str, set[Flip]]
) -> None:
    found: dict[str, list[tuple[str, Instant, bool]]] = {segment: [] for segment in SEGMENTS}
    for customer_id, lived in lives.items():
        assert [transition.sequence for transition in lived.transitions] == list(range(1, len(lived.transitions) + 1))
        for transition in lived.transitions:
            found[transition.segment_id].append((customer_id, transition.effective_at, transition.member))
    assert {segment: wrong for segment in SEGMENTS if (wrong := lasting(found[segment]) ^ flips[segment])} == {}


def test_timers_that_change_nothing_are_rare(lives: dict[str, Lived]) -> None:
    """An instant may come too early, but then time is polled for."""
    timers = sum(lived.timers for lived in lives.values())
    changes = {
        (id_, transition.effective_at)
        for id_, lived in lives.items()
        for transition in lived.transitions
        if transition.cause == Cause.TIME
    }
    assert timers - len(changes) < 0.01 * timers


def lasting(transitions: Iterable[Flip]) -> set[Flip]:
    """Those that lasted. Of purchases at one instant each is evaluated by itself, and a window may end at that instant
    too: so a person may leave and come back, or look in, in no time."""
    found: set[Flip] = set()
    by_person: dict[str, list[tuple[Instant, bool]]] = {}
    for customer_id, at, member in transitions:
        by_person.setdefault(customer_id, []).append((at, member))
    for customer_id, changes in by_person.items():
        was = False
        for at, together in groupby(changes, lambda change: change[0]):
            steps = [member for _, member in together]
            assert steps == [(not was) ^ (index % 2 == 1) for index in range(len(steps))], "they alternate"
            if steps[-1] is not was:
                was = steps[-1]
                found.add((customer_id, at, was))
    return found


# --- through the store, and at the edge -------------------------------------------------------------------------------


async def test_the_service_says_the_same_and_so_does_a_check_in_a_request(
    tmp_path: Path, cohort: list[Customer], members: Members, flips: Mapping[str, set[Flip]]
) -> None:
    some = cohort[::EVERY]
    ids = {customer.customer_id for customer in some}
    listed: dict[tuple[str, Instant], set[str]] = {}
    checked: dict[tuple[Instant, str], set[str]] = {}
    config = SegmentConfig(data_dir=tmp_path, partitions=PARTITIONS, mongodb_uri="")
    async with opened(config) as store:
        service = Service(store, midnight(date(1996, 12, 31)))

        async def look(at: Instant) -> None:
            for segment in SEGMENTS:
                listed[segment, at] = await service.listed(segment)
            for customer_id, segments in (await service.checked(ids, SEGMENTS)).items():
                checked[at, customer_id] = segments

        await service.publish()
        await service.live(some, DATES, look)
    assert difference(listed, members, ids) == {}
    assert difference(with_segment(checked), members, ids) == {}

    told: dict[str, list[Flip]] = {segment: [] for segment in SEGMENTS}
    for change in service.published.kept:
        told[change.segment_id].append((change.profile_id, instant(change.effective_at), change.member))
    for segment in SEGMENTS:
        assert lasting(told[segment]) == {flip for flip in flips[segment] if flip[0] in ids}, segment
