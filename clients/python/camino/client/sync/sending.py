"""Many profiles or events, sent as fast as Camino takes them, for the blocking flavour."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from camino.client.ingestion.pace import MOST_BYTES, Pace, longest_pauses
from camino.client.items import ItemFailed
from camino.client.sync.streaming import Stream
from camino.profile.v1.profile_service_pb2 import ItemResult

Outcome: TypeAlias = "ItemResult | ItemFailed"
"""What became of an item: its result, or why it was refused."""

# A tag and a length for each item of a repeated field.
_OVERHEAD = 6


def send_all(
    items: Iterable[Any],
    pace: Pace,
    stream: Stream,
    request_of: Callable[[Sequence[Any]], Any],
    send_again: Callable[[Sequence[Any]], Any],
) -> Iterator[Outcome]:
    """One outcome for each item, in order. While `pace.calls` requests have no answer, no item more is taken.

    `request_of` makes a request of the stream; `send_again` is the unary method, for items that ran into contention.
    Raises `CaminoError` when it can't go on, and ValueError for an item of more than 4 MiB.
    """
    sent = 0
    under_way: list[list[Any]] = []
    try:
        for batch in _batches(items, pace):
            if len(stream) == pace.calls:
                first = under_way.pop(0)
                yield from _outcomes(first, sent, stream.answer().results, send_again, pace)
                sent += len(first)
            under_way.append(batch)
            stream.send(request_of(batch))
        for batch in under_way:
            yield from _outcomes(batch, sent, stream.answer().results, send_again, pace)
            sent += len(batch)
    finally:
        stream.close()


def _batches(items: Iterable[Any], pace: Pace) -> Iterator[list[Any]]:
    batch: list[Any] = []
    size = 0
    for item in items:
        bytes_ = item.ByteSize() + _OVERHEAD
        if bytes_ > MOST_BYTES:
            raise ValueError(f"an item of {bytes_} bytes is too large for any call")
        if batch and (len(batch) == pace.batch_items or size + bytes_ > pace.batch_bytes):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += bytes_
    if batch:
        yield batch


def _outcomes(
    batch: Sequence[Any],
    begin: int,
    results: Sequence[ItemResult],
    send_again: Callable[[Sequence[Any]], Any],
    pace: Pace,
) -> Iterator[Outcome]:
    """`begin`: the number of the first item."""
    outcomes = dict(enumerate(_told(batch, range(begin, begin + len(batch)), results)))
    since = time.monotonic()
    for longest in longest_pauses():
        contended = [place for place, told in outcomes.items() if isinstance(told, ItemFailed) and told.retryable]
        pause = longest * random.random()
        if not contended or time.monotonic() + pause > since + pace.give_up_s:
            break
        time.sleep(pause)
        again = [batch[place] for place in contended]
        numbers = [begin + place for place in contended]
        outcomes.update(zip(contended, _told(again, numbers, send_again(again).results), strict=True))
    yield from outcomes.values()


def _told(items: Sequence[Any], numbers: Iterable[int], results: Sequence[ItemResult]) -> Iterator[Outcome]:
    for item, number, result in zip(items, numbers, results, strict=True):
        yield ItemFailed(number, item, result.error) if result.HasField("error") else result
