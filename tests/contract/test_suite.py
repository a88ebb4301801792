"""The suite sees what is broken: each behaviour that is taken away here makes the case fail that proves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from camino.ops.v1 import workspace_service_pb2
from camino.orchestrator.v1 import campaign_service_pb2
from camino.testing.contract.suite import cases
from camino.testing.contract.target import Target

from services.chassis import engine, validation
from services.chassis.callers import Caller
from services.chassis.documents import Document
from services.chassis.errors import EtagMismatch, FailedPrecondition, NotFound, Status
from services.chassis.interceptors import Boundary
from services.chassis.ops import WorkspaceServicer
from services.chassis.validation import RequestValidator
from services.orchestrator import journey_service
from services.orchestrator.campaign_service import CampaignServicer
from services.orchestrator.journey_service import JourneyServicer
from services.profile import convert, outbox
from services.profile.gathering import Gathering
from services.profile.operations.service import OperationServicer
from services.profile.rules_service import ProfileRulesServicer
from services.profile.service import ProfileServicer
from services.segment.service import SegmentServicer
from tests.contract import streams_sabotaged as streams
from tests.contract import tellings_sabotaged as tellings
from tests.contract.services import services

Sabotage = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Services of their own: what is broken here must not be met elsewhere."""
    with services(tmp_path_factory.mktemp("sabotaged")) as (target, _observed):
        # Nothing here takes longer, and some of what is taken away is waited for in vain.
        target.patience_s = 2
        yield target


def is_missed(target: Target, subject: str, check: str) -> bool:
    """Whether a case of this kind fails for the method or fact."""
    proofs = [case for case in cases() if (case.subject, case.check) == (subject, check)]
    assert proofs
    for case in proofs:
        try:
            case.run(target)
        except AssertionError:
            return True
    return False


def validation_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RequestValidator, "check", lambda *_: None)


def fields_unnamed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(validation, "_path", lambda _elements: "")


def wrong_status(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(NotFound, "status", Status.FAILED_PRECONDITION)


def undeclared_reason(patch: pytest.MonkeyPatch) -> None:
    async def get(*_: object) -> None:
        raise FailedPrecondition("not now")

    patch.setattr(JourneyServicer, "GetRun", get)


def fault_of_its_own(patch: pytest.MonkeyPatch) -> None:
    async def get(*_: object) -> None:
        raise KeyError("profile_ids")

    patch.setattr(ProfileServicer, "BatchGetProfiles", get)


def etag_unchecked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journey_service, "check_etag", lambda *_: None)


def events_taken_twice(patch: pytest.MonkeyPatch) -> None:
    take, numbers = Gathering.__call__, count()

    async def events(self: Any, workspace_id: str, items: Any, violations: Any) -> Any:
        for item in items:
            item.event_id += f"-{next(numbers)}"
        return await take(self, workspace_id, items, violations)

    patch.setattr(Gathering, "__call__", events)


def reading_writes(patch: pytest.MonkeyPatch) -> None:
    get, numbers = ProfileServicer.GetProfile, count()

    async def get_and_write(self: Any, request: Any, context: object) -> Any:
        await self._store.identities.put([Document(f"{request.workspace_id}/seen:{next(numbers)}", {})])
        return await get(self, request, context)

    patch.setattr(ProfileServicer, "GetProfile", get_and_write)


def page_size_ignored(patch: pytest.MonkeyPatch) -> None:
    list_segments = SegmentServicer.ListSegments

    async def list_all(self: Any, request: Any, context: object) -> Any:
        request.page_size = 1_000
        return await list_segments(self, request, context)

    patch.setattr(SegmentServicer, "ListSegments", list_all)


def page_repeated(patch: pytest.MonkeyPatch) -> None:
    list_profiles = ProfileServicer.ListProfiles

    async def list_first(self: Any, request: Any, context: object) -> Any:
        request.page_token = ""
        return await list_profiles(self, request, context)

    patch.setattr(ProfileServicer, "ListProfiles", list_first)


def foreign_token_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "last_id", lambda *_: None)


def scope_unasked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Caller, "must_have", lambda *_: None)


def workspace_unasked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Caller, "must_reach", lambda *_: None)


def works_on_after_the_deadline(patch: pytest.MonkeyPatch) -> None:
    answer = Boundary._answer

    async def answer_all(self: Any, method: Any, caller: Any, call: Any, request: Any, context: Any) -> Any:
        return await answer(self, method, caller, lambda *given: asyncio.shield(call(*given)), request, context)

    patch.setattr(Boundary, "_answer", answer_all)


def reply_unsound(patch: pytest.MonkeyPatch) -> None:
    fill = convert.fill_profile

    def fill_badly(wire: Any, *given: Any) -> None:
        fill(wire, *given)
        wire.revision = 0

    patch.setattr(convert, "fill_profile", fill_badly)


