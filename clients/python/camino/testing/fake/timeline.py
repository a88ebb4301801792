"""What happened to profiles, besides their events: what they consented to, and what became of their identities."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from camino.profile.v1 import profile_pb2
from camino.profile.v1 import profile_service_pb2 as pb
from camino.testing.fake.rules import Identity
from camino.testing.fake.values import timestamp


class Timeline:
    """Entries stay under the id of the profile that they were taken for. The same entry again is no second one."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, Identity | None, bytes], pb.TimelineEntry] = {}

    def consents(self, profile_id: str, told_of: Identity, consents: Iterable[profile_pb2.Consent]) -> None:
        for consent in consents:
            self._add(profile_id, pb.TimelineEntry(at=consent.changed_at, consent=consent), told_of)

    def identities(
        self, profile_id: str, kind: pb.IdentityChangeKind, identities: Iterable[Identity], other: str, now: int
    ) -> None:
        change = pb.IdentityChange(kind=kind, identities=map(wire, identities), other_profile_id=other)
        self._add(profile_id, pb.TimelineEntry(at=timestamp(now), identity_change=change))

    def of(self, profile_ids: Container[str]) -> Iterator[tuple[str, pb.TimelineEntry]]:
        """The entries of profiles, with what tells each from the others."""
        for number, ((profile_id, *_), entry) in enumerate(self._entries.items()):
            if profile_id in profile_ids:
                yield f"{number:012}", entry

    def erase(self, profile_id: str) -> None:
        for key in [key for key in self._entries if key[0] == profile_id]:
            del self._entries[key]

    def snapshot(self) -> object:
        return list(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _add(self, profile_id: str, entry: pb.TimelineEntry, told_of: Identity | None = None) -> None:
        self._entries.setdefault((profile_id, told_of, entry.SerializeToString(deterministic=True)), entry)


def wire(identity: Identity) -> profile_pb2.Identity:
    return profile_pb2.Identity(namespace=identity[0], value=identity[1])
