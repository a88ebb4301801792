"""Rows as events and profiles: the mapping's own words, and what becomes of a record."""

from __future__ import annotations

from typing import Any

import pytest
from camino.client import derived_event_id
from camino.profile.v1 import profile_pb2
from camino.profile.v1.profile_service_pb2 import EventInput, ProfileInput
from camino.type.v1.messaging_pb2 import CHANNEL_EMAIL, CHANNEL_SMS
from google.protobuf.json_format import MessageToDict

from cli.importing.cells import Cell
from cli.importing.event_rows import EventRows
from cli.importing.mapping import EventMapping, MappingError, ProfileMapping
from cli.importing.profile_rows import ProfileRows
from cli.importing.proto_json import ProtoJson
from cli.importing.records import START, Record, Unmappable

PURCHASES: dict[str, Any] = {"identity": {"customer_id": "who"}, "type": "purchase"}


def record(text: str = "", line: int = 2, **row: Cell) -> Record:
    return Record(line, text, START, row)


def event(mapping: dict[str, Any], *, text: str = "", line: int = 2, **row: Cell) -> EventInput:
    return EventRows(EventMapping.of({**PURCHASES, **mapping}))(record(text, line, **row))


def profile(mapping: dict[str, Any], **row: Cell) -> ProfileInput:
    return ProfileRows(ProfileMapping.of({"identity": {"email": "mail"}, **mapping}))(record(**row))


def problems(kind: type[EventMapping] | type[ProfileMapping], said: dict[str, Any]) -> list[str]:
    with pytest.raises(MappingError) as raised:
        kind.of(said)
    return raised.value.problems


def test_an_event_has_all_that_is_mapped():
    found = event(
        {
            "event_id": "order",
            "occurred_at": "day",
            "default_zone": "UTC",
            "properties": {"amount": "value:number", "tags": "tags:list(;)", "sku": "sku"},
        },
        who="7",
        order="o-1",
        day="1997-01-01",
        value="11.77",
        tags="new;sale",
        sku="",
        unmapped="x",
    )
    assert MessageToDict(found) == {
        "eventId": "o-1",
        "type": "purchase",
        "occurredAt": "1997-01-01T00:00:00Z",
        "identity": {"namespace": "customer_id", "value": "7"},
        "properties": {"amount": {"doubleValue": 11.77}, "tags": {"stringListValue": {"values": ["new", "sale"]}}},
    }


def test_an_event_is_that_of_the_first_identity_that_its_row_has():
    mapping = {"identity": {"email": "mail", "phone": "tel"}}
    assert event(mapping, mail="a@example.com", tel="1").identity.namespace == "email"
    assert event(mapping, mail="", tel="1").identity == profile_pb2.Identity(namespace="phone", value="1")
    with pytest.raises(Unmappable, match="identity: nothing in 'mail' or 'tel'"):
        event(mapping, mail="", tel="")


def test_the_type_may_be_in_a_column():
    mapping = EventMapping.of({"identity": {"customer_id": "who"}, "type_from": "kind"})
    assert EventRows(mapping)(record(who="7", kind="refund")).type == "refund"
    with pytest.raises(Unmappable, match="type: nothing in 'kind'"):
        EventRows(mapping)(record(who="7", kind=""))


def test_an_id_by_columns_is_that_of_the_fact_wherever_it_stands():
    mapping = {"event_id_from": ["order", "state"]}
    found = event(mapping, who="7", order="o-1", state="paid", line=2).event_id
    assert found == event(mapping, who="8", order="o-1", state="paid", line=99, text="x").event_id
    assert found == derived_event_id("purchase", "o-1", "paid")
    assert found != event({**mapping, "type": "refund"}, who="7", order="o-1", state="paid").event_id
    with pytest.raises(Unmappable, match="event_id: nothing in 'order' and 'state'"):
        event(mapping, who="7", order="", state="")
    with pytest.raises(Unmappable, match=r"event_id: .*U\+001F"):
        event(mapping, who="7", order="a\x1fb", state="")


def test_an_id_by_line_is_one_for_each_line_and_always_the_same():
    first = event({}, who="7", text="7,1997-01-01", line=2).event_id
    assert first == event({}, who="7", text="7,1997-01-01", line=2).event_id
    assert first != event({}, who="7", text="7,1997-01-01", line=3).event_id
    assert first != event({}, who="7", text="7,1997-01-02", line=2).event_id


@pytest.mark.parametrize(
    ("mapping", "row", "wrong"),
    [
        ({"properties": {"amount": "value:number"}}, {"value": "12,5"}, "properties.amount: column 'value': '12,5' is"),
        ({"occurred_at": "day"}, {"day": ""}, "occurred_at: column 'day': '' is not an ISO 8601 instant"),
        ({"event_id": "order"}, {"order": ""}, "event_id: nothing in 'order'"),
        ({"event_id": "order"}, {"order": ["1"]}, "event_id: column 'order': .* is a list"),
    ],
)
def test_what_is_wrong_with_a_row_names_the_field_and_the_column(
    mapping: dict[str, Any], row: dict[str, Cell], wrong: str
):
    with pytest.raises(Unmappable, match=wrong):
        event(mapping, who="7", **row)


