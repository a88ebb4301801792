"""`camino.orchestrator.v1.CampaignService`: campaigns and their states. None ever starts by itself."""

from __future__ import annotations

from collections.abc import Callable

from camino.errors.v1 import reason_pb2
from camino.orchestrator.v1 import campaign_pb2
from camino.orchestrator.v1 import campaign_service_pb2 as pb
from camino.testing.fake.publishing import published
from camino.testing.fake.references import References
from camino.testing.fake.refusal import Refusal, invalid, not_found
from camino.testing.fake.values import timestamp
from camino.testing.fake.world import World

_SCHEDULED = campaign_pb2.CAMPAIGN_STATE_SCHEDULED
_RUNNING = campaign_pb2.CAMPAIGN_STATE_RUNNING
_PAUSED = campaign_pb2.CAMPAIGN_STATE_PAUSED
_CANCELLED = campaign_pb2.CAMPAIGN_STATE_CANCELLED

State = campaign_pb2.CampaignState


class Campaigns:
    def __init__(self, world: World) -> None:
        self._world = world

    def ScheduleCampaign(self, request: pb.ScheduleCampaignRequest) -> pb.ScheduleCampaignResponse:
        uses = References(self._world, request.workspace_id)
        version = uses.template(request.definition.send, "definition.send")
        uses.segment(request.definition.segment_id, "definition.segment_id")
        if uses.violations:
            raise invalid(uses.violations, reason_pb2.REASON_INVALID_DEFINITION)
        campaign = published(self._world, campaign_pb2.Campaign, request, version)
        if campaign:
            if campaign.state not in (campaign_pb2.CAMPAIGN_STATE_UNSPECIFIED, _SCHEDULED):
                raise _wrong_state(campaign.state, "only a scheduled campaign can be changed")
            campaign.state = _SCHEDULED
            self._world.put(request.workspace_id, request.campaign_id, campaign)
        return pb.ScheduleCampaignResponse(campaign=self._known(request.workspace_id, request.campaign_id))

    def PauseCampaign(self, request: pb.PauseCampaignRequest) -> pb.PauseCampaignResponse:
        def paused(campaign: campaign_pb2.Campaign) -> State:
            if campaign.state not in (_SCHEDULED, _RUNNING, _PAUSED):
                raise _wrong_state(campaign.state, "only a scheduled or running campaign can be paused")
            return _PAUSED

        return pb.PauseCampaignResponse(campaign=self._move(request, paused))

    def ResumeCampaign(self, request: pb.ResumeCampaignRequest) -> pb.ResumeCampaignResponse:
        def resumed(campaign: campaign_pb2.Campaign) -> State:
            if campaign.state in (_SCHEDULED, _RUNNING):
                return campaign.state
            if campaign.state != _PAUSED:
                raise _wrong_state(campaign.state, "only a paused campaign can be resumed")
            return _RUNNING if campaign.HasField("occurrence") else _SCHEDULED

        return pb.ResumeCampaignResponse(campaign=self._move(request, resumed))

    def CancelCampaign(self, request: pb.CancelCampaignRequest) -> pb.CancelCampaignResponse:
        def cancelled(campaign: campaign_pb2.Campaign) -> State:
            if campaign.state not in (_SCHEDULED, _RUNNING, _PAUSED, _CANCELLED):
                raise _wrong_state(campaign.state, "only a campaign that has not ended can be cancelled")
            return _CANCELLED

        return pb.CancelCampaignResponse(campaign=self._move(request, cancelled))

    def _move(
        self,
        request: pb.PauseCampaignRequest | pb.ResumeCampaignRequest | pb.CancelCampaignRequest,
        to: Callable[[campaign_pb2.Campaign], State],
    ) -> campaign_pb2.Campaign:
        campaign = self._known(request.workspace_id, request.campaign_id)
        state = to(campaign)
        if state != campaign.state:
            changed = campaign_pb2.Campaign()
            changed.CopyFrom(campaign)
            changed.state = state
            changed.update_time.CopyFrom(timestamp(self._world.now()))
            self._world.put(request.workspace_id, request.campaign_id, changed)
            campaign = changed
        return campaign

    def _known(self, workspace_id: str, campaign_id: str) -> campaign_pb2.Campaign:
        found = self._world.get(campaign_pb2.Campaign, workspace_id, campaign_id)
        if found is None:
            raise not_found("campaign", campaign_id)
        return found


def _wrong_state(state: State, rule: str) -> Refusal:
    message = f"{rule}; this one is {campaign_pb2.CampaignState.Name(state)}"
    return Refusal(reason_pb2.REASON_WRONG_STATE, message)
