"""Every transition that was told, kept until its profile is erased.

The id of one ends in its instant and its sequence, each as what is left of it to the last there is: so in the order of
their ids a profile's transitions are listed newest first, and no index over them has to be kept. A transition that is
told again has the same id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from camino.segment.v1.segment_events_pb2 import MembershipChanged

from services.chassis import engine
from services.chassis.documents import Collection, Document
from services.segment import convert
from services.segment.standing import Transition
from services.segment.store import TRANSITIONS

_LAST_INSTANT = 10**18 - 1
_LAST_SEQUENCE = 10**12 - 1
_LEAST_READ = 10
_DELETED_AT_ONCE = 500


def document(key: str, transition: Transition) -> Document:
    """A transition as it's kept of the profile with this key."""
    left, sequence = _LAST_INSTANT - transition.effective_at, _LAST_SEQUENCE - transition.sequence
    return Document(f"{key}/{left:018}/{sequence:012}", {"transition": convert.transition_row(transition)})


async def newest(
    transitions: Collection, workspace_id: str, profile_ids: Iterable[str], limit: int, after: str
) -> tuple[Sequence[MembershipChanged], str]:
    """The newest transitions of some profiles together, and where to go on: to be given as `after` for the next ones;
    empty when there are none.

    Of one instant they're in the order of profile ids. Reads about as many as it returns, however many there are.
    """
    sources = [_Source.after(workspace_id, profile_id, after) for profile_id in set(profile_ids)]
    size = max(limit // max(len(sources), 1), _LEAST_READ)
    found: list[MembershipChanged] = []
    place = ""
    while True:
        if dry := [source for source in sources if not source.read_ahead]:
            await asyncio.gather(*(source.read(transitions, size) for source in dry))
        sources = [source for source in sources if source.read_ahead]
        if not sources:
            return found, ""
        if len(found) == limit:
            return found, place
        first = min(sources, key=lambda source: source.place)
        place = "/".join(first.place)
        found.append(first.take(workspace_id))


async def forget(transitions: Collection, workspace_id: str, profile_id: str) -> None:
    """Delete all of a profile's."""
    after = ""
    while True:
        page = await transitions.scan(limit=_DELETED_AT_ONCE, after=after, prefix=_prefix(workspace_id, profile_id))
        await transitions.delete([document.id for document in page.documents])
        after = page.next
        if not after:
            return


@dataclass(slots=True)
class _Source:
    """One profile's transitions, newest first, as far as they're read ahead."""

    profile_id: str
    prefix: str
    next: str
    """The cursor to what comes after that."""
    read_ahead: deque[Document] = field(default_factory=deque)
    is_read: bool = False

    @classmethod
    def after(cls, workspace_id: str, profile_id: str, place: str) -> _Source:
        """From a place in the order of all on."""
        prefix = _prefix(workspace_id, profile_id)
        if not place:
            return cls(profile_id, prefix, "")
        left, _, rest = place.partition("/")
        last_profile, _, sequence = rest.rpartition("/")
        last = f"{prefix}{left}"
        if profile_id == last_profile:
            last += f"/{sequence}"
        elif profile_id < last_profile:
            # It had its turn at that instant. The next character after the slash, so after all of that instant's.
            last += "0"
        return cls(profile_id, prefix, engine.scan_token(TRANSITIONS.name, prefix, last))

    @property
    def place(self) -> tuple[str, str, str]:
        """Where the first one stands in the order of all: instant, profile, sequence."""
        _, left, sequence = self.read_ahead[0].id.rsplit("/", 2)
        return left, self.profile_id, sequence

    def take(self, workspace_id: str) -> MembershipChanged:
        transition = convert.transition_of(self.read_ahead.popleft().body["transition"])
        return convert.membership_changed(workspace_id, self.profile_id, transition)

    async def read(self, transitions: Collection, size: int) -> None:
        if self.is_read:
            return
        page = await transitions.scan(limit=size, after=self.next, prefix=self.prefix)
        self.read_ahead.extend(page.documents)
        self.next, self.is_read = page.next, not page.next


def _prefix(workspace_id: str, profile_id: str) -> str:
    return f"{convert.key_of(workspace_id, profile_id)}/"
