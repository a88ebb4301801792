"""What inputs say, written out: identities in their normal form, and an instant for everything."""

from __future__ import annotations

from collections.abc import Iterable

from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_pb2, profile_service_pb2
from camino.testing.fake.identities import check_time_zone, normalised, normalised_locale
from camino.testing.fake.people import two_people
from camino.testing.fake.refusal import Refusal, Violation, invalid_field
from camino.testing.fake.rules import Rules
from camino.testing.fake.values import EARLIEST, LATEST, MINUTE, Value, instant, kept, timestamp, value_of
from google.protobuf.timestamp_pb2 import Timestamp

_MAX_SKEW = 15 * MINUTE


def sound(item: profile_service_pb2.ProfileInput, rules: Rules, now: int) -> profile_service_pb2.ProfileInput:
    """The item with normal identities, and with every instant and source said. Raises `Refusal` naming the field."""
    said = profile_service_pb2.ProfileInput()
    said.CopyFrom(item)
    del said.identities[:]
    said.identities.extend(identities_of(item.identities, rules))
    date(said.observed_at, item.HasField("observed_at"), now, now, "observed_at")
    default = instant(said.observed_at)
    for name, attribute in said.attributes.items():
        where = f'attributes["{name}"]'
        date(attribute.observed_at, attribute.HasField("observed_at"), default, now, f"{where}.observed_at")
        attribute.source = attribute.source or item.source
        if attribute.HasField("value"):
            check_value(name, value_of(attribute.value), where)
            attribute.value.CopyFrom(kept(attribute.value))
    check_time_zone(said.time_zone)
    said.locale = normalised_locale(said.locale)
    date_consents(said.consents, default, now)
    check_one_person(said.identities, rules)
    return said


def identities_of(wires: Iterable[profile_pb2.Identity], rules: Rules) -> list[profile_pb2.Identity]:
    """Identities in their normal form, each once. Raises `Refusal` naming the field."""
    found: list[profile_pb2.Identity] = []
    for index, wire in enumerate(wires):
        identity = normalised(wire, f"identities[{index}].value", rules)
        if identity not in found:
            found.append(identity)
    return found


def check_one_person(identities: Iterable[profile_pb2.Identity], rules: Rules) -> None:
    """Raise `Refusal` (IDENTITY_CONFLICT) for identities that are two people's."""
    if two_people(((identity.namespace, identity.value) for identity in identities), rules):
        message = "identities: two values of a namespace of which a person has one; send the facts of each person alone"
        raise Refusal(reason_pb2.REASON_IDENTITY_CONFLICT, message, [Violation("identities", message)])


def date_consents(consents: Iterable[profile_pb2.Consent], default: int, now: int) -> None:
    """Say when each was given. Raises `Refusal` naming the field."""
    for index, consent in enumerate(consents):
        date(consent.changed_at, consent.HasField("changed_at"), default, now, f"consents[{index}].changed_at")


def date(at: Timestamp, said: bool, default: int, now: int, field: str) -> None:
    """Set the default, unless it's said. Raises `Refusal` for what no clock can have, or none yet."""
    micros = instant(at) if said else default
    if micros < EARLIEST:
        raise invalid_field(field, "is before the year 1")
    if micros > now + _MAX_SKEW:
        raise invalid_field(field, "is more than 15 minutes in the future; send when it has happened")
    at.CopyFrom(timestamp(micros))


def check_value(name: str, value: Value, field: str) -> None:
    """Raise `Refusal` for an instant that can't be kept."""
    if type(value) is int and not EARLIEST <= value < LATEST:
        raise invalid_field(field, f"{name!r} is not in the years 1 to 9999")
