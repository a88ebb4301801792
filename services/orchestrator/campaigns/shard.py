"""A shard of a campaign's occurrence: how far some hundreds of recipients are. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from services.orchestrator import obligations
from services.orchestrator.convert import Body

SIZE = 500
"""Recipients of a shard: one read of profiles and one write decide them all."""

ERASED = "erased"
"""Why a recipient was dropped who isn't anybody any more."""


def new(occurrence_key: str, campaign_key: str, partition: int, total: int, first: int, now: int) -> Body:
    """A shard with nobody decided. `first` is its first recipient's place in the whole audience."""
    return {
        "occurrence": occurrence_key,
        "campaign": campaign_key,
        "partition": partition,
        "total": total,
        "first": first,
        "open": 1,
        "decided": 0,
        "owed_total": 0,
        "held": [],
        "dropped": {},
        "ended": {},
        "owed": {},
        "unknown": {},
        "resends": 0,
        "resend_at": None,
        "wake_at": now,
    }


def close_if_done(body: Body) -> None:
    """A shard is done when everyone is decided, nobody held, and every message owed has ended."""
    if body["decided"] == body["total"] and not body["held"] and not body["owed"]:
        body["open"] = 0


def settle_shard(body: Body, settled: list[Any]) -> Body | None:
    """A shard's body once messages of it have ended; None when that was known."""
    after = dict(body)
    ended = obligations.settle(after, settled)
    if not ended:
        return None
    counts = add(body["ended"], (state for _, state in ended.values()))
    for before, _ in ended.values():
        if before:
            counts[before] -= 1
    after["ended"] = counts
    close_if_done(after)
    return after


def without(body: Body, recipients: Sequence[str], profile_ids: Collection[str]) -> Body | None:
    """A shard's body once these of its recipients were erased: what is owed to them, or held, counts as dropped, and
    nothing of it is left. None when there was nothing. Those whose turn has yet to come are dropped then."""
    after = dict(body)
    owed, unknown = obligations.call_off(after, profile_ids)
    after["held"] = [[place, until] for place, until in body["held"] if recipients[place] not in profile_ids]
    held = len(body["held"]) - len(after["held"])
    if not owed and not unknown and not held:
        return None
    after["owed_total"] = body["owed_total"] - owed
    after["dropped"] = add(body["dropped"], [ERASED] * (owed + held))
    close_if_done(after)
    return after


def erased(body: Body) -> int:
    """How many recipients were dropped because they were erased."""
    return int(body["dropped"].get(ERASED, 0))


def add(counts: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    """Counts with one more for each name."""
    total = dict(counts)
    for name in names:
        total[name] = total.get(name, 0) + 1
    return total


def allowed(first: int, decided: int, total: int, rate: float, started: int, now: int) -> tuple[int, int]:
    """How many more recipients a throttle lets be decided now, and when the next after them may be.

    Recipient number n of the whole audience has its turn n/rate seconds after the start, in whichever shard it is: the
    shards need not know of each other to keep the rate.
    """
    if rate <= 0:
        return total - decided, 0
    turns = int((now - started) * rate / 1_000_000) + 1 - first if now >= started else 0
    count = max(0, min(total, turns) - decided)
    at = decided + count
    # A microsecond later, lest rounding makes it an instant at which it isn't their turn yet.
    return count, 0 if at >= total else started + int((first + at) * 1_000_000 / rate) + 1
