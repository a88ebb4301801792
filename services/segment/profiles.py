"""Profiles' states in the store: read, let something happen to them, write what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from services.chassis.clock import Clock, Instant
from services.chassis.documents import Document, change
from services.chassis.errors import Contention
from services.chassis.ids import partition_of
from services.segment import convert
from services.segment.registry import Registry
from services.segment.rules import Rules
from services.segment.state import ProfileState, StaleRules
from services.segment.store import SWEEP_AFTER, Store

Happen = Callable[[str, ProfileState, Rules, Instant], None]
"""What happens to the state of a profile, by its key, once it's caught up with time and rules."""

_REFRESHES = 5


class Profiles:
    """One read and one compare-and-set for a batch of profiles.

    `hint` is told of every instant at which time alone may change something.
    """

    def __init__(self, store: Store, registry: Registry, clock: Clock, partitions: int) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._partitions = partitions
        self.hint: Callable[[int, Instant], None] = lambda partition, at: None

    async def record(
        self,
        keys: Iterable[str],
        happen: Happen | None = None,
        *,
        known: Mapping[str, Document] | None = None,
    ) -> list[Document]:
        """Let time pass for profiles, evaluate what is newly published, and let something happen to them.

        A profile that isn't stored yet is made when something happens to it. Returns those with transitions that are
        now to be published. When it returns, all is durable.
        """
        wanted = list(keys)
        await self._registry.loaded()
        for _ in range(_REFRESHES):
            news: set[str] = set()
            try:
                written = await change(self._store.facts, wanted, self._deciding(happen, news), known=known)
            except StaleRules as stale:
                # Another replica has published; a profile that it evaluated is ahead of what we know.
                await self._registry.refresh(str(stale))
                known = None
                continue
            for document in written.values():
                if wake_at := document.body.get("wake_at"):
                    self.hint(document.body["partition"], wake_at)
            return [written[key] for key in wanted if key in news]
        raise Contention("definitions kept changing under us")

    def _deciding(self, happen: Happen | None, news: set[str]) -> Callable[[str, Document | None], Any]:
        def decide(key: str, document: Document | None) -> dict[str, Any] | None:
            if document is None and happen is None:
                return None
            workspace_id, _, profile_id = key.partition("/")
            rules = self._registry.rules(workspace_id)
            state = ProfileState() if document is None else convert.state_of(document.body)
            clock = self._clock.now()
            owed = state.sequence
            try:
                now = state.catch_up(rules, clock)
            except StaleRules:
                raise StaleRules(workspace_id) from None
            if happen is not None:
                happen(key, state, rules, now)
            if not state.changed:
                news.discard(key)
                return None
            if document is None:
                partition = partition_of(profile_id, self._partitions)
                outbox_at = None
            else:
                partition = document.body["partition"]
                outbox_at = document.body.get("outbox_at")
            body = convert.state_body(state, workspace_id, partition)
            if state.sequence > owed:
                news.add(key)
            else:
                news.discard(key)
            if state.outbox:
                body["outbox_at"] = outbox_at or clock + SWEEP_AFTER
            return body

        return decide