def wrong_subject(patch: pytest.MonkeyPatch) -> None:
    name = outbox.subject_of
    patch.setattr(outbox, "subject_of", lambda kind, workspace, partition, _key: name(kind, workspace, partition, "x"))


def any_scope_will_do(patch: pytest.MonkeyPatch) -> None:
    must_have = Caller.must_have
    patch.setattr(Caller, "must_have", lambda self, scope: None if self.scopes.written else must_have(self, scope))


def dead_letters_for_everybody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Caller, "must_reach_everything", lambda *_: None)


def others_are_listed(patch: pytest.MonkeyPatch) -> None:
    list_own, full = SegmentServicer.ListSegments, set[str]()

    async def list_any(self: Any, request: Any, context: object) -> Any:
        reply = await list_own(self, request, context)
        if reply.segments:
            full.add(request.workspace_id)
        elif full:
            request.workspace_id = next(iter(full))
            return await list_own(self, request, context)
        return reply

    patch.setattr(SegmentServicer, "ListSegments", list_any)


def results_turned_round(patch: pytest.MonkeyPatch) -> None:
    take = Gathering.__call__

    async def events(*given: Any) -> Any:
        first, *others = await take(*given)
        return [*others, first]

    patch.setattr(Gathering, "__call__", events)


def results_left_out(patch: pytest.MonkeyPatch) -> None:
    take = Gathering.__call__

    async def events(*given: Any) -> Any:
        return (await take(*given))[:-1]

    patch.setattr(Gathering, "__call__", events)


def another_is_read(patch: pytest.MonkeyPatch) -> None:
    get = JourneyServicer.GetJourney

    async def get_other(self: Any, request: Any, context: object) -> Any:
        reply = await get(self, request, context)
        reply.journey.journey_id = "other"
        return reply

    patch.setattr(JourneyServicer, "GetJourney", get_other)


def pausing_does_nothing(patch: pytest.MonkeyPatch) -> None:
    async def pause(self: CampaignServicer, request: Any, context: object) -> Any:
        read = await self.GetCampaign(request, context)
        return campaign_service_pb2.PauseCampaignResponse(campaign=read.campaign)

    patch.setattr(CampaignServicer, "PauseCampaign", pause)


def deleting_does_nothing(patch: pytest.MonkeyPatch) -> None:
    async def delete(*_: object) -> workspace_service_pb2.DeleteWorkspaceResponse:
        return workspace_service_pb2.DeleteWorkspaceResponse()

    patch.setattr(WorkspaceServicer, "DeleteWorkspace", delete)


def every_writer_wins(patch: pytest.MonkeyPatch) -> None:
    """An etag that was current once is let through for ever."""
    known: dict[str, int] = {}

    def check(given: str, current: str) -> None:
        known[current] = 1
        if given and given not in known:
            raise EtagMismatch(current)

    patch.setattr(journey_service, "check_etag", check)


def tokens_of_any_list(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "order", lambda *of: "any")


def fault_on_what_is_there(patch: pytest.MonkeyPatch) -> None:
    set_state = JourneyServicer.SetJourneyState

    async def fail(self: Any, request: Any, context: object) -> Any:
        await set_state(self, request, context)
        raise KeyError(request.journey_id)

    patch.setattr(JourneyServicer, "SetJourneyState", fail)


def export_cut_short(patch: pytest.MonkeyPatch) -> None:
    read = OperationServicer.ReadExport

    async def read_most(self: Any, request: Any, context: object) -> Any:
        reply = await read(self, request, context)
        reply.part = reply.part[:-3]
        return reply

    patch.setattr(OperationServicer, "ReadExport", read_most)


def export_of_any_token(patch: pytest.MonkeyPatch) -> None:
    read = OperationServicer.ReadExport

    async def read_first(self: Any, request: Any, context: object) -> Any:
        request.page_token = ""
        return await read(self, request, context)

    patch.setattr(OperationServicer, "ReadExport", read_first)


def sources_forgotten(patch: pytest.MonkeyPatch) -> None:
    publish = ProfileRulesServicer.PublishProfileRules

    async def publish_namespaces(self: Any, request: Any, context: object) -> Any:
        del request.definition.sources[:]
        return await publish(self, request, context)

    patch.setattr(ProfileRulesServicer, "PublishProfileRules", publish_namespaces)


