"""What facts carry on the wire is what the reference says."""

from __future__ import annotations

from pathlib import Path

from camino.segment.v1.segment_events_pb2 import MembershipChanged

from services.chassis.broker import Broker, StreamSpec
from services.chassis.events import Outgoing, Publisher, subject_of
from tests.servers import nats_server

EVENTS = Path(__file__).parents[2] / "docs" / "api" / "events.md"


async def test_every_header_of_a_fact_is_explained() -> None:
    explained = EVENTS.read_text()
    with nats_server() as server:
        broker = await Broker.connect(server.url, "test")
        try:
            await broker.declare([StreamSpec("FACTS", (MembershipChanged,), "log", max_age_s=600)], [])
            subject = subject_of(MembershipChanged, "main", 3, "p-1")
            fact = MembershipChanged(workspace_id="main", profile_id="p-1")
            await Publisher(broker, "segment").publish([Outgoing(subject, fact, "main/p-1/1")])
            message = await broker.jetstream.get_last_msg("FACTS", subject)
        finally:
            await broker.close()
    assert subject == "camino.segment.v1.MembershipChanged.main.3.p-1"
    assert MembershipChanged.FromString(message.data or b"") == fact
    assert message.headers
    assert [name for name in message.headers if f"| `{name}` |" not in explained] == []
    assert message.headers["ce-id"] == message.headers["Nats-Msg-Id"] == "main/p-1/1"
    assert message.headers["ce-type"] == "camino.segment.v1.MembershipChanged"
