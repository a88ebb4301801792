"""Items that wait to be sent, and which of them go together. No I/O: the time is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from camino.client.ingestion.pace import Pace
from camino.client.ingestion.receipt import Receipt
from camino.profile.v1.profile_service_pb2 import EventInput, ProfileInput

Input = EventInput | ProfileInput
# A tag and a length for each item of a repeated field.
_OVERHEAD = 6


@dataclass(slots=True, eq=False)
class Item:
    number: int
    """Its place among all that were handed over, from 0."""
    input: Input
    receipt: Receipt
    since: float
    """When it was handed over."""
    people: frozenset[tuple[str, str]]
    """Whose it is, by every name it gives."""
    size: int

    @classmethod
    def of(cls, number: int, input: Input, receipt: Receipt, now: float) -> Item:
        return cls(number, input, receipt, now, frozenset(_people(input)), input.ByteSize() + _OVERHEAD)


def _people(input: Input) -> Iterable[tuple[str, str]]:
    if isinstance(input, EventInput) and input.WhichOneof("subject") == "profile_id":
        return [("", input.profile_id)]
    identities = input.identities if isinstance(input, ProfileInput) else [input.identity]
    # Camino trims and lower-cases some values: what may be the same person is taken for the same.
    return [(identity.namespace, identity.value.strip().lower()) for identity in identities]


class Waiting:
    """Items in the order they came. Of one person, no item is given out while an earlier one is under way, and none
    before an earlier one: so they're taken in the order they came."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._items: deque[Item] = deque()
        self._size = 0
        self._busy: set[tuple[str, str]] = set()
        self.due_at: float | None = None
        """When the next batch is due at the latest, if none gets full before; None while all wait for what is under
        way."""

    def __len__(self) -> int:
        return len(self._items)

    def all(self) -> list[Item]:
        return list(self._items)

    def add(self, item: Item) -> bool:
        """Whether it's time to look for a batch: the item may be the first of one, or may have filled one."""
        self._items.append(item)
        before = self._size
        self._size += item.size
        count = len(self._items)
        bytes_ = self._pace.batch_bytes
        return self.due_at is None or count % self._pace.batch_items == 0 or before // bytes_ != self._size // bytes_

    def take(self, now: float, *, at_once: bool = False) -> list[Item]:
        """The next batch, all of one kind; empty if none is due. Give it back by `done`."""
        batch: list[Item] = []
        size = 0
        full = False
        blocked = set(self._busy)
        for item in self._items:
            if not item.people.isdisjoint(blocked) or (batch and type(item.input) is not type(batch[0].input)):
                blocked |= item.people
                continue
            if batch and size + item.size > self._pace.batch_bytes:
                full = True
                break
            batch.append(item)
            size += item.size
            if len(batch) == self._pace.batch_items:
                full = True
                break
        self.due_at = batch[0].since + self._pace.linger_s if batch else None
        if not batch or not (full or at_once or batch[0].since + self._pace.linger_s <= now):
            return []
        taken = set(batch)
        self._items = deque(item for item in self._items if item not in taken)
        self._size -= size
        self._busy.update(*(item.people for item in batch))
        return batch

    def done(self, batch: Iterable[Item]) -> None:
        """These are under way no more."""
        self._busy.difference_update(*(item.people for item in batch))