@pytest.mark.parametrize(
    ("sabotage", "subject", "check"),
    [
        (validation_dropped, "ProfileService.GetProfile", "refuses"),
        (fields_unnamed, "MessageService.ResolveMessage", "refuses"),
        (wrong_status, "SegmentService.GetSegment", "finds nothing in an empty workspace"),
        (undeclared_reason, "JourneyService.GetRun", "finds nothing in an empty workspace"),
        (fault_of_its_own, "ProfileService.BatchGetProfiles", "answers what is valid"),
        (etag_unchecked, "JourneyService.PublishJourney", "refuses a stale etag"),
        (events_taken_twice, "ProfileService.IngestEvents", "acts once when repeated"),
        (reading_writes, "ProfileService.GetProfile", "changes nothing"),
        (page_size_ignored, "SegmentService.ListSegments", "pages completely"),
        (page_repeated, "ProfileService.ListProfiles", "pages stably while more comes"),
        (foreign_token_taken, "SegmentService.ListSegments", "refuses a foreign page token"),
        (scope_unasked, "TemplateService.GetTemplate", "needs its scope"),
        (workspace_unasked, "TemplateService.GetTemplate", "keeps workspaces apart"),
        (works_on_after_the_deadline, "TemplateService.ListTemplates", "keeps a deadline"),
        (reply_unsound, "ProfileService.GetProfile", "takes its example"),
        (wrong_subject, "camino.profile.v1.ProfileChanged", "is published as declared"),
        (any_scope_will_do, "TemplateService.GetTemplate", "needs exactly its scope"),
        (dead_letters_for_everybody, "DeadLetterService.ListDeadLetters", "keeps workspaces apart"),
        (others_are_listed, "SegmentService.ListSegments", "keeps to its workspace"),
        (results_turned_round, "ProfileService.IngestEvents", "tells of each item in its place"),
        (results_left_out, "ProfileService.IngestEvents", "takes its example"),
        (another_is_read, "JourneyService.GetJourney", "takes its example"),
        (pausing_does_nothing, "CampaignService.PauseCampaign", "does what it says"),
        (deleting_does_nothing, "WorkspaceService.DeleteWorkspace", "leaves nothing"),
        (every_writer_wins, "JourneyService.PublishJourney", "lets one of many through"),
        (tokens_of_any_list, "ProfileService.ListProfiles", "refuses a foreign page token"),
        (fault_on_what_is_there, "JourneyService.SetJourneyState", "answers what is valid of what is there"),
        (export_cut_short, "OperationService.ReadExport", "gives the whole in parts"),
        (export_of_any_token, "OperationService.ReadExport", "refuses a foreign page token"),
        (sources_forgotten, "ProfileRulesService.PublishProfileRules", "does what it says"),
        (streams.answers_turned_round, "ProfileService.StreamEvents", "answers in order"),
        (streams.sequence_lost, "ProfileService.StreamProfiles", "answers in order"),
        (results_turned_round, "ProfileService.StreamEvents", "answers in order"),
        (streams.answers_at_the_end, "ProfileService.StreamEvents", "answers while it goes on"),
        (streams.stream_of_its_own, "ProfileService.StreamEvents", "answers as its unary twin"),
        (streams.fault_overtakes, "ProfileService.StreamEvents", "ends for a broken request in its turn"),
        (streams.reads_past_a_fault, "ProfileService.StreamProfiles", "ends for a broken request in its turn"),
        (streams.taken_twice_over_another, "ProfileService.StreamEvents", "goes on where another ended"),
        (streams.never_ends, "ProfileService.StreamEvents", "ends when no more is asked"),
        (streams.reads_nine_ahead, "ProfileService.StreamEvents", "reads no further than it answers"),
        (streams.works_on_for_nobody, "ProfileService.StreamEvents", "reads no further than it answers"),
        (streams.works_on_for_nobody, "ProfileService.StreamEvents", "keeps a deadline"),
        (streams.streams_for_everybody, "ProfileService.StreamEvents", "knows its callers"),
        (streams.streams_for_everybody, "ProfileService.StreamEvents", "needs exactly its scope"),
        (streams.streams_for_everybody, "ProfileService.StreamProfiles", "keeps workspaces apart"),
        (tellings.tells_only_what_there_is, "SegmentService.WatchMemberships", "tells what comes"),
        (tellings.tells_only_what_comes, "SegmentService.WatchMemberships", "tells what comes"),
        (tellings.begins_anew_at_any_cursor, "SegmentService.WatchMemberships", "goes on from its cursor"),
        (tellings.goes_on_at_the_end, "SegmentService.WatchMemberships", "goes on from its cursor"),
        (tellings.ends_when_all_is_told, "SegmentService.WatchMemberships", "tells what comes"),
        (tellings.any_cursor_will_do, "SegmentService.WatchMemberships", "refuses a foreign cursor"),
        (tellings.cursors_of_any_question, "SegmentService.WatchMemberships", "refuses a foreign cursor"),
        (tellings.watches_for_nobody, "SegmentService.WatchMemberships", "keeps a deadline"),
        (tellings.watches_for_nobody, "SegmentService.WatchMemberships", "stops when cancelled"),
        (tellings.tells_everybody, "SegmentService.WatchMemberships", "knows its callers"),
        (tellings.tells_everybody, "SegmentService.WatchMemberships", "keeps workspaces apart"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_is_taken_away_is_missed(
    target: Target, monkeypatch: pytest.MonkeyPatch, sabotage: Sabotage, subject: str, check: str
) -> None:
    sabotage(monkeypatch)
    assert is_missed(target, subject, check)
