"""How many there are: members, profiles, and those of them that have been evaluated."""

from __future__ import annotations

from collections import Counter

from services.segment import convert, finding
from services.segment.store import Store


class Counting:
    """Counts in one workspace, each thing once: for one answer, not for longer."""

    def __init__(self, store: Store, workspace_id: str, partitions: int) -> None:
        self._store = store
        self._workspace_id = workspace_id
        self._partitions = partitions
        self._profiles: int | None = None
        self._failing: Counter[str] | None = None
        self._evaluated: dict[int, int] = {}

    async def members(self, segment_id: str) -> int:
        """By the version of a segment that serves."""
        return await self._store.memberships.count("members", convert.member_of(self._workspace_id, segment_id))

    async def profiles(self) -> int:
        if self._profiles is None:
            self._profiles = await self._store.facts.count("by_edition", self._workspace_id)
        return self._profiles

    async def evaluated(self, edition: int) -> int:
        """How many profiles have been evaluated at an edition or a later one."""
        if edition not in self._evaluated:
            behind = [
                await self._store.facts.count("by_edition", self._workspace_id, partition, below=edition)
                for partition in range(self._partitions)
            ]
            self._evaluated[edition] = max(0, await self.profiles() - sum(behind))
        return self._evaluated[edition]

    async def failing(self) -> Counter[str]:
        """For how many profiles each segment can't be evaluated."""
        if self._failing is None:
            self._failing = await finding.failing_in(self._store.facts, self._workspace_id)
        return self._failing
