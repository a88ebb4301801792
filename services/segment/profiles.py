"""Profiles' states in the store: read, let something happen to them, write what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import prometheus_client
import structlog

from services.chassis.clock import Clock, Instant
from services.chassis.documents import Document, change
from services.chassis.errors import Contention
from services.chassis.ids import partition_of
from services.segment import convert, graves
from services.segment.registry import Registry
from services.segment.rules import Rules
from services.segment.standing import FailedVersion, Failure
from services.segment.state import ProfileState, StaleRules
from services.segment.store import SWEEP_AFTER, Store

log = structlog.get_logger()

Happen = Callable[[str, ProfileState, Rules, Instant], None]
"""What happens to the state of a profile, by its key, once it's caught up with time and rules."""

_REFRESHES = 5
_NOWHERE: Mapping[str, str] = {}


@dataclass(slots=True)
class Recorded:
    """What became of profiles, by their keys."""

    owing: list[Document] = field(default_factory=list)
    """Those with transitions that are now to be published."""
    joined: dict[str, str] = field(default_factory=dict)
    """Those that nothing happened to because they turned out to be another profile, and which."""
    erased: set[str] = field(default_factory=set)
    """Those that nothing happened to because they were erased."""
    failures: dict[str, Mapping[FailedVersion, Failure]] = field(default_factory=dict)
    """What couldn't be evaluated for them."""


class Profiles:
    """One read and one compare-and-set for a batch of profiles.

    `errors` counts what couldn't be evaluated. `hint` is told of every instant at which time alone may change
    something.
    """

    def __init__(
        self, store: Store, registry: Registry, clock: Clock, partitions: int, errors: prometheus_client.Counter
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._partitions = partitions
        self._errors = errors
        self.hint: Callable[[int, Instant], None] = lambda partition, at: None

    async def record(
        self,
        keys: Iterable[str],
        happen: Happen | None = None,
        *,
        known: Mapping[str, Document] | None = None,
        places: Mapping[str, str] = _NOWHERE,
    ) -> Recorded:
        """Let time pass for profiles, evaluate what is newly published, and let something happen to them.

        A profile that isn't stored yet is made when something happens to it; one that was merged or erased stays as it
        is. When it returns, all is durable. `places` are where in its trace that is which happens to a profile, if it's
        traced.
        """
        left = list(keys)
        recorded = Recorded()
        deleted: dict[str, int] = {}
        await self._registry.loaded()
        for _ in range(_REFRESHES):
            news: set[str] = set()
            ahead: dict[str, int] = {}
            decide = self._deciding(happen, news, ahead, deleted, places, recorded)
            written = await change(self._store.facts, left, decide, known=known)
            for document in written.values():
                if wake_at := document.body.get("wake_at"):
                    self.hint(document.body["partition"], wake_at)
            recorded.owing += [written[key] for key in left if key in news]
            self._tell_failures(recorded.failures.get(key, {}) for key in left if key not in ahead)
            await self._registry.loaded()
            overtaken = [key for key, document in written.items() if self._is_overtaken(document)]
            if not ahead and not overtaken:
                return recorded
            await self._catch_up(ahead, deleted)
            left, known = [*ahead, *overtaken], None
        raise Contention("definitions kept changing under us")

    def _is_overtaken(self, document: Document) -> bool:
        """Whether a profile was written by rules that weren't the newest any more. We may have been held up for so long
        over it that all others are done with it, and nobody would look at it again."""
        workspace_id = document.id.partition("/")[0]
        edition = document.body.get("edition")
        return edition is not None and edition < self._registry.rules(workspace_id).edition

    def _tell_failures(self, failures: Iterable[Mapping[FailedVersion, Failure]]) -> None:
        causes = Counter[str]()
        for found in failures:
            causes.update(failure.cause.name.lower() for failure in found.values())
        for cause, number in causes.items():
            self._errors.labels(cause).inc(number)
            log.error("segments can't be evaluated", cause=cause, evaluations=number)

    async def _catch_up(self, ahead: Mapping[str, int], deleted: dict[str, int]) -> None:
        """Some profiles were evaluated by editions that we don't know. Another replica has published them; or they
        were `deleted` with their workspace, when what is published there now is older than what the profile knows."""
        newest: dict[str, int] = {}
        for key, edition in ahead.items():
            workspace_id = key.partition("/")[0]
            newest[workspace_id] = max(edition, newest.get(workspace_id, 0))
        for workspace_id, edition in newest.items():
            if (await self._registry.refresh(workspace_id)).edition < edition:
                deleted[workspace_id] = edition

    def _deciding(
        self,
        happen: Happen | None,
        news: set[str],
        ahead: dict[str, int],
        deleted: Mapping[str, int],
        places: Mapping[str, str],
        recorded: Recorded,
    ) -> Callable[[str, Document | None], Any]:
        """Also tells which profiles have `news`, which are `ahead` of us, with their edition, and which are no more:
        both are left."""

        def decide(key: str, document: Document | None) -> dict[str, Any] | None:
            news.discard(key)
            ahead.pop(key, None)
            recorded.failures.pop(key, None)
            if document is None and happen is None:
                return None
            workspace_id, _, profile_id = key.partition("/")
            if document is not None and graves.is_erased(document.body):
                recorded.erased.add(key)
                return None
            if document is not None and (survivor := graves.joined_to(document.body)):
                recorded.joined[key] = convert.key_of(workspace_id, survivor)
                return None
            rules = self._registry.rules(workspace_id)
            state = ProfileState() if document is None else convert.state_of(document.body)
            clock = self._clock.now()
            owed = state.sequence
            try:
                now = state.catch_up(rules, clock, deleted=deleted.get(workspace_id, 0))
            except StaleRules:
                ahead[key] = state.edition
                return None
            if happen is not None:
                happen(key, state, rules, now)
            if state.failures:
                recorded.failures[key] = state.failures
            if not state.changed:
                return None
            if document is None:
                partition = partition_of(profile_id, self._partitions)
                outbox_at = None
            else:
                partition = document.body["partition"]
                outbox_at = document.body.get("outbox_at")
            if state.erased:
                return graves.erased(state, workspace_id, partition, clock)
            if state.joined_to:
                body = graves.grave(state, workspace_id, partition, clock)
            else:
                body = convert.state_body(state, workspace_id, partition)
            if state.sequence > owed:
                news.add(key)
            if state.outbox:
                body["outbox_at"] = outbox_at or clock + SWEEP_AFTER
                # The newest cause's, for all that is owed: one document has one place.
                if place := places.get(key) or (document.body.get("traceparent") if document else None):
                    body["traceparent"] = place
            return body

        return decide
