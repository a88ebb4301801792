"""A person as values: identities, attributes and consents, and what new facts make of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from services.chassis.clock import MINUTE, SECOND
from services.chassis.errors import FailedPrecondition, InvalidArgument

MAX_IDENTITIES = 50
MAX_ATTRIBUTES = 500
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


class ConsentState(IntEnum):
    """As in the contract."""

    UNKNOWN = 0
    OPTED_IN = 1
    OPTED_OUT = 2


@dataclass(frozen=True, slots=True)
class Attribute:
    """A value, and when it was seen to hold."""

    value: Value
    observed_at: int


@dataclass(frozen=True, slots=True)
class Consent:
    """What a person said about a topic on a channel, when and where."""

    state: ConsentState
    changed_at: int
    source: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one ingested item says about a person. Empty means nothing is said."""

    identities: tuple[Identity, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    consents: Mapping[tuple[int, str], Consent] = field(default_factory=dict)
    time_zone: str = ""
    locale: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """One person. `revision` grows with every change."""

    profile_id: str
    created_at: int
    updated_at: int
    revision: int = 0
    identities: tuple[Identity, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    consents: Mapping[tuple[int, str], Consent] = field(default_factory=dict)
    time_zone: str = ""
    locale: str = ""


def absorb(profile: Profile, facts: Facts, now: int) -> Profile:
    """The profile with the facts. The same facts again change nothing, and any order of facts ends in the same
    attributes and consents: the newest wins, of two at the same instant the greater by its text.

    Raises `FailedPrecondition` (PROFILE_LIMIT) when it would hold too much; then nothing of the facts is taken.
    """
    added = tuple(i for i in dict.fromkeys(facts.identities) if i not in profile.identities)
    newer = {
        name: new
        for name, new in facts.attributes.items()
        if (old := profile.attributes.get(name)) is None or _order(new) > _order(old)
    }
    said = {key: new for key, new in facts.consents.items() if supersedes(new, profile.consents.get(key))}
    time_zone, locale = facts.time_zone or profile.time_zone, facts.locale or profile.locale
    # By what won, not by comparing profiles: to Python 0.0 equals -0.0, and NaN isn't itself.
    same = not (added or newer or said) and (time_zone, locale) == (profile.time_zone, profile.locale)
    if same and profile.revision:
        return profile
    changed = replace(
        profile,
        revision=profile.revision + 1,
        updated_at=now,
        identities=profile.identities + added,
        attributes={**profile.attributes, **newer},
        consents={**profile.consents, **said},
        time_zone=time_zone,
        locale=locale,
    )
    for what, count, limit in (
        ("identities", len(changed.identities), MAX_IDENTITIES),
        ("attributes", len(changed.attributes), MAX_ATTRIBUTES),
        ("consents", len(changed.consents), MAX_CONSENTS),
    ):
        if count > limit:
            raise FailedPrecondition(
                f"{what}: the profile would have {count}, at most {limit} are kept; nothing was taken",
                reason="PROFILE_LIMIT",
            )
    return changed


def supersedes(new: Consent, held: Consent | None) -> bool:
    """Whether a consent holds in place of another about the same: the newer does, of two at the same instant the
    stricter."""
    return held is None or (new.changed_at, new.state, new.source) > (held.changed_at, held.state, held.source)


def _order(attribute: Attribute) -> tuple[int, str]:
    return attribute.observed_at, f"{type(attribute.value).__name__}:{attribute.value!r}"


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


def owner_of(owners: set[str]) -> str:
    """The one profile that some identities belong to, or an empty string when none of them has one.

    Raises `FailedPrecondition` (IDENTITY_CONFLICT) when they belong to several.
    """
    if len(owners) > 1:
        raise FailedPrecondition(
            "identities: they belong to different profiles; send the facts of each with its own identities",
            reason="IDENTITY_CONFLICT",
        )
    return next(iter(owners), "")


def join(owners: set[str], there: set[str]) -> dict[str, str]:
    """Whom each owner of one person's identities is joined to, when all but one have no profile yet.

    So it is when several writers at once give identities of a new person owners, and each loses some to another. A
    profile that is there stays; else the smallest id does, so that all who see this come to the same.
    Raises `FailedPrecondition` (IDENTITY_CONFLICT) when several are `there`.
    """
    keep = owner_of(owners & there) or min(owners, default="")
    return {owner: keep for owner in owners if owner != keep}
