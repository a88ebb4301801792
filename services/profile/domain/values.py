"""What facts are made of, and how much of it is taken. Pure."""

from __future__ import annotations

from services.chassis.clock import MINUTE, SECOND
from services.chassis.errors import InvalidArgument

MAX_IDENTITIES = 50
MAX_ATTRIBUTES = 500
MAX_UNSET = 500
"""Attributes that were unset, of which it's known so that what was seen earlier doesn't bring them back."""
MAX_CONSENTS = 200
MAX_EVENT_BYTES = 64 * 1024
MAX_SKEW = 15 * MINUTE
EARLIEST = -62_135_596_800 * SECOND
LATEST = 253_402_300_800 * SECOND
"""The years 1 to 9999, which a protobuf Timestamp can say: [EARLIEST, LATEST)."""

Value = str | float | bool | int | tuple[str, ...]
"""An attribute's value: text, a number (always float), a truth value, an instant (int, microseconds), or a list of
strings."""

Identity = tuple[str, str]
"""(namespace, normalised value)"""


def check_instant(at: int, now: int, field_name: str) -> None:
    """Raise `InvalidArgument` for an instant further ahead of our clock than clocks differ, or before the year 1."""
    if at < EARLIEST:
        raise InvalidArgument.at(field_name, "is before the year 1")
    if at > now + MAX_SKEW:
        raise InvalidArgument.at(field_name, "is more than 15 minutes in the future; send when it has happened")


def check_value(name: str, value: Value, field_name: str) -> None:
    """Raise `InvalidArgument` for an instant that can't be kept."""
    if type(value) is int and not EARLIEST <= value < LATEST:
        raise InvalidArgument.at(field_name, f"{name!r} is not in the years 1 to 9999")
