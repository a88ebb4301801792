"""`camino.orchestrator.v1.CampaignService`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camino.orchestrator.v1 import campaign_pb2, campaign_service_pb2, campaign_service_pb2_grpc

from services.chassis.clock import Clock
from services.chassis.documents import Document
from services.chassis.errors import FailedPrecondition, NotFound
from services.chassis.ids import partition_of
from services.chassis.server import Mounted
from services.chassis.wire import instant
from services.orchestrator.campaigns.launch import set_state
from services.orchestrator.campaigns.progress import wire_campaign
from services.orchestrator.convert import Body
from services.orchestrator.publishing import Checks, check_etag, etag_of
from services.orchestrator.store import Store

_SCHEDULED = campaign_pb2.CAMPAIGN_STATE_SCHEDULED
_RUNNING = campaign_pb2.CAMPAIGN_STATE_RUNNING
_PAUSED = campaign_pb2.CAMPAIGN_STATE_PAUSED
_CANCELLED = campaign_pb2.CAMPAIGN_STATE_CANCELLED


class CampaignServicer(campaign_service_pb2_grpc.CampaignServiceServicer):  # type: ignore[misc]
    def __init__(
        self, store: Store, checks: Checks, clock: Clock, partitions: int, hint: Callable[[int, int], None]
    ) -> None:
        self._store = store
        self._checks = checks
        self._clock = clock
        self._partitions = partitions
        self._hint = hint

    async def ScheduleCampaign(self, request: Any, context: object) -> campaign_service_pb2.ScheduleCampaignResponse:
        template_version = await self._checks.campaign(request.workspace_id, request.definition)
        key = f"{request.workspace_id}/{request.campaign_id}"
        etag = etag_of(request.definition, template_version)
        found = (await self._store.campaigns.get([key])).get(key)
        if found and found.body["etag"] == etag:
            return campaign_service_pb2.ScheduleCampaignResponse(campaign=await wire_campaign(self._store, found))
        check_etag(request.etag, found.body["etag"] if found else "")
        if found and found.body["state"] != _SCHEDULED:
            raise FailedPrecondition(_wrong_state(found.body, "only a scheduled campaign can be changed"))
        now = self._clock.now()
        at = instant(request.definition.schedule.at)
        body: Body = {
            "workspace": request.workspace_id,
            "partition": partition_of(key, self._partitions),
            "definition": request.definition.SerializeToString(deterministic=True),
            "segment": request.definition.segment_id,
            "template_version": template_version,
            "rate": request.definition.messages_per_second,
            "etag": etag,
            "state": _SCHEDULED,
            "at": at,
            "wake_at": at,
            "created": found.body["created"] if found else now,
            "updated": now,
            "occurrence": "",
            "started": 0,
            "ended": 0,
            "pace_from": 0,
            "paused_at": 0,
            "audience_token": "",
            "frozen": False,
            "total": 0,
            "shards": 0,
        }
        document = Document(key, body, found.rev if found else 0)
        if not (await self._store.campaigns.put([document])).saved:
            return await self.ScheduleCampaign(request, context)
        self._hint(body["partition"], at)
        return campaign_service_pb2.ScheduleCampaignResponse(campaign=await wire_campaign(self._store, document))

    async def GetCampaign(self, request: Any, context: object) -> campaign_service_pb2.GetCampaignResponse:
        key = f"{request.workspace_id}/{request.campaign_id}"
        found = (await self._store.campaigns.get([key])).get(key)
        if found is None:
            raise NotFound.of("campaign", request.campaign_id)
        return campaign_service_pb2.GetCampaignResponse(campaign=await wire_campaign(self._store, found))

    async def ListCampaigns(self, request: Any, context: object) -> campaign_service_pb2.ListCampaignsResponse:
        page = await self._store.campaigns.query(
            "by_workspace", request.workspace_id, limit=request.page_size or 100, after=request.page_token
        )
        return campaign_service_pb2.ListCampaignsResponse(
            campaigns=[await wire_campaign(self._store, document) for document in page.documents],
            next_page_token=page.next,
        )

    async def PauseCampaign(self, request: Any, context: object) -> campaign_service_pb2.PauseCampaignResponse:
        now = self._clock.now()

        def pause(body: Body) -> Body | None:
            if body["state"] == _PAUSED:
                return None
            if body["state"] not in (_SCHEDULED, _RUNNING):
                raise FailedPrecondition(_wrong_state(body, "only a scheduled or running campaign can be paused"))
            return {**body, "state": _PAUSED, "paused_at": now, "wake_at": None, "updated": now}

        return campaign_service_pb2.PauseCampaignResponse(campaign=await self._set(request, pause))

    async def ResumeCampaign(self, request: Any, context: object) -> campaign_service_pb2.ResumeCampaignResponse:
        now = self._clock.now()

        def resume(body: Body) -> Body | None:
            if body["state"] in (_SCHEDULED, _RUNNING):
                return None
            if body["state"] != _PAUSED:
                raise FailedPrecondition(_wrong_state(body, "only a paused campaign can be resumed"))
            if not body["occurrence"]:
                return {**body, "state": _SCHEDULED, "wake_at": body["at"], "updated": now}
            # The throttle goes on where it stood: what was not sent in the pause is not sent in a burst after it.
            pace_from = body["pace_from"] + now - body["paused_at"]
            return {**body, "state": _RUNNING, "wake_at": now, "pace_from": pace_from, "updated": now}

        return campaign_service_pb2.ResumeCampaignResponse(campaign=await self._set(request, resume))

    async def CancelCampaign(self, request: Any, context: object) -> campaign_service_pb2.CancelCampaignResponse:
        now = self._clock.now()

        def cancel(body: Body) -> Body | None:
            if body["state"] == _CANCELLED:
                return None
            if body["state"] not in (_SCHEDULED, _RUNNING, _PAUSED):
                raise FailedPrecondition(_wrong_state(body, "only a campaign that has not ended can be cancelled"))
            return {**body, "state": _CANCELLED, "wake_at": None, "updated": now, "ended": now}

        return campaign_service_pb2.CancelCampaignResponse(campaign=await self._set(request, cancel))

    async def _set(self, request: Any, apply: Callable[[Body], Body | None]) -> campaign_pb2.Campaign:
        document = await set_state(self._store, f"{request.workspace_id}/{request.campaign_id}", apply)
        if document is None:
            raise NotFound.of("campaign", request.campaign_id)
        if document.body["wake_at"]:
            self._hint(document.body["partition"], document.body["wake_at"])
        return await wire_campaign(self._store, document)


def _wrong_state(body: Body, rule: str) -> str:
    return f"{rule}; this one is {campaign_pb2.CampaignState.Name(body['state'])}"


def mounted(servicer: CampaignServicer) -> Mounted:
    return Mounted(
        campaign_service_pb2_grpc.add_CampaignServiceServicer_to_server,
        servicer,
        "camino.orchestrator.v1.CampaignService",
    )
