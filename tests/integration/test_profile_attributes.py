"""What is known of a person: what was observed last holds, in whatever order it's told."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from camino.profile.v1 import profile_service_pb2 as pb
from camino.profile.v1.profile_pb2 import Attribute
from camino.type.v1.value_pb2 import StringList, Value
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.clock import SECOND
from tests.served_people import FAILED, ServedPeople, person, seconds, texts

ANA = "user_id:ana"
SOURCES = [{"name": "crm", "priority": 90}, {"name": "web", "priority": 10}]


def attributes(*identities: str, ago: int | None = None, source: str = "", **told: Attribute) -> pb.ProfileInput:
    item = person(*identities, ago=ago, source=source)
    for name, attribute in told.items():
        item.attributes[name].CopyFrom(attribute)
    return item


def text(value: str, **more: Any) -> Attribute:
    return Attribute(value=Value(string_value=value), **more)


UNSET = Attribute(unset=True)


async def known(people: ServedPeople) -> dict[str, str]:
    return texts(await people.who(ANA))


async def test_what_was_observed_last_holds_in_any_order(people: ServedPeople) -> None:
    for number, order in enumerate(permutations((300, 200, 100))):
        for ago in order:
            await people.tell(person(f"card:{number}", ago=ago, city=f"{ago} s ago"))
        profile = await people.who(f"card:{number}")
        assert texts(profile) == {"city": "100 s ago"}, order
        assert profile.attributes["city"].observed_at == seconds(100)


async def test_a_late_fact_is_taken_and_changes_nothing_that_shows(people: ServedPeople) -> None:
    await people.tell(person(ANA, ago=100, city="Madrid"))
    before = await people.who(ANA)
    people.clock.advance(SECOND)
    await people.tell(person(ANA, ago=5000, city="Lugo"))
    assert await people.who(ANA) == before
    await people.tell(person(ANA, ago=5000, street="Mayor"))
    assert await known(people) == {"city": "Madrid", "street": "Mayor"}
    assert (await people.who(ANA)).revision == before.revision + 1


async def test_an_attributes_own_instant_and_source_go_before_the_inputs(people: ServedPeople) -> None:
    await people.tell(
        attributes(
            ANA, ago=100, source="web", city=text("Madrid", observed_at=seconds(300), source="crm"), name=text("Ana")
        )
    )
    held = (await people.who(ANA)).attributes
    assert (held["city"].observed_at, held["city"].source) == (seconds(300), "crm")
    assert (held["name"].observed_at, held["name"].source) == (seconds(100), "web")
    await people.tell(person(ANA, ago=200, city="Lugo", name="Bo"))
    assert await known(people) == {"city": "Lugo", "name": "Ana"}


async def test_what_is_left_out_is_now(people: ServedPeople) -> None:
    people.clock.advance(7 * SECOND)
    await people.tell(person(ANA, city="Madrid"))
    assert (await people.who(ANA)).attributes["city"].observed_at == seconds(-7)


async def test_what_was_unset_is_not_shown_and_earlier_facts_do_not_bring_it_back(people: ServedPeople) -> None:
    await people.tell(person(ANA, ago=100, city="Madrid", name="Ana"))
    await people.tell(attributes(ANA, ago=50, city=UNSET))
    after = await people.who(ANA)
    assert texts(after) == {"name": "Ana"}
    await people.tell(person(ANA, ago=70, city="Lugo"))
    assert await people.who(ANA) == after
    await people.tell(person(ANA, ago=20, city="Vigo"))
    assert await known(people) == {"city": "Vigo", "name": "Ana"}


async def test_what_was_unset_before_it_was_ever_told_counts(people: ServedPeople) -> None:
    await people.tell(attributes(ANA, ago=50, city=UNSET))
    await people.tell(person(ANA, ago=70, city="Lugo"))
    assert await known(people) == {}


async def test_what_was_unset_of_one_is_unset_of_both_when_they_are_one_person(people: ServedPeople) -> None:
    await people.tell(person("card:1", ago=100, city="Madrid", name="Ana"))
    await people.tell(attributes(ANA, ago=50, city=UNSET))
    await people.tell(person("card:1", ANA))
    assert await known(people) == {"name": "Ana"}


@pytest.mark.parametrize("reverse", [False, True])
async def test_at_the_same_instant_the_source_with_the_higher_priority_holds(
    people: ServedPeople, reverse: bool
) -> None:
    await people.declare(sources=SOURCES)
    items = [person(ANA, ago=100, source=source, city=source or "nobody") for source in ("", "web", "crm", "unknown")]
    items.append(person(ANA, ago=101, source="crm", name="older"))
    items.append(person(ANA, ago=100, source="web", name="newer"))
    for item in reversed(items) if reverse else items:
        await people.tell(item)
    assert await known(people) == {"city": "crm", "name": "newer"}
    assert (await people.who(ANA)).attributes["city"].source == "crm"


async def test_of_equals_always_the_same_holds(people: ServedPeople) -> None:
    items = [
        attributes(ANA, ago=100, it=Attribute(value=value))
        for value in (
            Value(string_value="1"),
            Value(double_value=1),
            Value(bool_value=True),
            Value(timestamp_value=Timestamp(nanos=1000)),
            Value(string_list_value=StringList(values=["1"])),
            Value(string_list_value=StringList(values=["2"])),
        )
    ]
    items.append(attributes(ANA, ago=100, it=UNSET))
    held = []
    for number, order in enumerate((items, items[::-1], items[3:] + items[:3])):
        one = [pb.ProfileInput.FromString(item.SerializeToString()) for item in order]
        for item in one:
            item.identities[0].value = str(number)
            await people.tell(item)
        held.append((await people.who(f"user_id:{number}")).attributes["it"])
    assert held[0] == held[1] == held[2]


VALUES = {
    "text": Value(string_value="Größe 🙂"),
    "empty_text": Value(string_value=""),
    "number": Value(double_value=-1.5e300),
    "zero": Value(double_value=0),
    "no": Value(bool_value=False),
    "yes": Value(bool_value=True),
    "instant": Value(timestamp_value=Timestamp(seconds=-62135596800)),
    "last_instant": Value(timestamp_value=Timestamp(seconds=253402300799, nanos=999999000)),
    "epoch": Value(timestamp_value=Timestamp()),
    "list": Value(string_list_value=StringList(values=["b", "", "a", "b"])),
    "empty_list": Value(string_list_value=StringList()),
}


async def test_values_come_back_as_they_were(people: ServedPeople) -> None:
    await people.tell(attributes(ANA, **{name: Attribute(value=value) for name, value in VALUES.items()}))
    held = (await people.who(ANA)).attributes
    assert {name: attribute.value for name, attribute in held.items()} == VALUES
    event = pb.EventInput(event_id="e1", type="visit", identity={"namespace": "user_id", "value": "ana"})
    for name, value in VALUES.items():
        event.properties[name].CopyFrom(value)
    await people.events(event)
    listing = pb.ListEventsRequest(workspace_id="shop", profile_id=(await people.who(ANA)).profile_id)
    [listed] = (await people.stub.ListEvents(listing)).events
    assert dict(listed.properties) == VALUES


async def test_minus_zero_is_another_number_than_zero(people: ServedPeople) -> None:
    await people.tell(attributes(ANA, ago=20, n=Attribute(value=Value(double_value=0.0))))
    await people.tell(attributes(ANA, ago=10, n=Attribute(value=Value(double_value=-0.0))))
    held = (await people.who(ANA)).attributes["n"]
    assert str(held.value.double_value) == "-0.0"
    assert held.observed_at == seconds(10)


async def test_instants_are_kept_to_the_microsecond(people: ServedPeople) -> None:
    await people.tell(
        attributes(
            ANA, at=Attribute(value=Value(timestamp_value=Timestamp(seconds=7, nanos=123_456_789)), source="a" * 63)
        )
    )
    held = (await people.who(ANA)).attributes["at"]
    assert held.value.timestamp_value == Timestamp(seconds=7, nanos=123_456_000)
    assert held.source == "a" * 63


async def test_names_are_flat_whatever_is_in_them(people: ServedPeople) -> None:
    told = [
        "address",
        "address.city",
        "address.",
        ".",
        "..",
        "$set",
        "a$b",
        "a b",
        "Größe",
        "a/b",
        "a[0]",
        '"',
        "x" * 256,
    ]
    await people.tell(attributes(ANA, ago=10, **{name: text(name) for name in told}))
    assert await known(people) == {name: name for name in told}
    await people.tell(attributes(ANA, ago=5, **{"address.city": UNSET, "$set": text("new")}))
    left = {name: name for name in told if name != "address.city"}
    assert await known(people) == {**left, "$set": "new"}


async def test_of_time_zones_and_locales_the_one_observed_last_holds(people: ServedPeople) -> None:
    def told(ago: int, zone: str, locale: str, source: str = "", identity: str = ANA) -> pb.ProfileInput:
        item = person(identity, ago=ago, source=source)
        item.time_zone, item.locale = zone, locale
        return item

    await people.declare(sources=SOURCES)
    await people.tell(told(100, "Europe/Madrid", ""), told(200, "UTC", "es_ES"), told(300, "Asia/Tokyo", "ja"))
    profile = await people.who(ANA)
    assert (profile.time_zone, profile.locale) == ("Europe/Madrid", "es-ES")
    await people.tell(told(100, "Europe/Lisbon", "", "crm"), told(100, "Europe/Berlin", "", "web"))
    assert (await people.who(ANA)).time_zone == "Europe/Lisbon"
    # Told of another, who turns out to be the same person.
    await people.tell(told(50, "", "pt-PT", identity="card:1"), told(150, "UTC", "", identity="card:1"))
    await people.tell(person(ANA, "card:1"))
    profile = await people.who(ANA)
    assert (profile.time_zone, profile.locale) == ("Europe/Lisbon", "pt-PT")


async def test_of_two_people_who_are_one_the_newest_of_each_attribute_holds(people: ServedPeople) -> None:
    await people.tell(person(ANA, ago=100, city="Madrid", name="Ana"))
    await people.tell(person(ANA, ago=300, tier="gold"))
    await people.tell(person("card:1", ago=200, city="Lugo", name="Anna", tier="silver", phone="yes"))
    await people.tell(person(ANA, "card:1"))
    assert await known(people) == {"city": "Madrid", "name": "Ana", "tier": "silver", "phone": "yes"}


@pytest.mark.parametrize("unset", [False, True], ids=["set", "unset"])
async def test_a_person_has_five_hundred_attributes(people: ServedPeople, unset: bool) -> None:
    def numbered(numbers: range, ago: int) -> pb.ProfileInput:
        return attributes(ANA, ago=ago, **{f"n{number}": UNSET if unset else text("x") for number in numbers})

    await people.tell(numbered(range(300), 100), numbered(range(200, 500), 90))
    before = await people.who(ANA)
    too_many = numbered(range(500, 501), 80)
    too_many.time_zone = "UTC"
    [refused] = await people.profiles(too_many)
    assert (refused.outcome, refused.error.reason) == (FAILED, pb.ItemError(reason="REASON_PROFILE_LIMIT").reason)
    assert await people.who(ANA) == before
    await people.tell(numbered(range(500), 70))
    # The others can be had besides.
    await people.tell(attributes(ANA, other=text("x") if unset else UNSET))
    assert len(before.attributes) == (0 if unset else 500)
