"""Identities, zones and locales in one spelling, or a clear refusal."""

from __future__ import annotations

import re
from functools import lru_cache
from zoneinfo import available_timezones

from services.chassis.errors import InvalidArgument
from services.profile.domain.rules import Normaliser, Rules

# A dot-atom or quoted local part and a dotted domain; whether mail arrives there is for the provider to say (RFC 5321,
# 4.1.2). Nowhere a control character: in a header, a line break would begin another.
_NO_ATOM = r'\s\x00-\x1f\x7f@"(),:;<>\[\]\\'
_EMAIL = re.compile(rf'(?:[^{_NO_ATOM}]+|"[^"\x00-\x1f\x7f]+")@(?:[^{_NO_ATOM}.]+\.)+[^{_NO_ATOM}.]+')
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")


def identity(namespace: str, value: str, field: str, rules: Rules) -> tuple[str, str]:
    """The identity in its normal form, as the rules say of its namespace: emails trimmed and lower-cased, phone numbers
    in E.164, others as they are.

    Raises `InvalidArgument` naming `field`.
    """
    normaliser = rules.namespace(namespace).normaliser
    if normaliser is Normaliser.EMAIL:
        email = value.strip().lower()
        if not _EMAIL.fullmatch(email) or len(email) > 254:
            raise InvalidArgument.at(field, "is not an email address; send it as name@example.com")
        return namespace, email
    if normaliser is Normaliser.PHONE:
        return namespace, _e164(value, field)
    return namespace, value


def _e164(value: str, field: str) -> str:
    import phonenumbers  # here, because its tables are large and many workspaces have no phone numbers

    try:
        number = phonenumbers.parse(value, None)
    except phonenumbers.NumberParseException as error:
        raise InvalidArgument.at(field, f"is not a phone number ({error}); send it as +34911234567") from None
    if not phonenumbers.is_possible_number(number):
        raise InvalidArgument.at(field, "can't be a phone number; send it as +34911234567")
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def time_zone(name: str, field: str) -> str:
    """An IANA zone's name, as it is. Raises `InvalidArgument` naming `field`."""
    if name and name not in _zones():
        raise InvalidArgument.at(field, f"{name!r} is not an IANA time zone; send one such as Europe/Madrid")
    return name


def locale(tag: str, field: str) -> str:
    """A BCP 47 tag with hyphens. Raises `InvalidArgument` naming `field`."""
    if tag and not _LOCALE.fullmatch(tag):
        raise InvalidArgument.at(field, f"{tag!r} is not a BCP 47 tag; send one such as es-ES")
    return tag.replace("_", "-")