def test_a_profile_has_all_that_is_mapped():
    found = profile(
        {
            "identity": {"email": "mail", "phone": "tel"},
            "attributes": {"first_name": "name", "orders": "orders:number"},
            "observed_at": "seen:epoch",
            "source": "crm",
            "consents": {"email/news": "news", "sms/news": "texts", "email/offers": "offers"},
            "changed_at": "said",
            "consent_source": "crm",
            "time_zone": "zone",
            "locale": "lang",
        },
        mail="ana@example.com",
        tel="",
        name="Ana",
        orders="3",
        seen="10",
        news="yes",
        texts="OPTED_OUT",
        offers="",
        said="1970-01-01T00:00:20Z",
        zone="Europe/Madrid",
        lang="es-ES",
    )
    assert [identity.namespace for identity in found.identities] == ["email"]
    assert found.attributes["orders"].value.double_value == 3
    assert found.attributes.keys() == {"first_name", "orders"}
    assert (found.observed_at.seconds, found.source) == (10, "crm")
    assert [(each.channel, each.topic, each.state) for each in found.consents] == [
        (CHANNEL_EMAIL, "news", profile_pb2.CONSENT_STATE_OPTED_IN),
        (CHANNEL_SMS, "news", profile_pb2.CONSENT_STATE_OPTED_OUT),
    ]
    assert {(each.changed_at.seconds, each.source) for each in found.consents} == {(20, "crm")}
    assert (found.time_zone, found.locale) == ("Europe/Madrid", "es-ES")


def test_since_when_something_holds():
    attributes = {"attributes": {"name": "name"}}
    row = {"mail": "a@example.com", "name": "Ana"}
    assert not profile(attributes, **row).HasField("observed_at")
    as_of = {**attributes, "as_of": "1970-01-01T00:00:30Z"}
    assert profile(as_of, **row).observed_at.seconds == 30
    both = {**as_of, "observed_at": "seen"}
    assert profile(both, **row, seen="").observed_at.seconds == 30
    assert profile(both, **row, seen="1970-01-01T00:00:00Z").HasField("observed_at")
    # Taking a row that doesn't say when for one of today would let it win over all that is known.
    with pytest.raises(Unmappable, match="observed_at: column 'seen': ''"):
        profile({**attributes, "observed_at": "seen"}, **row, seen="")


def test_what_is_wrong_with_a_profile():
    with pytest.raises(Unmappable, match="identities: nothing in 'mail'"):
        profile({}, mail="")
    with pytest.raises(Unmappable, match=r"consents.state: column 'news': 'perhaps' is neither opted_in nor"):
        profile({"consents": {"email/news": "news"}}, mail="a@example.com", news="perhaps")


def test_a_mapping_is_checked_as_a_whole():
    found = problems(
        EventMapping,
        {"identity": {}, "colour": "x", "occurred_at": "day:number", "properties": {"a": "b:list(;;)"}},
    )
    assert [line.partition(":")[0] for line in found] == ["identity", "occurred_at", "properties.a", "colour"]
    assert problems(EventMapping, {"identity": {"email": "mail"}})[0].startswith("say the events' type")
    both = {**PURCHASES, "event_id": "a", "event_id_from": ["b"]}
    assert "either its event_id or derived" in problems(EventMapping, both)[0]
    assert problems(EventMapping, {**PURCHASES, "default_zone": "Mars"})[0].startswith("default_zone: 'Mars' is no")
    assert problems(ProfileMapping, {"identity": {"email": "m"}, "consents": {"fax/news": "n"}})
    assert problems(ProfileMapping, {"identity": {"email": "m"}, "as_of": "2026-01-01"})[0].startswith("'2026-01-01'")


def test_a_mapping_file_is_all_text():
    mapping = EventMapping.read("identity: {customer_id: no}\ntype: purchase\nproperties: {on: 1, at: 'a b:epoch'}\n")
    assert EventRows(mapping).columns == {"no", "1", "a b"}
    for text in ("identity: [", "- a", ""):
        with pytest.raises(MappingError):
            EventMapping.read(text)


def test_a_mapping_has_a_digest_of_its_own():
    mapping = EventMapping.of(PURCHASES)
    assert mapping.digest() == EventMapping.of(dict(PURCHASES)).digest()
    assert mapping.digest() != EventMapping.of({**PURCHASES, "default_zone": "UTC"}).digest()
    people = {"identity": {"customer_id": "who"}}
    assert ProfileMapping.of(people).digest() != mapping.digest()


def test_lines_that_are_items_already():
    text = '{"eventId": "e-1", "type": "purchase", "profileId": "p"}'
    assert ProtoJson(EventInput)(record(text)) == EventInput(event_id="e-1", type="purchase", profile_id="p")
    nameless = record('{"type": "purchase", "profileId": "p"}')
    assert ProtoJson(EventInput)(nameless) == ProtoJson(EventInput)(nameless)
    assert ProtoJson(EventInput)(nameless).event_id
    for text in ("[]", "1", '["type"]', "{", '{"colour": 1}', '{"type": 1}'):
        with pytest.raises(Unmappable, match="no EventInput in JSON"):
            ProtoJson(EventInput)(record(text))
