"""A worker of the channels on a store, with a clock and a provider that do as they're told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from camino.channels.v1 import message_pb2, template_pb2
from camino.channels.v1.channels_events_pb2 import MessageSettled
from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested
from camino.type.v1 import messaging_pb2

from services.channels import convert
from services.channels.gate import Gate
from services.channels.library import Library
from services.channels.providers.base import Accepted, Outcome, Outgoing
from services.channels.sender import Rules, Sender
from services.channels.store import Store
from services.channels.templates import Compiler
from services.chassis.clock import SECOND
from services.chassis.errors import BrokerUnavailable
from services.chassis.events import Outgoing as Fact
from services.chassis.testing import FakeClock

RULES = Rules(lease=20 * SECOND, partitions=4)


class Recorded:
    """A publisher that keeps what it's given, and can be away."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.away = False

    async def publish(self, batch: Sequence[Fact]) -> None:
        if self.away:
            raise BrokerUnavailable("away")
        self.facts.extend(batch)

    def settled(self) -> list[tuple[str, str]]:
        facts = [fact.message for fact in self.facts]
        return [
            (fact.send_id, message_pb2.MessageState.Name(fact.state).removeprefix("MESSAGE_STATE_"))
            for fact in facts
            if isinstance(fact, MessageSettled)
        ]


class Scripted:
    """A provider that says what it's told to, and what happens meanwhile."""

    name = "scripted"
    accepted = Accepted("ref")
    timeout = 10 * SECOND

    def __init__(self, batch: int = 2) -> None:
        self.batch = batch
        self.calls: list[list[Outgoing]] = []
        self.outcomes: dict[str, Outcome] = {}
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def send(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        self.calls.append(list(messages))
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return [self.outcomes.get(message.send_id, Accepted(f"ref-{message.send_id}")) for message in messages]

    async def close(self) -> None: ...

    @property
    def sent(self) -> list[str]:
        return [message.send_id for call in self.calls for message in call]


class Channels:
    """One worker on a store that others may share."""

    def __init__(self, store: Store, clock: FakeClock, provider: Scripted, published: Recorded) -> None:
        self.store = store
        self.clock = clock
        self.provider = provider
        self.published = published
        self.library = Library(store, Compiler(), clock)
        providers = {messaging_pb2.CHANNEL_EMAIL: provider}
        self.gate = Gate(store, self.library, providers)
        self.sender = Sender(store, published, self.gate, providers, clock, RULES)

    def another(self, store: Store | None = None) -> Channels:
        return Channels(store or self.store, self.clock, self.provider, self.published)

    async def publish_template(self) -> None:
        content = template_pb2.TemplateContent()
        content.email.subject = "Hi {{ profile.first_name }}"
        content.email.text = "Order {{ event.order_id | default: 'none' }}"
        await self.library.publish("demo", "welcome", content, "", self.clock.now())

    async def due(self) -> None:
        """What the loop over `due_at` does."""
        for partition in range(RULES.partitions):
            page = await self.store.messages.query("due", partition, below=self.clock.now() + 1, limit=100)
            if page.documents:
                await self.sender.take(page.documents)

    async def message(self, send_id: str) -> message_pb2.Message:
        key = f"demo/{send_id}"
        wire = message_pb2.Message()
        convert.fill_message(wire, key, (await self.store.messages.get([key]))[key].body, history=True)
        return wire

    async def states(self, *send_ids: str) -> list[str]:
        return [
            message_pb2.MessageState.Name((await self.message(id_)).state).removeprefix("MESSAGE_STATE_")
            for id_ in send_ids
        ]


def requested(clock: FakeClock, send_id: str, *, name: str = "Ana", **changes: Any) -> SendRequested:
    fields = {
        "workspace_id": "demo",
        "send_id": send_id,
        "profile_id": "p",
        "channel": messaging_pb2.CHANNEL_EMAIL,
        "endpoint": f"{send_id}@example.com",
        "template_id": "welcome",
        "template_version": 1,
        "source_key": f"run:{send_id}",
        "source_id": "j",
        **changes,
    }
    lifetime = fields.pop("lifetime", 3600)
    request = SendRequested(**fields)
    convert.set_instant(request.not_after, clock.now() + lifetime * SECOND)
    request.profile["first_name"].string_value = name
    return request
