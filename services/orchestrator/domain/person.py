"""What deciding and sending need to know of a profile. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OPTED_IN, OPTED_OUT = 1, 2


@dataclass(frozen=True, slots=True)
class Person:
    """A profile as it is at the moment of a decision. `consents` maps (channel, topic) to OPTED_IN or OPTED_OUT."""

    profile_id: str
    endpoints: Mapping[int, str] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    consents: Mapping[tuple[int, str], int] = field(default_factory=dict)
    time_zone: str = ""
    locale: str = ""
    merged_ids: tuple[str, ...] = ()
    """Of profiles that turned out to be the same person."""
    updated_at: int = 0
    """When the profile last changed; a merge is a change."""

    @property
    def ids(self) -> tuple[str, ...]:
        """All that are the person's, that of the profile first."""
        return self.profile_id, *self.merged_ids
