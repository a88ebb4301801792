"""Between the wire, the domain and the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_events_pb2, profile_pb2, profile_service_pb2
from camino.type.v1 import value_pb2

from services.chassis.errors import CaminoError, Violation
from services.chassis.wire import instant, set_instant, set_value, value_of
from services.profile import normalise
from services.profile.domain import links, profile
from services.profile.domain.attributes import Attribute
from services.profile.domain.consents import Consent, ConsentState, Topic, effective
from services.profile.domain.links import Seen, pair
from services.profile.domain.profile import LOCALE, TIME_ZONE, Facts, Profile
from services.profile.domain.rules import Rules
from services.profile.domain.values import Identity, Value, check_instant, check_value

Body = dict[str, Any]


# --- what comes in ----------------------------------------------------------------------------------------------------


def facts_of(item: profile_service_pb2.ProfileInput, rules: Rules, now: int) -> Facts:
    """What a ProfileInput says. Raises `InvalidArgument` naming the field."""
    identities = identities_of(item.identities, rules)
    observed_at = told_at(item, "observed_at", now, now, "observed_at")
    attributes = {}
    for name, wire in item.attributes.items():
        field = f'attributes["{name}"]'
        at = told_at(wire, "observed_at", observed_at, now, f"{field}.observed_at")
        value = None
        if not wire.unset:
            value = _domain_value(wire.value)
            check_value(name, value, field)
        attributes[name] = Attribute(value, at, wire.source or item.source)
    settings = {}
    if item.time_zone:
        settings[TIME_ZONE] = Attribute(normalise.time_zone(item.time_zone, "time_zone"), observed_at, item.source)
    if item.locale:
        settings[LOCALE] = Attribute(normalise.locale(item.locale, "locale"), observed_at, item.source)
    consents = consents_of(item.consents, links.head(identities, rules), observed_at, now)
    return Facts(identities, observed_at, attributes, consents, settings)


def identities_of(wires: Iterable[profile_pb2.Identity], rules: Rules) -> tuple[Identity, ...]:
    """Identities in their normal form, each once. Raises `InvalidArgument` naming the field."""
    found = (
        normalise.identity(wire.namespace, wire.value, f"identities[{index}].value", rules)
        for index, wire in enumerate(wires)
    )
    return tuple(dict.fromkeys(found))


def consents_of(
    wires: Iterable[profile_pb2.Consent], told_of: Identity, observed_at: int, now: int
) -> dict[Topic, tuple[Consent, ...]]:
    """Consents by topic. Raises `InvalidArgument` naming the field."""
    consents: dict[Topic, tuple[Consent, ...]] = {}
    for index, wire in enumerate(wires):
        changed_at = told_at(wire, "changed_at", observed_at, now, f"consents[{index}].changed_at")
        said = Consent(ConsentState(wire.state), changed_at, wire.source, told_of)
        topic = wire.channel, wire.topic
        consents[topic] = (*consents.get(topic, ()), said)
    return consents


def told_at(wire: Any, field: str, default: int, now: int, path: str) -> int:
    """The instant in a field, or the default. Raises `InvalidArgument` naming the path."""
    at = instant(getattr(wire, field)) if wire.HasField(field) else default
    check_instant(at, now, path)
    return at


def properties_of(item: profile_service_pb2.EventInput) -> Body:
    """An event's properties as they're stored. Raises `InvalidArgument`."""
    properties = {}
    for name, wire in item.properties.items():
        value = _domain_value(wire)
        check_value(name, value, "properties")
        properties[name] = _stored(value)
    return properties


def _domain_value(wire: value_pb2.Value) -> Value:
    """A value that is the same however it came, so that facts can be compared."""
    value = value_of(wire)
    return tuple(value) if isinstance(value, list) else value


# --- what is stored ---------------------------------------------------------------------------------------------------


def identity_key(workspace_id: str, identity: Identity) -> str:
    return f"{workspace_id}/{identity[0]}:{identity[1]}"


def profile_body(held: Profile, rules: Rules) -> Body:
    """What is stored of a profile. Identities are named by their place in `identities` wherever that's possible."""
    identities = profile.ordered(held.identities, rules)
    place = {identity: index for index, identity in enumerate(identities)}

    def named(identity: Identity) -> int | list[str]:
        return place[identity] if identity in place else list(identity)

    return {
        "created": held.created_at,
        "updated": held.updated_at,
        "revision": held.revision,
        "identities": [list(identity) for identity in identities],
        "links": [[named(one), named(other), seen.first, seen.last] for (one, other), seen in held.links.items()],
        "attributes": _attributes_body(held.attributes),
        "consents": [
            [*topic, [[int(it.state), it.changed_at, it.source, named(it.told_of)] for it in standing]]
            for topic, standing in held.consents.items()
        ],
        "settings": _attributes_body(held.settings),
        "merged": list(held.merged),
    }


