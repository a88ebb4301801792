"""What a definition would make of a workspace's profiles, before it's published.

Profiles are evaluated partition by partition, in a random order, as many as there is time for. A profile's partition is
a hash of its id, so whole partitions are a sample of everybody that favours nobody. Nothing is written.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from camino.segment.v1 import segment_pb2
from prometheus_client import Counter

from services.chassis.clock import Clock, Instant
from services.chassis.documents import Document
from services.chassis.wire import timestamp
from services.segment import convert
from services.segment.rules import Published
from services.segment.store import Store

_TIME_S = 5.0
_PAGE = 200
_CONFIDENT = 1.96
"""Standard deviations to each side, within which a normal distribution has 95 % of its cases."""


@dataclass(slots=True)
class Tally:
    """Of the profiles looked at, how many are what, and some of each."""

    sample_size: int
    evaluated: int = 0
    errors: int = 0
    counts: dict[str, int] = field(default_factory=lambda: {"member": 0, "entering": 0, "leaving": 0})
    samples: dict[str, list[str]] = field(default_factory=lambda: {"member": [], "entering": [], "leaving": []})

    def add(self, profile_id: str, would_be: bool, is_one: bool) -> None:
        if would_be:
            self._count("member", profile_id)
            if not is_one:
                self._count("entering", profile_id)
        elif is_one:
            self._count("leaving", profile_id)

    def _count(self, what: str, profile_id: str) -> None:
        self.counts[what] += 1
        if len(self.samples[what]) < self.sample_size:
            self.samples[what].append(profile_id)

    def likely(self, what: str, profiles: int) -> int:
        """How many there are of all profiles: exactly, or as is likely."""
        return round(self.counts[what] * profiles / self.evaluated) if self.evaluated else 0

    def margin_percent(self, profiles: int) -> float:
        """How far the likely number of members may be off, with 95 % confidence, in percent of it.

        The normal approximation to sampling without replacement (Cochran, Sampling Techniques, 3.3); where no member
        was found, the rule of three: with 95 % confidence there are at most three for as many as were looked at.
        """
        if self.evaluated >= profiles:
            return 0.0
        left = 1 - self.evaluated / profiles
        if not (members := self.counts["member"]):
            return 100 * 3 * left
        share = members / self.evaluated
        return 100 * _CONFIDENT * math.sqrt((1 - share) / members * left)


class Estimating:
    def __init__(
        self,
        store: Store,
        clock: Clock,
        partitions: int,
        errors: Counter,
        *,
        time_s: float = _TIME_S,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`time_s` is how long it may go on with further partitions, by `elapsed`."""
        self._store = store
        self._clock = clock
        self._partitions = partitions
        self._errors = errors
        self._time_s = time_s
        self._elapsed = elapsed

    async def estimate(
        self, workspace_id: str, wanted: Published, serving: Published | None, sample_size: int
    ) -> segment_pb2.SegmentEstimate:
        """Compare a definition with the one that serves, if there is one."""
        now = self._clock.now()
        end = self._elapsed() + self._time_s
        tally = Tally(sample_size)
        for partition in random.sample(range(self._partitions), self._partitions):
            after = ""
            while True:
                page = await self._store.facts.query("by_edition", workspace_id, partition, limit=_PAGE, after=after)
                self._look_at(page.documents, wanted, serving, now, tally)
                after = page.next
                if not after:
                    break
            if tally.evaluated and self._elapsed() > end:
                break
        profiles = max(tally.evaluated, await self._store.facts.count("by_edition", workspace_id))
        return segment_pb2.SegmentEstimate(
            profile_count=profiles,
            evaluated_count=tally.evaluated,
            member_count=tally.likely("member", profiles),
            entering_count=tally.likely("entering", profiles),
            leaving_count=tally.likely("leaving", profiles),
            margin_percent=tally.margin_percent(profiles),
            member_ids=tally.samples["member"],
            entering_ids=tally.samples["entering"],
            leaving_ids=tally.samples["leaving"],
            evaluation_errors=tally.errors,
            evaluate_time=timestamp(now),
        )

    def _look_at(
        self, documents: list[Document], wanted: Published, serving: Published | None, now: Instant, tally: Tally
    ) -> None:
        for document in documents:
            facts, at = convert.facts_of(document.body), max(now, document.body["as_of"])
            tally.evaluated += 1
            try:
                would_be = wanted.ask(facts, at)[0]
                is_one = serving is not None and serving.ask(facts, at)[0]
            except Exception:
                self._errors.labels("estimate").inc()
                tally.errors += 1
                continue
            tally.add(document.id.partition("/")[2], would_be, is_one)
