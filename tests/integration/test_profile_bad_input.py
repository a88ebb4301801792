"""What can't be taken is refused by name, whoever sends it and however; what came with it is taken."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_service_pb2 as pb
from camino.profile.v1.profile_pb2 import CONSENT_STATE_OPTED_IN, Attribute, Consent
from camino.type.v1.messaging_pb2 import CHANNEL_EMAIL
from camino.type.v1.value_pb2 import StringList, Value
from google.protobuf.timestamp_pb2 import Timestamp

from tests.served_people import FAILED, OK, ServedPeople, event, identity, names, person, refusal, seconds

INVALID_FIELD = reason_pb2.REASON_INVALID_FIELD
ANA = "user_id:ana"

Refusals = dict[str, tuple[int, str]]
"""The reason and the field, by what was refused."""


async def refusals(people: ServedPeople, poison: dict[str, pb.ProfileInput]) -> Refusals:
    """How items are refused that come with others. Nothing is left of them, and the others are taken."""
    items = [item for bad in poison.values() for item in (bad, person("card:good"))]
    results = await people.profiles(person("card:good"), *items)
    assert [result.outcome for result in results[::2]] == [OK] * (len(poison) + 1)
    assert [names(profile.identities) for profile in await people.everybody()] == [["card:good"]]
    return _refusals(poison, results)


async def refused_events(people: ServedPeople, poison: dict[str, pb.EventInput]) -> Refusals:
    """How events are refused that come with others. Nothing is left of them, and the others are taken."""
    good = [event(f"good {number}", "card:good") for number in range(len(poison) + 1)]
    items = [item for bad, after in zip(poison.values(), good[1:], strict=True) for item in (bad, after)]
    results = await people.events(good[0], *items)
    assert [result.outcome for result in results[::2]] == [OK] * len(good)
    [profile] = await people.everybody()
    assert set(await people.event_ids(profile.profile_id)) == {item.event_id for item in good}
    return _refusals(poison, results)


def _refusals(poison: dict[str, Any], results: list[pb.ItemResult]) -> Refusals:
    refused = dict(zip(poison, results[1::2], strict=True))
    assert all(result.outcome == FAILED and result.error.message for result in refused.values()), refused
    return {what: (result.error.reason, result.error.field) for what, result in refused.items()}


def invalid(fields: dict[str, str]) -> Refusals:
    return {what: (INVALID_FIELD, field) for what, field in fields.items()}


async def invalid_fields(call: Awaitable[object]) -> list[str]:
    """The fields that a call is refused for."""
    error = await refusal(call)
    assert error.reason_name == "INVALID_FIELD"
    return [violation.field for violation in error.violations]


def with_attribute(name: str = "x", **state: Any) -> pb.ProfileInput:
    item = person(ANA)
    item.attributes[name].CopyFrom(Attribute(**state))
    return item


def with_property(name: str = "x", **value: Any) -> pb.EventInput:
    item = event("poison", ANA)
    item.properties[name].CopyFrom(Value(**value))
    return item


# --- instants ---------------------------------------------------------------------------------------------------------

YEAR_1 = Timestamp(seconds=-62_135_596_800)
OUT_OF_RANGE = {
    "a microsecond too far ahead": Timestamp(seconds=seconds(-900).seconds, nanos=1000),
    "a year ahead": seconds(-365 * 86400),
    "as far ahead as can be": Timestamp(seconds=2**63 - 1, nanos=999_999_999),
    "a microsecond before the year 1": Timestamp(seconds=YEAR_1.seconds - 1, nanos=999_999_000),
    "as far back as can be": Timestamp(seconds=-(2**63)),
    "before the year 1 by negative nanos": Timestamp(seconds=YEAR_1.seconds, nanos=-1000),
}
AT_THE_EDGE = {"15 minutes ahead": seconds(-900), "the beginning of the year 1": YEAR_1}


def observed(at: Timestamp) -> pb.ProfileInput:
    return pb.ProfileInput(identities=[identity(ANA)], observed_at=at)


def attribute_observed(at: Timestamp) -> pb.ProfileInput:
    return with_attribute(unset=True, observed_at=at)


def consent_changed(at: Timestamp) -> pb.ProfileInput:
    return pb.ProfileInput(identities=[identity(ANA)], consents=[consent(at)])


def consent(at: Timestamp) -> Consent:
    return Consent(channel=CHANNEL_EMAIL, topic="news", state=CONSENT_STATE_OPTED_IN, changed_at=at)


async def test_items_of_instants_that_no_fact_can_have_are_refused(people: ServedPeople) -> None:
    makers = {
        "observed_at": observed,
        'attributes["x"].observed_at': attribute_observed,
        "consents[0].changed_at": consent_changed,
    }
    fields = {f"{what}: {field}": field for what in OUT_OF_RANGE for field in makers}
    items = {f"{what}: {field}": make(at) for what, at in OUT_OF_RANGE.items() for field, make in makers.items()}
    assert await refusals(people, items) == invalid(fields)


async def test_events_of_instants_that_no_fact_can_have_are_refused(people: ServedPeople) -> None:
    items = {
        what: pb.EventInput(event_id=what, type="visit", identity=identity(ANA), occurred_at=at)
        for what, at in OUT_OF_RANGE.items()
    }
    assert await refused_events(people, items) == invalid(dict.fromkeys(OUT_OF_RANGE, "occurred_at"))


async def test_calls_of_instants_that_no_fact_can_have_are_refused(people: ServedPeople) -> None:
    profile_id = await people.tell(person("card:1", "card:2"))
    before = await people.everybody()
    stub, shop = people.stub, "shop"
    two, one = [identity("card:1"), identity(ANA)], identity("card:2")
    for at in OUT_OF_RANGE.values():
        link = pb.LinkIdentitiesRequest(workspace_id=shop, identities=two, observed_at=at)
        unlink = pb.UnlinkIdentityRequest(workspace_id=shop, profile_id=profile_id, identity=one, observed_at=at)
        assert await invalid_fields(stub.LinkIdentities(link)) == ["observed_at"]
        assert await invalid_fields(stub.UnlinkIdentity(unlink)) == ["observed_at"]
        for subject in ({"identity": one}, {"profile_id": profile_id}):
            assert await invalid_fields(people.record(consent(at), **subject)) == ["consents[0].changed_at"]
    assert await people.everybody() == before


@pytest.mark.parametrize("at", AT_THE_EDGE.values(), ids=AT_THE_EDGE)
async def test_instants_at_the_edge_are_taken_as_they_are(people: ServedPeople, at: Timestamp) -> None:
    await people.tell(observed(at), consent_changed(at), with_attribute(value=Value(bool_value=True), observed_at=at))
    [result] = await people.events(pb.EventInput(event_id="e", type="visit", identity=identity(ANA), occurred_at=at))
    profile = await people.who(ANA)
    assert profile.attributes["x"].observed_at == at
    assert profile.consents == [consent(at)]
    [entry] = (await people.timeline(result.profile_id, kinds=[pb.TIMELINE_KIND_EVENT])).entries
    assert entry.at == at


# --- values -----------------------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "not a number": ({"double_value": NAN}, "double_value"),
    "infinity": ({"double_value": INF}, "double_value"),
    "minus infinity": ({"double_value": -INF}, "double_value"),
    "text of more than 4 KiB": ({"string_value": "ß" * 2049}, "string_value"),
    "a list of more than 100": ({"string_list_value": StringList(values=["x"] * 101)}, "string_list_value.values"),
    "a list with a long text": (
        {"string_list_value": StringList(values=["x", "x" * 1025])},
        "string_list_value.values[1]",
    ),
    "nothing": ({}, "kind"),
}


async def test_values_that_break_a_rule_are_refused_with_their_field(people: ServedPeople) -> None:
    items = {what: with_attribute(value=Value(**told)) for what, (told, _) in VALUES.items()}
    fields = {what: f'attributes["x"].value.{field}' for what, (_, field) in VALUES.items()}
    assert await refusals(people, items) == invalid(fields)
    events = {what: with_property(**told) for what, (told, _) in VALUES.items()}
    fields = {what: f'properties["x"].{field}' for what, (_, field) in VALUES.items()}
    assert await refused_events(people, events) == invalid(fields)


async def test_values_that_are_no_instants_of_our_calendar_are_refused(people: ServedPeople) -> None:
    instants = {str(at): Timestamp(seconds=at) for at in (YEAR_1.seconds - 1, 253_402_300_800, 2**63 - 1, -(2**63))}
    items = {what: with_attribute(value=Value(timestamp_value=at)) for what, at in instants.items()}
    assert await refusals(people, items) == invalid(dict.fromkeys(instants, 'attributes["x"]'))
    events = {what: with_property(timestamp_value=at) for what, at in instants.items()}
    assert await refused_events(people, events) == invalid(dict.fromkeys(instants, "properties"))


async def test_the_longest_values_are_taken(people: ServedPeople) -> None:
    item = person(f"card:{'ß' * 256}", source="s" * 63)
    item.attributes["ß" * 128].value.string_value = "ß" * 2048
    item.attributes["list"].value.string_list_value.values.extend(["x" * 1024] * 100)
    item.consents.append(
        Consent(
            channel=CHANNEL_EMAIL,
            topic="t" * 63,
            state=CONSENT_STATE_OPTED_IN,
            source="s" * 256,
            proof="ß" * 2048,
            changed_at=seconds(0),
        )
    )
    await people.tell(item)
    profile = await people.who(f"card:{'ß' * 256}")
    assert set(profile.attributes) == {"ß" * 128, "list"}
    [entry] = (await people.timeline(profile.profile_id)).entries
    assert entry.consent == item.consents[0]


LONG, EMPTY, NUL = "x" * 5000, "", "a\0b"
ITEMS: dict[str, tuple[pb.ProfileInput, str]] = {
    "no identity": (pb.ProfileInput(time_zone="UTC"), "identities"),
    "an identity of nothing": (person(ANA, "card:"), "identities[1].value"),
    "a long identity": (person(f"card:{'ß' * 257}"), "identities[0].value"),
    "an identity with U+0000": (person(f"card:{NUL}"), "identities[0].value"),
    "no namespace": (person(ANA, ":1"), "identities[1].namespace"),
    "a namespace with a line break": (person("card\n:1"), "identities[0].namespace"),
    "a namespace in capitals": (person("Card:1"), "identities[0].namespace"),
    "a long namespace": (person(f"{'c' * 33}:1"), "identities[0].namespace"),
    "51 identities": (person(*(f"card:{number}" for number in range(51))), "identities"),
    "no such zone": (pb.ProfileInput(identities=[identity(ANA)], time_zone="Mars/Olympus"), "time_zone"),
    "a zone that is a path": (pb.ProfileInput(identities=[identity(ANA)], time_zone="../UTC"), "time_zone"),
    "a long zone": (pb.ProfileInput(identities=[identity(ANA)], time_zone=LONG), "time_zone"),
    "no such locale": (pb.ProfileInput(identities=[identity(ANA)], locale="Spanish (Spain)"), "locale"),
    "a locale with a line break": (pb.ProfileInput(identities=[identity(ANA)], locale="es-ES\n"), "locale"),
    "a long locale": (pb.ProfileInput(identities=[identity(ANA)], locale="es" + "-abcdefgh" * 4), "locale"),
    "a source with a line break": (person(ANA, source="crm\n"), "source"),
    "an attribute of no name": (with_attribute(EMPTY, unset=True), 'attributes[""]'),
    "an attribute with U+0000": (with_attribute(NUL, unset=True), 'attributes["a\\x00b"]'),
    "a long name of an attribute": (with_attribute(LONG, unset=True), f'attributes["{LONG}"]'),
    "an attribute that says nothing": (with_attribute(source="crm"), 'attributes["x"].state'),
    "an attribute that is unset by no": (with_attribute(unset=False), 'attributes["x"].unset'),
    "an attribute of a bad source": (with_attribute(unset=True, source="CRM"), 'attributes["x"].source'),
    "501 attributes": (person(ANA, **{f"a{number}": "x" for number in range(501)}), "attributes"),
    "201 consents": (
        pb.ProfileInput(identities=[identity(ANA)], consents=[consent(seconds(0))] * 201),
        "consents",
    ),
}


async def test_items_that_break_a_rule_are_refused_with_their_field(people: ServedPeople) -> None:
    found = await refusals(people, {what: item for what, (item, _) in ITEMS.items()})
    assert found == invalid({what: field for what, (_, field) in ITEMS.items()})


def with_properties(count: int) -> pb.EventInput:
    item = event("poison", ANA)
    for number in range(count):
        item.properties[str(number)].bool_value = True
    return item


EVENTS: dict[str, tuple[pb.EventInput, str]] = {
    "no id": (event(EMPTY), "event_id"),
    "an id with U+0000": (event(NUL), "event_id"),
    "a long id": (event("x" * 129), "event_id"),
    "no type": (event("poison", type_=EMPTY), "type"),
    "a type with a line break": (event("poison", type_="visit\n"), "type"),
    "a long type": (event("poison", type_="v" * 129), "type"),
    "a type of ours": (event("poison", type_="camino.message.sent"), "type"),
    "nobody": (pb.EventInput(event_id="poison", type="visit"), "subject"),
    "an id of nothing": (pb.EventInput(event_id="poison", type="visit", profile_id=EMPTY), "profile_id"),
    "an identity of nothing": (event("poison", "card:"), "identity.value"),
    "a bad email": (event("poison", "email:nobody"), "identity.value"),
    "a bad phone": (event("poison", "phone:12"), "identity.value"),
    "a property of no name": (with_property(EMPTY, bool_value=True), 'properties[""]'),
    "201 properties": (with_properties(201), "properties"),
    "a long name of a property": (with_property("x" * 257, bool_value=True), f'properties["{"x" * 257}"]'),
}


async def test_events_that_break_a_rule_are_refused_with_their_field(people: ServedPeople) -> None:
    found = await refused_events(people, {what: item for what, (item, _) in EVENTS.items()})
    assert found == invalid({what: field for what, (_, field) in EVENTS.items()})


EMAILS = [
    "nobody",
    "@example.com",
    "ana@",
    "ana@example",
    "ana@example..com",
    "ana@example.com.",
    "ana@b@example.com",
    "ana b@example.com",
    "ana@exa mple.com",
    "ana@example.com, bo@example.com",
    "Ana <ana@example.com>",
    '"ana\r\nBcc: bo"@example.com',
    "a\x01na@example.com",
    "ana@exam\x7fple.com",
    f"{'a' * 250}@example.com",
]
PHONES = ["abc", "911234567", "+", "+34", "+0000000", "+34 911", f"+{'9' * 40}", "+34911x234"]
MALFORMED = [*(f"email:{email}" for email in EMAILS), *(f"phone:{phone}" for phone in PHONES)]


async def test_emails_and_phones_that_are_none_are_refused_wherever_they_are(people: ServedPeople) -> None:
    items = {named: person(ANA, named) for named in MALFORMED}
    assert await refusals(people, items) == invalid(dict.fromkeys(MALFORMED, "identities[1].value"))
    events = {named: event("poison", named) for named in MALFORMED}
    assert await refused_events(people, events) == invalid(dict.fromkeys(MALFORMED, "identity.value"))
    profile_id = await people.whose("card:good")
    for named in MALFORMED:
        many = pb.BatchGetProfilesRequest(workspace_id="shop", identities=[identity(ANA), identity(named)])
        for call, field in (
            (people.link(ANA, named), "identities[1].value"),
            (people.unlink(profile_id, named), "identity.value"),
            (people.record(consent(seconds(0)), identity=identity(named)), "identity.value"),
            (people.who(named), "identity.value"),
            (people.graph(identity=identity(named)), "identity.value"),
            (people.stub.BatchGetProfiles(many), "identities[1].value"),
        ):
            assert await invalid_fields(call) == [field]
    assert [names(profile.identities) for profile in await people.everybody()] == [["card:good"]]


ODD = ["a\nb", "a\r\n", "\t", " ", "\x1b[31m", "\x7f", "\u202ea", "🙂", "a:b/c", "%s", "$", "é", "e\u0301"]


async def test_what_else_is_in_an_identity_is_taken_as_it_is(people: ServedPeople) -> None:
    ids = [await people.tell(person(f"user_id:{value}", f"card:{value}")) for value in ODD]
    assert len(set(ids)) == len(ODD)
    results = await people.events(*(event(f"e{value}", f"card:{value}") for value in ODD))
    assert [result.profile_id for result in results] == ids
    for value, profile_id in zip(ODD, ids, strict=True):
        assert names((await people.who(f"card:{value}")).identities) == [f"user_id:{value}", f"card:{value}"]
        assert await people.event_ids(profile_id) == [f"e{value}"]
        assert names((await people.unlink(profile_id, f"card:{value}")).identities) == [f"user_id:{value}"]


# --- whole requests ---------------------------------------------------------------------------------------------------


async def test_a_workspace_of_a_bad_name_is_refused(people: ServedPeople) -> None:
    for workspace in ("", "Shop", "shop\n", "a/b", "a" * 64, "a\0"):
        assert await invalid_fields(people.profiles(person(ANA), workspace=workspace)) == ["workspace_id"]
        assert await invalid_fields(people.events(event("e"), workspace=workspace)) == ["workspace_id"]


async def test_of_too_many_items_or_none_nothing_is_taken(people: ServedPeople) -> None:
    for call, field in (
        (people.profiles(), "profiles"),
        (people.profiles(*[person(ANA)] * 501), "profiles"),
        (people.events(), "events"),
        (people.events(*[event("e")] * 1001), "events"),
    ):
        assert await invalid_fields(call) == [field]
    assert await people.everybody() == []


async def send(people: ServedPeople, data: bytes) -> pb.IngestProfilesResponse:
    """IngestProfiles with these bytes."""
    call: Any = people.channel.unary_unary(
        "/camino.profile.v1.ProfileService/IngestProfiles",
        response_deserializer=pb.IngestProfilesResponse.FromString,
    )
    return await call(data)


def nested(depth: int) -> bytes:
    """Groups of a field that nobody knows, one in another."""
    return b"\xc3\x3e" * depth + b"\xc4\x3e" * depth


ASKED = pb.IngestProfilesRequest(workspace_id="shop", profiles=[person(ANA, name="Ana")])
BYTES = {
    "no message": b"\xff\xff\xff",
    "half a message": ASKED.SerializeToString()[:-3],
    "a surrogate": ASKED.SerializeToString().replace(b"Ana", b"\xed\xa0\x80"),
    "no UTF-8": ASKED.SerializeToString().replace(b"Ana", b"A\xffa"),
    "deep nesting": ASKED.SerializeToString() + nested(100_000),
}


async def test_what_is_no_message_is_refused_and_harms_nobody(people: ServedPeople) -> None:
    for data in BYTES.values():
        with pytest.raises(grpc.aio.AioRpcError, match="can't be decoded") as raised:
            await send(people, data)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await people.everybody() == []
    assert await people.tell(person(ANA))


async def test_fields_that_nobody_knows_are_left_out(people: ServedPeople) -> None:
    unknown = nested(50) + b"\xca\x3e\x80\x80\x40" + b"\xff" * (1 << 20)
    item = pb.ProfileInput.FromString(person(ANA, name="Ana").SerializeToString() + unknown)
    asked = pb.IngestProfilesRequest(workspace_id="shop", profiles=[item]).SerializeToString()
    [result] = (await send(people, asked + unknown)).results
    assert result.outcome == OK
    assert (await people.who(ANA)).ByteSize() < 1000