def profile_of(profile_id: str, body: Body) -> Profile:
    identities: list[Identity] = [(namespace, value) for namespace, value in body["identities"]]

    def meant(name: int | list[str]) -> Identity:
        return identities[name] if isinstance(name, int) else (name[0], name[1])

    return Profile(
        profile_id,
        body["created"],
        body["updated"],
        body["revision"],
        frozenset(identities),
        {pair(meant(one), meant(other)): Seen(first, last) for one, other, first, last in body["links"]},
        _attributes_of(body["attributes"]),
        {
            (channel, topic): tuple(
                Consent(ConsentState(state), at, source, meant(told_of)) for state, at, source, told_of in standing
            )
            for channel, topic, standing in body["consents"]
        },
        _attributes_of(body["settings"]),
        tuple(body["merged"]),
    )


def _attributes_body(attributes: Mapping[str, Attribute]) -> Body:
    return {name: [_stored(held.value), held.observed_at, held.source] for name, held in attributes.items()}


def _attributes_of(body: Body) -> dict[str, Attribute]:
    return {
        name: Attribute(tuple(value) if isinstance(value, list) else value, at, source)
        for name, (value, at, source) in body.items()
    }


def _stored(value: Value | None) -> Any:
    return list(value) if isinstance(value, tuple) else value


def grave(joined_to: str) -> Body:
    """What stands where a profile was that turned out to be the same person as another. In no index."""
    return {"joined_to": joined_to}


def joined_to(body: Body) -> str:
    """Which profile the one that was here is now; empty for any other body."""
    return str(body.get("joined_to", ""))


def is_profile(body: Body) -> bool:
    """Whether this is a person: no grave, and no place that is only kept for one."""
    return "revision" in body


def stands(body: Body) -> bool:
    """Whether this is a person, or a place that is kept for one: nobody who turned out to be another, or was erased."""
    return "joined_to" not in body and "erased" not in body


def lock_of(body: Body) -> str:
    """The change of several profiles that is under way here; empty if none is. See `joining`."""
    return str(body.get("join", ""))


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


# --- what is shown ----------------------------------------------------------------------------------------------------


def profile_wire(workspace_id: str, profile_id: str, body: Body) -> profile_pb2.Profile:
    wire = profile_pb2.Profile()
    fill_profile(wire, workspace_id, profile_id, body)
    return wire


def fill_profile(wire: profile_pb2.Profile, workspace_id: str, profile_id: str, body: Body) -> None:
    """Set a wire profile from a stored one. Straight from the body: this is on the path of every event."""
    wire.workspace_id = workspace_id
    wire.profile_id = profile_id
    wire.revision = body["revision"]
    set_instant(wire.create_time, body["created"])
    set_instant(wire.update_time, body["updated"])
    for namespace, value in body["identities"]:
        wire.identities.add(namespace=namespace, value=value)
    for name, (value, at, source) in body["attributes"].items():
        if value is None:
            continue
        attribute = wire.attributes[name]
        set_value(attribute.value, value)
        set_instant(attribute.observed_at, at)
        attribute.source = source
    for channel, topic, standing in body["consents"]:
        state, at, source = standing[0][:3] if len(standing) == 1 else _effective(standing)
        consent = wire.consents.add(channel=channel, topic=topic, state=state, source=source)
        set_instant(consent.changed_at, at)
    settings = body["settings"]
    if TIME_ZONE in settings:
        wire.time_zone = settings[TIME_ZONE][0]
    if LOCALE in settings:
        wire.locale = settings[LOCALE][0]
    wire.merged_profile_ids.extend(body["merged"])


def _effective(standing: list[Any]) -> tuple[int, int, str]:
    holds = effective(tuple(Consent(ConsentState(state), at, source, ("", "")) for state, at, source, _ in standing))
    return holds.state, holds.changed_at, holds.source


def fill_event(wire: profile_pb2.Event, workspace_id: str, profile_id: str, event_id: str, body: Body) -> None:
    """Set a wire event from a stored one: that of a profile, or of one that turned out to be the same person."""
    wire.workspace_id = workspace_id
    wire.event_id = event_id
    wire.profile_id = profile_id
    wire.type = body["type"]
    set_instant(wire.occurred_at, body["at"])
    set_instant(wire.receive_time, body["received"])
    for name, value in body["properties"].items():
        set_value(wire.properties[name], value)


def ok(profile_id: str, not_linked: Iterable[Identity] = ()) -> profile_service_pb2.ItemResult:
    return profile_service_pb2.ItemResult(
        outcome=profile_service_pb2.ITEM_OUTCOME_OK,
        profile_id=profile_id,
        not_linked=[identity_wire(identity) for identity in not_linked],
    )


def identity_wire(identity: Identity | list[str]) -> profile_pb2.Identity:
    return profile_pb2.Identity(namespace=identity[0], value=identity[1])


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


def changed(
    workspace_id: str, profile_id: str, profile: Body, event_id: str = "", event: Body | None = None
) -> profile_events_pb2.ProfileChanged:
    """A ProfileChanged from stored bodies."""
    message = profile_events_pb2.ProfileChanged()
    fill_profile(message.profile, workspace_id, profile_id, profile)
    if event is not None:
        fill_event(message.event, workspace_id, profile_id, event_id, event)
    return message
