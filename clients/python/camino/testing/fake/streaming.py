"""The methods of `ProfileService` that stream: each request is answered as the unary twin would."""

from __future__ import annotations

from camino.profile.v1 import profile_service_pb2 as pb
from camino.testing.fake.profiles import Profiles


class StreamedProfiles(Profiles):
    def StreamProfiles(self, request: pb.StreamProfilesRequest) -> pb.StreamProfilesResponse:
        twin = pb.IngestProfilesRequest(workspace_id=request.workspace_id, profiles=request.profiles)
        return pb.StreamProfilesResponse(sequence=request.sequence, results=self.IngestProfiles(twin).results)

    def StreamEvents(self, request: pb.StreamEventsRequest) -> pb.StreamEventsResponse:
        twin = pb.IngestEventsRequest(workspace_id=request.workspace_id, events=request.events)
        return pb.StreamEventsResponse(sequence=request.sequence, results=self.IngestEvents(twin).results)
