"""What facts make of a profile: the newest wins, and the same facts again change nothing."""

from __future__ import annotations

from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_pb2, profile_service_pb2
from camino.testing.fake.identities import check_time_zone, normalised, normalised_locale
from camino.testing.fake.refusal import Refusal, invalid_field
from camino.testing.fake.values import EARLIEST, LATEST, MINUTE, Value, instant, kept, timestamp, value_of
from google.protobuf.timestamp_pb2 import Timestamp

_MAX_IDENTITIES = 50
_MAX_ATTRIBUTES = 500
_MAX_CONSENTS = 200
_MAX_SKEW = 15 * MINUTE


def sound(item: profile_service_pb2.ProfileInput, now: int) -> profile_service_pb2.ProfileInput:
    """The item with normal identities and every instant said. Raises `Refusal` naming the field."""
    said = profile_service_pb2.ProfileInput()
    said.CopyFrom(item)
    for name, attribute in said.attributes.items():
        where = f'attributes["{name}"]'
        date(attribute.observed_at, attribute.HasField("observed_at"), now, f"{where}.observed_at")
        check_value(name, value_of(attribute.value), where)
        attribute.value.CopyFrom(kept(attribute.value))
    for index, consent in enumerate(said.consents):
        date(consent.changed_at, consent.HasField("changed_at"), now, f"consents[{index}].changed_at")
    for index, identity in enumerate(said.identities):
        identity.CopyFrom(normalised(identity, f"identities[{index}].value"))
    check_time_zone(said.time_zone)
    said.locale = normalised_locale(said.locale)
    return said


def date(at: Timestamp, said: bool, now: int, field: str) -> None:
    """Now, unless it's said. Raises `Refusal` for what no clock can have, or none yet."""
    micros = instant(at) if said else now
    if micros < EARLIEST:
        raise invalid_field(field, "is before the year 1")
    if micros > now + _MAX_SKEW:
        raise invalid_field(field, "is more than 15 minutes in the future; send when it has happened")
    at.CopyFrom(timestamp(micros))


def check_value(name: str, value: Value, field: str) -> None:
    """Raise `Refusal` for a name or an instant that can't be kept."""
    if "\0" in name:
        raise invalid_field(field, "a name can't hold the character U+0000")
    if type(value) is int and not EARLIEST <= value < LATEST:
        raise invalid_field(field, f"{name!r} is not in the years 1 to 9999")


def absorbed(profile: profile_pb2.Profile, said: profile_service_pb2.ProfileInput, now: int) -> profile_pb2.Profile:
    """The profile with what is said; itself when that changes nothing. Raises `Refusal` (PROFILE_LIMIT)."""
    after = profile_pb2.Profile()
    after.CopyFrom(profile)
    for identity in said.identities:
        if identity not in after.identities:
            after.identities.append(identity)
    for name, attribute in said.attributes.items():
        if name not in after.attributes or _order(attribute) > _order(after.attributes[name]):
            after.attributes[name].CopyFrom(attribute)
    for consent in said.consents:
        _take_consent(after, consent)
    after.time_zone = said.time_zone or after.time_zone
    after.locale = said.locale or after.locale
    # By their bytes: as numbers, 0.0 and -0.0 are the same.
    if profile.revision and _bytes(after) == _bytes(profile):
        return profile
    for what, count, limit in (
        ("identities", len(after.identities), _MAX_IDENTITIES),
        ("attributes", len(after.attributes), _MAX_ATTRIBUTES),
        ("consents", len(after.consents), _MAX_CONSENTS),
    ):
        if count > limit:
            message = f"{what}: the profile would have {count}, at most {limit} are kept; nothing was taken"
            raise Refusal(reason_pb2.REASON_PROFILE_LIMIT, message)
    after.revision += 1
    after.update_time.CopyFrom(timestamp(now))
    return after


def _bytes(profile: profile_pb2.Profile) -> bytes:
    return profile.SerializeToString(deterministic=True)


def _take_consent(profile: profile_pb2.Profile, consent: profile_pb2.Consent) -> None:
    for held in profile.consents:
        if (held.channel, held.topic) == (consent.channel, consent.topic):
            # Of two at the same instant the stricter holds.
            if _strictness(consent) > _strictness(held):
                held.CopyFrom(consent)
            return
    profile.consents.append(consent)


def _strictness(consent: profile_pb2.Consent) -> tuple[int, int, str]:
    return instant(consent.changed_at), consent.state, consent.source


def _order(attribute: profile_pb2.Attribute) -> tuple[int, str]:
    """Of two at the same instant the greater by its text holds."""
    value = value_of(attribute.value)
    return instant(attribute.observed_at), f"{type(value).__name__}:{value!r}"
