"""How a profile stands in a segment, how it came to that, and how it will. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from services.segment.evaluate import NEVER

FailedVersion = tuple[str, int]
"""A segment's version that couldn't be evaluated for a profile: its id, and its number."""


class Cause(IntEnum):
    """Why a membership changed; as in the contract."""

    EVENT = 1
    PROFILE = 2
    TIME = 3
    EDIT = 4
    MERGE = 5
    ERASURE = 6


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule couldn't be evaluated for a profile: at which instant, because of what, and by which version."""

    at: int
    error: str
    """The name of the error: its words may quote facts."""
    cause: Cause
    event_id: str
    version: int


@dataclass(slots=True)
class Membership:
    """One profile's standing in one segment. Times are 0 when it hasn't happened; `until` says when time alone may
    change it."""

    member: bool = False
    entered_at: int = 0
    exited_at: int = 0
    until: int = NEVER
    cause: int = 0
    """Of the last transition, as a `Cause`; 0 when there was none, or it isn't known."""
    event_id: str = ""
    version: int = 0
    failure: Failure | None = None
    """Why what it's now isn't known; None when it is."""


@dataclass(slots=True)
class Prospect:
    """What the upcoming version of a segment says of a profile. One that says no, of a profile that is no member, and
    won't say otherwise by time alone, isn't kept."""

    edition: int
    """That version's."""
    member: bool = False
    until: int = NEVER
    failure: Failure | None = None


class Transition(NamedTuple):
    """A profile entered or left a segment. `sequence` counts the profile's transitions from 1."""

    sequence: int
    segment_id: str
    member: bool
    effective_at: int
    cause: Cause
    event_id: str
    version: int
