"""The last questions before a message is given to a provider, asked as late as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested

from services.channels import convert, domain
from services.channels.convert import Body
from services.channels.domain import Message, State
from services.channels.library import Library, Name
from services.channels.providers.base import Outgoing, Provider
from services.channels.store import Store
from services.channels.suppressions import Suppressions
from services.channels.templates import RenderError, Template
from services.chassis.documents import Document
from services.chassis.errors import InvalidDefinition


@dataclass(slots=True)
class Work:
    """A message in our hands: as it's stored, as it is, and as it was asked for."""

    document: Document
    message: Message
    request: SendRequested

    @property
    def traceparent(self) -> str:
        """Where it is in the trace of what asked for it; empty when that isn't traced."""
        return str(self.document.body.get("traceparent", ""))

    @property
    def endpoint_key(self) -> str:
        """What a suppression of its endpoint is known by; empty for what is no endpoint."""
        return convert.suppression_key(self.request.workspace_id, self.request.channel, self.request.endpoint)


class Gate:
    """Erasure, suppression, lifetime, provider, template: in this order, the first that says no decides."""

    def __init__(self, store: Store, library: Library, providers: Mapping[int, Provider]) -> None:
        self.suppressions = Suppressions(store)
        self._library = library
        self._providers = providers

    async def ask(self, works: Sequence[Work], now: int) -> tuple[list[tuple[Work, Outgoing]], list[Work]]:
        """Those that may be sent, rendered; and those that may not, with their messages moved to where they end.

        One read of suppressions, and none of templates that were seen before. To be asked of messages that are stored:
        so that of those to somebody who is being erased, none is missed.
        """
        people = [convert.person_key(work.request.workspace_id, work.request.profile_id) for work in works]
        keys = [work.endpoint_key for work in works]
        names = [_name(work.request) for work in works]
        suppressed = await self.suppressions.holding({key for key in keys if key}, now, people=set(people))
        templates = await self._library.compiled(set(names))
        passed: list[tuple[Work, Outgoing]] = []
        refused: list[Work] = []
        for work, person, key, name in zip(works, people, keys, names, strict=True):
            verdict = (
                domain.erase(work.message, now)
                if person in suppressed
                else self._verdict(work, suppressed.get(key), templates.get(name), now)
            )
            if isinstance(verdict, Outgoing):
                passed.append((work, verdict))
            else:
                work.message = verdict
                refused.append(work)
        return passed, refused

    def _verdict(
        self, work: Work, suppression: Body | None, template: Template | InvalidDefinition | None, now: int
    ) -> Outgoing | Message:
        message, request = work.message, work.request
        if not convert.is_endpoint(request.endpoint):
            return domain.refuse(message, State.FAILED, "ENDPOINT_REJECTED", "not an endpoint", now)
        if suppression is not None:
            detail = convert.suppression_reason(suppression)
            return domain.refuse(message, State.SUPPRESSED, "ENDPOINT_SUPPRESSED", detail, now)
        if now >= message.not_after:
            return domain.expire(message, now)
        if request.channel not in self._providers:
            detail = "no provider is configured for its channel"
            return domain.refuse(message, State.FAILED, "NO_PROVIDER", detail, now)
        try:
            if template is None:
                raise RenderError(f"there is no template {request.template_id!r} of version {request.template_version}")
            if isinstance(template, InvalidDefinition):
                raise RenderError(template.message)
            if template.channel != request.channel:
                raise RenderError(f"template {request.template_id!r} is of another channel")
            rendered = template.render(convert.scope_of(request, now))
        except RenderError as error:
            return domain.refuse(message, State.FAILED, "TEMPLATE_RENDER_FAILED", str(error), now)
        return Outgoing(
            request.workspace_id,
            request.send_id,
            request.endpoint,
            rendered.subject,
            rendered.text,
            rendered.html,
            template.sender,
            convert.is_marketing(request),
        )


def _name(request: SendRequested) -> Name:
    return (request.workspace_id, request.template_id, request.template_version)
