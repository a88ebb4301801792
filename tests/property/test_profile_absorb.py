"""What ingested facts make of a profile: the same in any order, the same when they come again, all of an item or
nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import FailedPrecondition, InvalidArgument
from services.profile.domain import (
    MAX_ATTRIBUTES,
    MAX_CONSENTS,
    MAX_IDENTITIES,
    MAX_SKEW,
    Attribute,
    Consent,
    ConsentState,
    Facts,
    Profile,
    absorb,
    check_instant,
    owner_of,
)

NOW = 1_000
BLANK = Profile("p", 1, 1)

instants = st.integers(0, 3)
values = st.one_of(
    st.sampled_from(("", "a", "1", "1.0", "True")),
    st.sampled_from((0.0, -0.0, 1.0, float("nan"))),
    st.booleans(),
    st.integers(0, 1),
    st.sampled_from(((), ("a",), ("a", "b"))),
)
facts = st.builds(
    Facts,
    st.lists(st.tuples(st.sampled_from(("email", "user")), st.sampled_from("abc")), min_size=1, max_size=3).map(tuple),
    st.dictionaries(st.sampled_from("xyz"), st.builds(Attribute, values, instants)),
    st.dictionaries(
        st.tuples(st.integers(1, 2), st.sampled_from(("news", "offers"))),
        st.builds(Consent, st.sampled_from(tuple(ConsentState)[1:]), instants, st.sampled_from(("", "form", "shop"))),
    ),
    st.sampled_from(("", "UTC", "Europe/Madrid")),
    st.sampled_from(("", "es", "en")),
)


def absorbed(items: list[Facts], profile: Profile = BLANK) -> Profile:
    for number, item in enumerate(items):
        profile = absorb(profile, item, NOW + number)
    return profile


def shown(profile: Profile) -> tuple[object, ...]:
    """What doesn't depend on the order. By text, for which NaN is itself and 0.0 isn't -0.0."""
    return (
        {name: (repr(held.value), held.observed_at) for name, held in profile.attributes.items()},
        profile.consents,
        set(profile.identities),
    )


@given(st.lists(facts, min_size=1, max_size=5))
def test_the_same_facts_again_change_nothing(items: list[Facts]) -> None:
    once = absorbed(items)
    for item in items:
        # The zone and locale have no time of their own: the last one said holds.
        again = absorb(once, replace(item, time_zone="", locale=""), NOW + 100)
        assert again is once
    assert absorb(once, items[-1], NOW + 100) is once


@given(st.lists(facts, min_size=1, max_size=5).flatmap(lambda items: st.tuples(st.just(items), st.permutations(items))))
def test_any_order_ends_in_the_same_attributes_and_consents(orders: tuple[list[Facts], list[Facts]]) -> None:
    one, other = orders
    assert shown(absorbed(one)) == shown(absorbed(other))


@given(st.lists(facts, min_size=1, max_size=5))
def test_a_change_is_a_new_revision_and_nothing_else_is(items: list[Facts]) -> None:
    profile = BLANK
    for number, item in enumerate(items):
        after = absorb(profile, item, NOW + number)
        if after is profile:
            continue
        assert after.revision == profile.revision + 1
        assert after.updated_at == NOW + number
        assert after.created_at == BLANK.created_at
        profile = after
    assert profile.revision >= 1


@given(st.lists(facts, min_size=1, max_size=5))
def test_the_newest_wins_and_of_two_consents_at_once_the_stricter(items: list[Facts]) -> None:
    profile = absorbed(items)
    for name, held in profile.attributes.items():
        assert held.observed_at == max(item.attributes[name].observed_at for item in items if name in item.attributes)
    for key, consent in profile.consents.items():
        said = [item.consents[key] for item in items if key in item.consents]
        newest = [one for one in said if one.changed_at == max(each.changed_at for each in said)]
        assert consent.state == max(one.state for one in newest)


@pytest.mark.parametrize(
    ("what", "fits", "exceeds"),
    [
        (
            "identities",
            Facts(tuple(("user", str(n)) for n in range(MAX_IDENTITIES))),
            Facts((("user", "0"), ("user", "one more"))),
        ),
        (
            "attributes",
            Facts((("user", "0"),), {str(n): Attribute(1.0, 1) for n in range(MAX_ATTRIBUTES)}),
            Facts((("user", "0"),), {"0": Attribute(2.0, 2), "one more": Attribute(1.0, 1)}),
        ),
        (
            "consents",
            Facts((("user", "0"),), {}, {(1, str(n)): Consent(ConsentState.OPTED_IN, 1) for n in range(MAX_CONSENTS)}),
            Facts(
                (("user", "0"),),
                {"a": Attribute(1.0, 1)},
                {(1, "one more"): Consent(ConsentState.OPTED_IN, 1)},
            ),
        ),
    ],
)
def test_beyond_a_limit_nothing_of_an_item_is_taken(what: str, fits: Facts, exceeds: Facts) -> None:
    full = absorb(BLANK, fits, NOW)
    with pytest.raises(FailedPrecondition, match=what) as raised:
        absorb(full, exceeds, NOW)
    assert raised.value.reason == "PROFILE_LIMIT"
    assert absorb(full, fits, NOW) is full


def test_identities_of_different_profiles_are_a_conflict() -> None:
    assert owner_of(set()) == ""
    assert owner_of({"a"}) == "a"
    with pytest.raises(FailedPrecondition) as raised:
        owner_of({"a", "b"})
    assert raised.value.reason == "IDENTITY_CONFLICT"


def test_an_instant_may_be_a_little_ahead_as_clocks_are() -> None:
    check_instant(NOW + MAX_SKEW, NOW, "at")
    with pytest.raises(InvalidArgument, match="at"):
        check_instant(NOW + MAX_SKEW + 1, NOW, "at")
