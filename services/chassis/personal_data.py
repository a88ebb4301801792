"""`camino.ops.v1.PersonalDataService`: what one service holds on one person, to be erased or shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from camino.ops.v1 import personal_data_service_pb2, personal_data_service_pb2_grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from services.chassis.dead_letters import DeadLetters
from services.chassis.engine import order, position, token
from services.chassis.server import Mounted


@dataclass(frozen=True, slots=True)
class Subject:
    """A person in a workspace, by all the names that services keep things under."""

    workspace_id: str
    profile_ids: tuple[str, ...]
    """The profile's own id, and those of profiles that turned out to be the same person."""
    endpoints: tuple[tuple[int, str], ...]
    """(channel, endpoint), as in the contract."""


@dataclass(frozen=True, slots=True)
class Held:
    """One kind of things that a service holds on people."""

    kind: str
    page: Callable[[Subject, int, str], Awaitable[tuple[Sequence[Message], str]]]
    """From a person, how many at most, and the token of the page before (empty at first), to the things as the API
    shows them and the token of the next page, empty when there is none."""


class PersonalData(Protocol):
    """What a service has to say of what it holds on people."""

    @property
    def held(self) -> Sequence[Held]:
        """The kinds of things, in the order in which they're shown."""
        ...

    async def erase(self, subject: Subject) -> Mapping[str, int]:
        """Erase all that is held on a person, and see to it that nothing which is still under way brings it back.
        How much of each kind there was. Idempotent; what a crash leaves undone, the next call does."""
        ...


class PersonalDataServicer(personal_data_service_pb2_grpc.PersonalDataServiceServicer):
    """Erases a person's dead letters, too, so that no service has to see to that."""

    def __init__(self, data: PersonalData, dead_letters: DeadLetters) -> None:
        self._data = data
        self._dead_letters = dead_letters

    async def ErasePersonalData(
        self, request: personal_data_service_pb2.ErasePersonalDataRequest, context: object
    ) -> personal_data_service_pb2.ErasePersonalDataResponse:
        subject = _subject(request)
        counts = dict(await self._data.erase(subject))
        # At the end: what can't be handled about somebody who is marked as erased doesn't become one any more.
        counts["dead_letters"] = await self._dead_letters.erase(subject.workspace_id, subject.profile_ids)
        return personal_data_service_pb2.ErasePersonalDataResponse(
            counts={kind: count for kind, count in counts.items() if count}
        )

    async def ListPersonalData(
        self, request: personal_data_service_pb2.ListPersonalDataRequest, context: object
    ) -> personal_data_service_pb2.ListPersonalDataResponse:
        subject = _subject(request)
        left = request.page_size or 100
        kinds = [held.kind for held in self._data.held]
        listed = order("personal-data", subject.workspace_id, *subject.profile_ids, *kinds)
        kind, after = position(listed, request.page_token, 2) if request.page_token else (kinds[0], "")
        response = personal_data_service_pb2.ListPersonalDataResponse()
        for held in self._data.held[kinds.index(str(kind)) :]:
            while left:
                things, after = await held.page(subject, left, str(after))
                response.records.extend(record(held.kind, thing) for thing in things)
                left -= len(things)
                if not after:
                    break
            if after:
                response.next_page_token = token(listed, [held.kind, after])
                return response
            if not left:
                following = kinds[kinds.index(held.kind) + 1 :]
                if following:
                    response.next_page_token = token(listed, [following[0], ""])
                return response
        return response


def record(kind: str, thing: Message) -> personal_data_service_pb2.PersonalRecord:
    """One thing that is held, as it's shown."""
    text = json_format.MessageToJson(thing, indent=None, ensure_ascii=False)
    return personal_data_service_pb2.PersonalRecord(kind=kind, json=text)


def _subject(
    request: personal_data_service_pb2.ErasePersonalDataRequest | personal_data_service_pb2.ListPersonalDataRequest,
) -> Subject:
    return Subject(
        request.workspace_id,
        tuple(dict.fromkeys(request.profile_ids)),
        tuple((endpoint.channel, endpoint.endpoint) for endpoint in request.endpoints),
    )


def mounted(data: PersonalData, dead_letters: DeadLetters) -> Mounted:
    return Mounted(
        personal_data_service_pb2_grpc.add_PersonalDataServiceServicer_to_server,
        PersonalDataServicer(data, dead_letters),
        "camino.ops.v1.PersonalDataService",
    )
