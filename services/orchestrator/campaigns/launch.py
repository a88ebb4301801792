"""A campaign's way: scheduled, its audience frozen into shards, running, completed."""

from __future__ import annotations

from collections.abc import Callable

from camino.orchestrator.v1 import campaign_pb2

from services.chassis.clock import HOUR, MILLISECOND, Clock
from services.chassis.documents import Document, change
from services.chassis.ids import derive_id, partition_of
from services.orchestrator.campaigns import shard
from services.orchestrator.clients import Segments
from services.orchestrator.convert import Body
from services.orchestrator.store import Store

CATCH_UP = HOUR
"""A campaign that could not start at its time still does so within this; later it's MISSED."""

_LOOK = 250 * MILLISECOND
_PAGES_PER_STEP = 20


def occurrence_id(workspace_id: str, campaign_id: str, nominal_time: int) -> str:
    """An occurrence is its schedule and nominal time: starting it again is a no-op."""
    return derive_id("occurrence", workspace_id, campaign_id, str(nominal_time))


class Launcher:
    """Moves campaigns whose time has come along, a step each time they wake."""

    def __init__(
        self,
        store: Store,
        segments: Segments,
        clock: Clock,
        partitions: int,
        *,
        hint: Callable[[int, int], None],
        hint_shard: Callable[[int, int], None],
    ) -> None:
        self._store = store
        self._segments = segments
        self._clock = clock
        self._partitions = partitions
        self._hint = hint
        self._hint_shard = hint_shard

    async def woken(self, due: list[Document]) -> None:
        for document in due:
            await self._step(document)

    async def _step(self, document: Document) -> None:
        now = self._clock.now()
        body = dict(document.body)
        if body["state"] == campaign_pb2.CAMPAIGN_STATE_SCHEDULED:
            if now - body["at"] > CATCH_UP:
                body.update(state=campaign_pb2.CAMPAIGN_STATE_MISSED, wake_at=None, updated=now, ended=now)
            else:
                workspace_id, _, campaign_id = document.id.partition("/")
                body.update(
                    state=campaign_pb2.CAMPAIGN_STATE_RUNNING,
                    occurrence=occurrence_id(workspace_id, campaign_id, body["at"]),
                    started=now,
                    pace_from=now,
                    updated=now,
                )
        elif body["state"] == campaign_pb2.CAMPAIGN_STATE_RUNNING and not body["frozen"]:
            if await self._may_freeze(document.id, body):
                await self._freeze(document.id, body)
            else:
                body["wake_at"] = now + _LOOK
        elif body["state"] == campaign_pb2.CAMPAIGN_STATE_RUNNING:
            workspace_id = document.id.partition("/")[0]
            if (
                await self._store.shards.count("by_occurrence", f"{workspace_id}/{body['occurrence']}", 0)
                == body["shards"]
            ):
                body.update(state=campaign_pb2.CAMPAIGN_STATE_COMPLETED, wake_at=None, updated=now, ended=now)
            else:
                body["wake_at"] = now + _LOOK
        else:
            body["wake_at"] = None
        # Someone else's change (a pause, say) wins; what this step did is found again by the next.
        await self._store.campaigns.put([Document(document.id, body, document.rev)])
        self._hint(body["partition"], body["wake_at"] or now)

    async def _may_freeze(self, key: str, body: Body) -> bool:
        """Whether the audience is begun, or can be: all of the segment's members are listed."""
        if body["shards"] or body["audience_token"]:
            return True
        return await self._segments.members_complete(key.partition("/")[0], body["segment"])

    async def _freeze(self, key: str, body: Body) -> None:
        """Write some pages of the audience as shards. A shard that is there already was written by a step that ended
        early: it holds."""
        workspace_id = key.partition("/")[0]
        occurrence = f"{workspace_id}/{body['occurrence']}"
        for _ in range(_PAGES_PER_STEP):
            now = self._clock.now()
            members, token = await self._segments.members(
                workspace_id, body["segment"], shard.SIZE, body["audience_token"]
            )
            id_ = f"{occurrence}/{body['shards']:06d}"
            if members:
                fresh = Document(id_, {"recipients": members, "next": token})
                if (await self._store.audiences.put([fresh])).duplicate:
                    stored = (await self._store.audiences.get([id_])).get(id_)
                    if stored is None:
                        return  # Deleted at this moment, with the campaign and its workspace.
                    members, token = stored.body["recipients"], stored.body["next"]
                partition = partition_of(id_, self._partitions)
                await self._store.shards.put(
                    [Document(id_, shard.new(occurrence, key, partition, len(members), body["total"], now))]
                )
                self._hint_shard(partition, now)
                body["total"] += len(members)
                body["shards"] += 1
            body["audience_token"] = token
            if not token:
                body["frozen"] = True
                return


async def set_state(store: Store, key: str, apply: Callable[[Body], Body | None]) -> Document | None:
    """Change a campaign by `apply`, which returns None to leave it. The campaign as it is then; None if there is
    none."""

    def decide(_id: str, document: Document | None) -> Body | None:
        return apply(document.body) if document else None

    return (await change(store.campaigns, [key], decide)).get(key)
