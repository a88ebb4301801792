"""Identities, zones and locales in one spelling, as Camino has them, or a clear refusal."""

from __future__ import annotations

import re
from functools import lru_cache
from zoneinfo import available_timezones

import phonenumbers
from camino.profile.v1 import profile_pb2
from camino.profile.v1.profile_rules_pb2 import NORMALISER_EMAIL, NORMALISER_PHONE
from camino.testing.fake.refusal import invalid_field
from camino.testing.fake.rules import Rules

_NO_ATOM = r'\s\x00-\x1f\x7f@"(),:;<>\[\]\\'
_EMAIL = re.compile(rf'(?:[^{_NO_ATOM}]+|"[^"\x00-\x1f\x7f]+")@(?:[^{_NO_ATOM}.]+\.)+[^{_NO_ATOM}.]+')
_LONGEST_EMAIL = 254
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")


def normalised(identity: profile_pb2.Identity, field: str, rules: Rules) -> profile_pb2.Identity:
    """As the rules say of its namespace: emails trimmed and lower-cased, phone numbers in E.164, others as they are.
    Raises `Refusal` naming `field`."""
    value = identity.value
    normaliser = rules.namespace(identity.namespace).normaliser
    if normaliser == NORMALISER_EMAIL:
        value = value.strip().lower()
        if not _EMAIL.fullmatch(value) or len(value) > _LONGEST_EMAIL:
            raise invalid_field(field, "is not an email address; send it as name@example.com")
    elif normaliser == NORMALISER_PHONE:
        value = _e164(value, field)
    return profile_pb2.Identity(namespace=identity.namespace, value=value)


def _e164(value: str, field: str) -> str:
    try:
        number = phonenumbers.parse(value, None)
    except phonenumbers.NumberParseException as error:
        raise invalid_field(field, f"is not a phone number ({error}); send it as +34911234567") from None
    if not phonenumbers.is_possible_number(number):
        raise invalid_field(field, "can't be a phone number; send it as +34911234567")
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def check_time_zone(name: str) -> None:
    """Raises `Refusal` for what is no IANA zone."""
    if name and name not in _zones():
        raise invalid_field("time_zone", f"{name!r} is not an IANA time zone; send one such as Europe/Madrid")


def normalised_locale(tag: str) -> str:
    """A BCP 47 tag with hyphens. Raises `Refusal`."""
    if tag and not _LOCALE.fullmatch(tag):
        raise invalid_field("locale", f"{tag!r} is not a BCP 47 tag; send one such as es-ES")
    return tag.replace("_", "-")
