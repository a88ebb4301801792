"""How each method is answered: by the class that has it, or like all methods that get or list."""

from __future__ import annotations

from collections.abc import Mapping

from camino.testing.fake.boundary import Answer
from camino.testing.fake.campaigns import Campaigns
from camino.testing.fake.journeys import Journeys
from camino.testing.fake.messages import Messages
from camino.testing.fake.operations import DeadLetters, Workspaces
from camino.testing.fake.personal_data import PersonalData
from camino.testing.fake.profile_rules import ProfileRules
from camino.testing.fake.reading import reading
from camino.testing.fake.rights import Rights
from camino.testing.fake.segments import Segments
from camino.testing.fake.streaming import StreamedProfiles
from camino.testing.fake.templates import Templates
from camino.testing.fake.webhooks import MembershipWebhooks
from camino.testing.fake.world import World
from camino.testing.rpcs import Rpc, rpcs


def answers(world: World, segments: Segments, deletable: str) -> Mapping[Rpc, Answer]:
    """Of all methods. Raises NotImplementedError if the contract has one that nothing here knows."""
    journeys, held = Journeys(world), PersonalData(world, segments.transitions)
    classes: dict[str, object] = {
        "camino.profile.v1.ProfileService": StreamedProfiles(world, journeys.trigger, segments.transitions.merge),
        "camino.profile.v1.ProfileRulesService": ProfileRules(world),
        "camino.profile.v1.OperationService": Rights(world, held),
        "camino.segment.v1.SegmentService": segments,
        "camino.segment.v1.MembershipWebhookService": MembershipWebhooks(world),
        "camino.orchestrator.v1.JourneyService": journeys,
        "camino.orchestrator.v1.CampaignService": Campaigns(world),
        "camino.channels.v1.TemplateService": Templates(world),
        "camino.channels.v1.MessageService": Messages(world),
        "camino.ops.v1.DeadLetterService": DeadLetters(world),
        "camino.ops.v1.PersonalDataService": held,
        "camino.ops.v1.WorkspaceService": Workspaces(world, deletable),
    }
    found = dict[Rpc, Answer]()
    for rpc in rpcs():
        answer = getattr(classes.get(rpc.service), rpc.method, None) or reading(world, rpc)
        if answer is None:
            raise NotImplementedError(f"the fake doesn't know how to answer {rpc.full_name}")
        found[rpc] = answer
    return found
