"""What is told of profiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.profile.v1.profile_pb2 import Event, Profile


@dataclass(frozen=True, slots=True)
class Told:
    """What a ProfileChanged says, as far as it's of use to a profile."""

    profile: Profile | None
    """The profile's state; None if it was told of one that was merged into it, whose revision and attributes say
    nothing of this one."""
    merged: Sequence[str]
    """The profiles that turned out to be this one."""
    event: Event | None

    @classmethod
    def by(cls, change: ProfileChanged) -> Told:
        profile = change.profile
        return cls(profile, profile.merged_profile_ids, change.event if change.HasField("event") else None)

    def passed_on(self) -> Told | None:
        """What it says to the profile that this one was merged into; None if that's nothing."""
        return Told(None, self.merged, self.event) if self.merged or self.event else None
