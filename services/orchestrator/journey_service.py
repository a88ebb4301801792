"""`camino.orchestrator.v1.JourneyService`."""

from __future__ import annotations

from typing import Any

from camino.orchestrator.v1 import journey_pb2, journey_service_pb2, journey_service_pb2_grpc

from services.chassis.clock import Clock
from services.chassis.documents import Document, change
from services.chassis.errors import NotFound
from services.chassis.server import Mounted
from services.orchestrator import convert
from services.orchestrator.convert import Body
from services.orchestrator.publishing import Checks, check_etag, etag_of
from services.orchestrator.registry import Registry
from services.orchestrator.store import Store


class JourneyServicer(journey_service_pb2_grpc.JourneyServiceServicer):  # type: ignore[misc]
    def __init__(self, store: Store, registry: Registry, checks: Checks, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._checks = checks
        self._clock = clock

    async def PublishJourney(self, request: Any, context: object) -> journey_service_pb2.PublishJourneyResponse:
        versions = await self._checks.journey(request.workspace_id, request.definition)
        key = f"{request.workspace_id}/{request.journey_id}"
        definition = request.definition.SerializeToString(deterministic=True)
        etag = etag_of(request.definition, sorted(versions.items()))
        found = (await self._store.journeys.get([key])).get(key)
        if found and found.body["etag"] == etag:
            return journey_service_pb2.PublishJourneyResponse(journey=self._wire(found))
        check_etag(request.etag, found.body["etag"] if found else "")
        now = self._clock.now()

        async def keep_version(version: int) -> None:
            # Before the journey points at it. Taken by a publisher who died before that: replaced, since no run can be
            # on it.
            id_ = f"{key}/{version}"
            await change(
                self._store.journey_versions,
                [id_],
                lambda _id, _old: {"definition": definition, "template_versions": versions},
            )

        version = found.body["version"] + 1 if found else 1
        await keep_version(version)
        body: Body = {
            "workspace": request.workspace_id,
            "all": 1,
            "definition": definition,
            "template_versions": versions,
            "version": version,
            "state": found.body["state"] if found else journey_pb2.JOURNEY_STATE_ACTIVE,
            "etag": etag,
            "created": found.body["created"] if found else now,
            "updated": now,
        }
        document = Document(key, body, found.rev if found else 0)
        if not (await self._store.journeys.put([document])).saved:
            return await self.PublishJourney(request, context)
        self._registry.learn(document)
        return journey_service_pb2.PublishJourneyResponse(journey=self._wire(document))

    async def GetJourney(self, request: Any, context: object) -> journey_service_pb2.GetJourneyResponse:
        key = f"{request.workspace_id}/{request.journey_id}"
        found = (await self._store.journeys.get([key])).get(key)
        if found is None:
            raise NotFound.of("journey", request.journey_id)
        return journey_service_pb2.GetJourneyResponse(journey=self._wire(found))

    async def ListJourneys(self, request: Any, context: object) -> journey_service_pb2.ListJourneysResponse:
        page = await self._store.journeys.query(
            "by_workspace", request.workspace_id, limit=request.page_size or 100, after=request.page_token
        )
        return journey_service_pb2.ListJourneysResponse(
            journeys=[self._wire(document) for document in page.documents], next_page_token=page.next
        )

    async def SetJourneyState(self, request: Any, context: object) -> journey_service_pb2.SetJourneyStateResponse:
        key = f"{request.workspace_id}/{request.journey_id}"
        now = self._clock.now()

        def decide(_id: str, document: Document | None) -> Body | None:
            if document is None or document.body["state"] == request.state:
                return None
            return {**document.body, "state": request.state, "updated": now}

        found = (await change(self._store.journeys, [key], decide)).get(key)
        if found is None:
            raise NotFound.of("journey", request.journey_id)
        self._registry.learn(found)
        return journey_service_pb2.SetJourneyStateResponse(journey=self._wire(found))

    async def GetRun(self, request: Any, context: object) -> journey_service_pb2.GetRunResponse:
        key = f"{request.workspace_id}/{request.run_id}"
        found = (await self._store.runs.get([key])).get(key)
        if found is None:
            raise NotFound.of("run", request.run_id)
        return journey_service_pb2.GetRunResponse(
            run=convert.wire_run(request.workspace_id, request.run_id, found.body)
        )

    async def ListRuns(self, request: Any, context: object) -> journey_service_pb2.ListRunsResponse:
        page = await self._store.runs.query(
            "by_journey",
            f"{request.workspace_id}/{request.journey_id}",
            limit=request.page_size or 100,
            after=request.page_token,
            descending=True,
        )
        return journey_service_pb2.ListRunsResponse(
            runs=[
                convert.wire_run(request.workspace_id, document.id.partition("/")[2], document.body)
                for document in page.documents
            ],
            next_page_token=page.next,
        )

    def _wire(self, document: Document) -> journey_pb2.Journey:
        workspace_id, _, journey_id = document.id.partition("/")
        return convert.wire_journey(workspace_id, journey_id, document.body)


def mounted(servicer: JourneyServicer) -> Mounted:
    return Mounted(
        journey_service_pb2_grpc.add_JourneyServiceServicer_to_server,
        servicer,
        "camino.orchestrator.v1.JourneyService",
    )
