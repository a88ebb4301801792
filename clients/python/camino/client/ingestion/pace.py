"""How items are gathered, and how long one is tried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MOST_ITEMS = 500
"""What one request may hold; of events it's twice as many."""
MOST_BYTES = 4 * 1024 * 1024
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Raises ValueError for what can't be."""

    batch_items: int = MOST_ITEMS
    """At most this many items in a call, 500 at most."""
    batch_bytes: int = 1024 * 1024
    """At most this many bytes in a call, 4 MiB at most; an item that's larger goes alone."""
    linger_s: float = 0.005
    """How long an item waits for others to share its call."""
    calls: int = 4
    """At most this many calls are under way at a time."""
    unsettled: int = 4_000
    """With this many items whose result isn't known yet, handing over another waits."""
    give_up_s: float = 60.0
    """No attempt is begun when an item is older than this, but for its first."""

    def __post_init__(self) -> None:
        if not 1 <= self.batch_items <= MOST_ITEMS or not 1 <= self.batch_bytes <= MOST_BYTES:
            raise ValueError(f"a call holds 1 to {MOST_ITEMS} items, and 1 to {MOST_BYTES} bytes")
        if self.calls < 1 or self.unsettled < 1 or self.linger_s < 0 or self.give_up_s < 0:
            raise ValueError("there's at least one call and one item, and times aren't negative")


def longest_pauses() -> Iterator[float]:
    """The longest pause before each further attempt, in seconds: twice the one before, up to 5. How long it is within
    that is left to chance, so that those who failed together don't come back together."""
    pause = _FIRST_PAUSE_S
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE_S)
