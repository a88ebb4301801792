"""What every service does to show and erase people, whatever it holds: pages, dead letters, facts on the broker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import pytest
from camino.channels.v1.channels_events_pb2 import MessageSettled
from camino.client import CaminoError
from camino.ops.v1 import personal_data_service_pb2 as pb
from camino.ops.v1.personal_data_service_pb2_grpc import PersonalDataServiceStub
from camino.orchestrator.v1.decision_pb2 import Decision
from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.profile.v1.profile_pb2 import Profile
from google.protobuf.message import Message

from services.chassis import personal_data
from services.chassis.app import App
from services.chassis.broker import Broker, StreamSpec
from services.chassis.dead_letters import DEAD_LETTERS, DeadLetters, Letter
from services.chassis.documents import Database
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.personal_data import Held, Subject
from services.chassis.testing import FakeClock, serving
from tests.servers import NatsServer, nats_server

ANA, ANA_TOO, BEA = "0198c1f2-aaaa-7000-8000-000000000001", "0198c1f2-aaaa-7000-8000-000000000002", "bea"
STREAM = StreamSpec("CAMINO_TEST", (ProfileChanged, MessageSettled), "log", max_age_s=3600)


class Holding:
    """Holds `sizes` things of each kind."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.held: Sequence[Held] = [Held(kind, self._pages(kind)) for kind in sizes]

    def _pages(self, kind: str):  # type: ignore[no-untyped-def]
        async def page(subject: Subject, limit: int, after: str) -> tuple[Sequence[Message], str]:
            start = int(after or 0)
            end = min(start + limit, self.sizes[kind])
            things = [Decision(decision_id=f"{kind}-{n}", profile_id=subject.profile_ids[0]) for n in range(start, end)]
            return things, str(end) if end < self.sizes[kind] else ""

        return page

    async def erase(self, subject: Subject) -> Mapping[str, int]:
        return self.sizes


@pytest.fixture
async def letters(empty_database: Database) -> DeadLetters:
    await empty_database.migrate([DEAD_LETTERS])
    return DeadLetters(empty_database.collection(DEAD_LETTERS), FakeClock())


async def listed(sizes: Mapping[str, int], letters: DeadLetters, page_size: int) -> list[list[str]]:
    """The ids on each page."""
    async with serving(App([personal_data.mounted(Holding(sizes), letters)], [])) as channel:
        request = pb.ListPersonalDataRequest(workspace_id="w", profile_ids=[ANA], page_size=page_size)
        pages = []
        while True:
            answer = await PersonalDataServiceStub(channel).ListPersonalData(request)
            pages.append([f"{one.kind} {json.loads(one.json)['decisionId']}" for one in answer.records])
            if not answer.next_page_token:
                return pages
            request.page_token = answer.next_page_token


@pytest.mark.parametrize("page_size", [1, 2, 3, 5, 7, 100])
async def test_the_kinds_are_paged_one_after_the_other(letters: DeadLetters, page_size: int) -> None:
    sizes = {"runs": 3, "none": 0, "decisions": 4}
    pages = await listed(sizes, letters, page_size)
    everything = [f"{kind} {kind}-{n}" for kind, size in sizes.items() for n in range(size)]
    assert [one for page in pages for one in page] == everything
    assert all(len(page) <= page_size for page in pages)


async def test_who_holds_nothing_shows_nothing(letters: DeadLetters) -> None:
    assert await listed({"runs": 0}, letters, 10) == [[]]


async def test_a_token_of_another_list_is_refused(letters: DeadLetters) -> None:
    async with serving(App([personal_data.mounted(Holding({"runs": 1}), letters)], [])) as channel:
        request = pb.ListPersonalDataRequest(workspace_id="w", profile_ids=[ANA], page_token="elsewhere")
        with pytest.raises(CaminoError, match="INVALID_PAGE_TOKEN"):
            await PersonalDataServiceStub(channel).ListPersonalData(request)


