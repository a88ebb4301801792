"""Between the wire, the domain and the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_events_pb2, profile_pb2, profile_service_pb2
from camino.type.v1 import value_pb2

from services.chassis.documents import Document
from services.chassis.errors import CaminoError, Violation
from services.chassis.wire import instant, set_instant, set_value, value_of
from services.profile import normalise
from services.profile.domain import (
    Attribute,
    Consent,
    ConsentState,
    Facts,
    Identity,
    Profile,
    Value,
    check_instant,
    check_value,
    supersedes,
)

Body = dict[str, Any]


def facts_of(item: profile_service_pb2.ProfileInput, now: int) -> Facts:
    """What a ProfileInput says. Raises `InvalidArgument` naming the field."""
    attributes = {}
    for name, wire in item.attributes.items():
        observed_at = instant(wire.observed_at) if wire.HasField("observed_at") else now
        check_instant(observed_at, now, f'attributes["{name}"].observed_at')
        value = _domain_value(wire.value)
        check_value(name, value, f'attributes["{name}"]')
        attributes[name] = Attribute(value, observed_at)
    consents: dict[tuple[int, str], Consent] = {}
    for index, consent in enumerate(item.consents):
        changed_at = instant(consent.changed_at) if consent.HasField("changed_at") else now
        check_instant(changed_at, now, f"consents[{index}].changed_at")
        said = Consent(ConsentState(consent.state), changed_at, consent.source)
        if supersedes(said, consents.get((consent.channel, consent.topic))):
            consents[consent.channel, consent.topic] = said
    return Facts(
        tuple(
            normalise.identity(wire.namespace, wire.value, f"identities[{index}].value")
            for index, wire in enumerate(item.identities)
        ),
        attributes,
        consents,
        normalise.time_zone(item.time_zone, "time_zone"),
        normalise.locale(item.locale, "locale"),
    )


def _domain_value(wire: value_pb2.Value) -> Value:
    """A value that is the same however it came, so that facts can be compared."""
    value = value_of(wire)
    return tuple(value) if isinstance(value, list) else value


def profile_body(profile: Profile) -> Body:
    return {
        "created": profile.created_at,
        "updated": profile.updated_at,
        "revision": profile.revision,
        "identities": [list(identity) for identity in profile.identities],
        "attributes": {name: [_stored(held.value), held.observed_at] for name, held in profile.attributes.items()},
        "consents": [
            [channel, topic, int(consent.state), consent.changed_at, consent.source]
            for (channel, topic), consent in profile.consents.items()
        ],
        "time_zone": profile.time_zone,
        "locale": profile.locale,
    }


def grave(joined_to: str) -> Body:
    """What stands where the profile of an owner that was joined to another would be. In no index, and nobody was ever
    told of its id."""
    return {"joined_to": joined_to}


def joined(profiles: Mapping[str, Document]) -> dict[str, str]:
    """The owners among stored profiles, by key, that were joined to another, and to which."""
    return {
        key.partition("/")[2]: found.body["joined_to"] for key, found in profiles.items() if "joined_to" in found.body
    }


def _stored(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value


def profile_of(profile_id: str, body: Body) -> Profile:
    return Profile(
        profile_id,
        body["created"],
        body["updated"],
        body["revision"],
        tuple((namespace, value) for namespace, value in body["identities"]),
        {
            name: Attribute(tuple(value) if isinstance(value, list) else value, at)
            for name, (value, at) in body["attributes"].items()
        },
        {
            (channel, topic): Consent(ConsentState(state), at, source)
            for channel, topic, state, at, source in body["consents"]
        },
        body["time_zone"],
        body["locale"],
    )


def fill_profile(wire: profile_pb2.Profile, workspace_id: str, profile_id: str, body: Body) -> None:
    """Set a wire profile from a stored one. Straight from the body: this is on the path of every event."""
    wire.workspace_id = workspace_id
    wire.profile_id = profile_id
    wire.revision = body["revision"]
    set_instant(wire.create_time, body["created"])
    set_instant(wire.update_time, body["updated"])
    for namespace, value in body["identities"]:
        wire.identities.add(namespace=namespace, value=value)
    for name, (value, at) in body["attributes"].items():
        attribute = wire.attributes[name]
        set_value(attribute.value, value)
        set_instant(attribute.observed_at, at)
    for channel, topic, state, at, source in body["consents"]:
        consent = wire.consents.add(channel=channel, topic=topic, state=state, source=source)
        set_instant(consent.changed_at, at)
    wire.time_zone = body["time_zone"]
    wire.locale = body["locale"]


def properties_of(item: profile_service_pb2.EventInput) -> Body:
    """An event's properties as they're stored. Raises `InvalidArgument`."""
    properties = {}
    for name, wire in item.properties.items():
        value = value_of(wire)
        check_value(name, value, "properties")
        properties[name] = _stored(value)
    return properties


def event_body(
    item: profile_service_pb2.EventInput, properties: Body, profile_key: str, occurred_at: int, now: int
) -> Body:
    return {
        "profile": profile_key,
        "type": item.type,
        "at": occurred_at,
        "received": now,
        "properties": properties,
    }


def fill_event(wire: profile_pb2.Event, workspace_id: str, event_id: str, body: Body) -> None:
    """Set a wire event from a stored one."""
    wire.workspace_id = workspace_id
    wire.event_id = event_id
    wire.profile_id = body["profile"].partition("/")[2]
    wire.type = body["type"]
    set_instant(wire.occurred_at, body["at"])
    set_instant(wire.receive_time, body["received"])
    for name, value in body["properties"].items():
        set_value(wire.properties[name], value)


def ok(profile_id: str) -> profile_service_pb2.ItemResult:
    return profile_service_pb2.ItemResult(outcome=profile_service_pb2.ITEM_OUTCOME_OK, profile_id=profile_id)


def duplicate(profile_id: str) -> profile_service_pb2.ItemResult:
    return profile_service_pb2.ItemResult(outcome=profile_service_pb2.ITEM_OUTCOME_DUPLICATE, profile_id=profile_id)


def refused(error: CaminoError | Violation) -> profile_service_pb2.ItemResult:
    """A failed item, from an error or from a violation of the schema."""
    if isinstance(error, Violation):
        reason, where, message = "INVALID_FIELD", error.field, error.message
    else:
        reason, where, message = error.reason, error.violations[0].field if error.violations else "", error.message
    return profile_service_pb2.ItemResult(
        outcome=profile_service_pb2.ITEM_OUTCOME_FAILED,
        error=profile_service_pb2.ItemError(
            reason=reason_pb2.Reason.Value(f"REASON_{reason}"), field=where, message=message
        ),
    )


def identity_key(workspace_id: str, identity: Identity) -> str:
    return f"{workspace_id}/{identity[0]}:{identity[1]}"


def changed(
    workspace_id: str, profile_id: str, profile: Body, event_id: str = "", event: Body | None = None
) -> profile_events_pb2.ProfileChanged:
    """A ProfileChanged from stored bodies."""
    message = profile_events_pb2.ProfileChanged()
    fill_profile(message.profile, workspace_id, profile_id, profile)
    if event is not None:
        fill_event(message.event, workspace_id, event_id, event)
    return message
