"""How an occurrence goes: counted from its shards, which are the ledger, so the numbers are exact."""

from __future__ import annotations

from camino.orchestrator.v1 import campaign_pb2

from services.chassis.documents import Document
from services.orchestrator import convert
from services.orchestrator.convert import Body
from services.orchestrator.store import Store


async def occurrence(store: Store, campaign: Document) -> campaign_pb2.Occurrence | None:
    """The occurrence of a campaign that has begun, with its counts at this moment."""
    body = campaign.body
    if not body["occurrence"]:
        return None
    workspace_id = campaign.id.partition("/")[0]
    wire = campaign_pb2.Occurrence(
        occurrence_id=body["occurrence"],
        nominal_time=convert.timestamp(body["at"]),
        start_time=convert.timestamp(body["started"]),
        end_time=convert.timestamp(body["ended"]),
        total=body["total"],
        audience_frozen=body["frozen"],
    )
    for shard in (await _shards(store, f"{workspace_id}/{body['occurrence']}")).values():
        held = len(shard["held"])
        wire.decided += shard["decided"] - held
        wire.held += held
        wire.owed += shard["owed_total"]
        for name, count in shard["dropped"].items():
            wire.dropped[name] += count
        for name, count in shard["ended"].items():
            wire.ended[name] += count
    return wire


async def wire_campaign(store: Store, document: Document) -> campaign_pb2.Campaign:
    workspace_id, _, campaign_id = document.id.partition("/")
    body = document.body
    return campaign_pb2.Campaign(
        workspace_id=workspace_id,
        campaign_id=campaign_id,
        definition=campaign_pb2.CampaignDefinition.FromString(body["definition"]),
        state=body["state"],
        etag=body["etag"],
        create_time=convert.timestamp(body["created"]),
        update_time=convert.timestamp(body["updated"]),
        occurrence=await occurrence(store, document),
    )


async def _shards(store: Store, occurrence_key: str) -> dict[str, Body]:
    """An occurrence's shards. Open ones first: one that closes meanwhile is seen again, and replaced, not counted
    twice."""
    found: dict[str, Body] = {}
    for still_open in (1, 0):
        after = ""
        while True:
            page = await store.shards.query("by_occurrence", occurrence_key, still_open, limit=500, after=after)
            found.update((shard.id, shard.body) for shard in page.documents)
            after = page.next
            if not after:
                break
    return found