async def test_dead_letters_about_the_person_go_and_others_stay(letters: DeadLetters) -> None:
    theirs = [
        Letter("a", subject_of(ProfileChanged, "w", 0, ANA), b"", "keyed"),
        Letter("a", subject_of(ProfileChanged, "w", 0, "x"), _changed(ANA_TOO), "of the profile"),
        Letter("a", subject_of(SendRequested, "w", 0, "run:r"), _requested(ANA), "by its profile_id"),
        Letter("a", subject_of(SendRequested, "w", 0, "run:q"), b"\xff" + ANA_TOO.encode(), "not to be read"),
        Letter("a", f"some.other.Type.w.0.{BEA}", b"..." + ANA.encode(), "of no known type"),
    ]
    others = [
        Letter("a", subject_of(ProfileChanged, "w", 0, BEA), _changed(BEA), "keyed"),
        Letter("a", subject_of(ProfileChanged, "v", 0, ANA), b"", "of another workspace"),
        Letter("a", subject_of(SendRequested, "w", 0, "run:p"), _requested(BEA), "by its profile_id"),
        Letter("a", subject_of(MessageSettled, "w", 0, "run:r"), MessageSettled(send_id=ANA).SerializeToString(), "?"),
        Letter("a", subject_of(SendRequested, "w", 0, "run:s"), b"\xff", "not to be read"),
    ]
    await letters.add([*theirs, *others])
    async with serving(App([personal_data.mounted(Holding({"runs": 1, "none": 0}), letters)], [])) as channel:
        request = pb.ErasePersonalDataRequest(workspace_id="w", profile_ids=[ANA, ANA_TOO])
        answer = await PersonalDataServiceStub(channel).ErasePersonalData(request)
        assert dict(answer.counts) == {"runs": 1, "dead_letters": len(theirs)}
        answer = await PersonalDataServiceStub(channel).ErasePersonalData(request)
        assert dict(answer.counts) == {"runs": 1}
    page, _ = await letters.list(100, "")
    assert {letter.id for letter in page.documents} == {letter.id for letter in others}


async def test_many_dead_letters_are_looked_through(letters: DeadLetters) -> None:
    subject = subject_of(ProfileChanged, "w", 0, "x")
    await letters.add([Letter(f"c{n}", subject, _changed(ANA if n % 2 else BEA), "r") for n in range(450)])
    assert await letters.erase("w", [ANA]) == 225
    assert (await letters.list(1, ""))[1] == 225


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def broker(nats: NatsServer) -> AsyncIterator[Broker]:
    broker = await Broker.connect(nats.url, "test")
    await broker.declare([STREAM], [])
    yield broker
    await broker.jetstream.delete_stream(STREAM.name)
    await broker.close()


async def test_facts_of_one_key_are_purged_and_others_stay(broker: Broker) -> None:
    about = [
        (ProfileChanged, "w", 0, ANA),
        (ProfileChanged, "w", 7, ANA),
        (MessageSettled, "w", 0, ANA),
        (ProfileChanged, "w", 0, ANA_TOO),
        (ProfileChanged, "v", 0, ANA),
    ]
    await Publisher(broker, "test").publish(
        [Outgoing(subject_of(*subject), subject[0](), str(n)) for n, subject in enumerate(about)]
    )
    assert await broker.purge(STREAM, "w", ANA) == 3
    info = await broker.jetstream.stream_info(STREAM.name, subjects_filter=">")
    assert set(info.state.subjects or {}) == {subject_of(*subject) for subject in about[3:]}
    assert await broker.purge(STREAM, "w", ANA) == 0
    assert await broker.purge(STREAM, "w") == 1


def _changed(profile_id: str) -> bytes:
    return ProfileChanged(profile=Profile(profile_id=profile_id)).SerializeToString()


def _requested(profile_id: str) -> bytes:
    return SendRequested(profile_id=profile_id).SerializeToString()
