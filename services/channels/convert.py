"""Between the wire, the domain and the store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from camino.channels.v1 import channels_events_pb2, message_pb2, message_service_pb2, template_pb2
from camino.errors.v1 import reason_pb2
from camino.orchestrator.v1 import orchestrator_events_pb2
from camino.type.v1 import messaging_pb2, value_pb2

from services.channels.domain import DEFAULT_LIFETIME, Message, Policy, State
from services.channels.scope import Scope
from services.channels.templates import Source
from services.chassis.wire import instant, set_instant, value_of

Body = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_SUBJECT_TOKEN = re.compile(r"[^\s.*>\x00-\x1f\x7f]{1,256}")
_LONGEST_PROFILE_ID = 64
"""Bytes, as in the contract."""
_WORKSPACE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_STATES = {int(state): state for state in State}
_POLICIES = {0: Policy.PARK, 1: Policy.PARK, 2: Policy.RESEND}
_TRIMMED = frozenset((State.SENT, State.FAILED, State.SUPPRESSED, State.CANCELLED, State.EXPIRED))
_REASONS = {name.removeprefix("REASON_"): number for name, number in reason_pb2.Reason.items()}


# --- messages ---------------------------------------------------------------------------------------------------------


def unfit(request: orchestrator_events_pb2.SendRequested) -> str:
    """Why a request can't even be recorded, or an empty string."""
    if not _WORKSPACE.fullmatch(request.workspace_id):
        return "INVALID_FIELD: workspace_id: not the id of a workspace"
    if not _ID.fullmatch(request.send_id):
        return "INVALID_FIELD: send_id: must be 1 to 64 letters, digits and ._:-"
    if not 0 < len(request.profile_id.encode()) <= _LONGEST_PROFILE_ID or "\0" in request.profile_id:
        return "INVALID_FIELD: profile_id: must be 1 to 64 bytes without U+0000"
    if not _SUBJECT_TOKEN.fullmatch(request.source_key):
        return "INVALID_FIELD: source_key: must say which document owes the message, without blanks and any of .*>"
    return ""


def message_key(workspace_id: str, send_id: str) -> str:
    return f"{workspace_id}/{send_id}"


def policy_of(request: orchestrator_events_pb2.SendRequested) -> Policy:
    return _POLICIES.get(request.unknown_policy, Policy.PARK)


def not_after(request: orchestrator_events_pb2.SendRequested, now: int) -> int:
    return instant(request.not_after) if request.HasField("not_after") else now + DEFAULT_LIFETIME


def new_body(request: orchestrator_events_pb2.SendRequested, message: Message, partition: int) -> Body:
    """A reserved message as it's first stored, with the request that it came by."""
    return {
        "workspace": request.workspace_id,
        "partition": partition,
        "profile": request.profile_id,
        "request": request.SerializeToString(),
        **_moving(message),
    }


def next_body(body: Body, message: Message, request: orchestrator_events_pb2.SendRequested) -> Body:
    """The message after a transition. Once it's settled for good, what it would have said is forgotten: that is
    personal, and of no further use. Once its person is erased, nothing is left but ids, states and times."""
    moved = _moving(message)
    moved["workspace"] = body["workspace"]
    moved["partition"] = body["partition"]
    if message.erased:
        moved["erased"] = True
        moved["request"] = _ids_of(request).SerializeToString()
        return moved
    moved["profile"] = request.profile_id
    if "traceparent" in body:
        moved["traceparent"] = body["traceparent"]
    if message.state in _TRIMMED:
        request.ClearField("profile")
        request.ClearField("event")
        moved["request"] = request.SerializeToString()
    else:
        moved["request"] = body["request"]
    return moved


def _ids_of(request: orchestrator_events_pb2.SendRequested) -> orchestrator_events_pb2.SendRequested:
    """What a request says that isn't personal: which message it is, and whom its end is told."""
    return orchestrator_events_pb2.SendRequested(
        workspace_id=request.workspace_id,
        send_id=request.send_id,
        profile_id=request.profile_id,
        channel=request.channel,
        template_id=request.template_id,
        template_version=request.template_version,
        source_key=request.source_key,
        source_id=request.source_id,
    )


def _moving(message: Message) -> Body:
    body: Body = {
        "state": int(message.state),
        "updated": message.updated_at,
        "fence": message.fence,
        "attempt": message.attempt,
        "policy": int(message.policy),
        "not_after": message.not_after,
        "created": message.created_at,
        # Flat: three for each transition.
        "history": [part for transition in message.history for part in transition],
    }
    if message.due_at:
        body["due_at"] = message.due_at
    if message.state is State.UNKNOWN:
        body["unknown_since"] = message.updated_at
    if message.reason:
        body["reason"] = message.reason
    if message.detail:
        body["detail"] = message.detail
    if message.provider:
        body["provider"] = message.provider
    if message.provider_ref:
        body["ref"] = message.provider_ref
    if message.resolution:
        body["resolution"] = int(message.resolution)
    return body


def message_of(key: str, body: Body) -> Message:
    get = body.get
    parts: Iterator[Any] = iter(body["history"])
    return Message(
        key.partition("/")[2],
        _POLICIES[body["policy"]],
        body["not_after"],
        body["created"],
        _STATES[body["state"]],
        body["fence"],
        get("due_at", 0),
        body["attempt"],
        body["updated"],
        tuple(zip(parts, parts, parts, strict=True)),
        get("reason", ""),
        get("detail", ""),
        get("provider", ""),
        get("ref", ""),
        get("resolution", 0),
        get("erased", False),
    )


def partition_of(body: Body) -> int:
    return int(body["partition"])


def request_of(body: Body) -> orchestrator_events_pb2.SendRequested:
    return orchestrator_events_pb2.SendRequested.FromString(body["request"])


def settled(
    message: Message, request: orchestrator_events_pb2.SendRequested
) -> tuple[str, channels_events_pb2.MessageSettled]:
    """The fact that a message has come to an end, and the id by which that fact is known when it comes again."""
    fact = channels_events_pb2.MessageSettled(
        workspace_id=request.workspace_id,
        send_id=message.send_id,
        source_key=request.source_key,
        state=int(message.state),
        reason=_REASONS.get(message.reason, 0),
    )
    set_instant(fact.at, message.updated_at)
    return f"{request.workspace_id}/{message.send_id}/{message.fence}/{int(message.state)}", fact


def fill_message(wire: message_pb2.Message, key: str, body: Body, *, history: bool) -> None:
    """Set a wire message from a stored one."""
    request = request_of(body)
    message = message_of(key, body)
    wire.workspace_id = request.workspace_id
    wire.send_id = message.send_id
    wire.profile_id = request.profile_id
    wire.channel = request.channel
    wire.endpoint = request.endpoint
    wire.template_id = request.template_id
    wire.template_version = request.template_version
    wire.state = int(message.state)
    wire.reason = _REASONS.get(message.reason, 0)
    wire.detail = message.detail
    wire.attempt = message.attempt
    wire.provider = message.provider
    wire.provider_ref = message.provider_ref
    set_instant(wire.create_time, message.created_at)
    set_instant(wire.update_time, message.updated_at)
    if message.state is State.RETRY:
        set_instant(wire.retry_time, message.due_at)
    wire.source_id = request.source_id
    if history:
        for state, at, detail in message.history:
            set_instant(wire.history.add(state=state, detail=detail).at, at)


# --- what a template sees ---------------------------------------------------------------------------------------------


def shown_value(wire: value_pb2.Value) -> Any:
    """A value as a template sees it: whole numbers without a fraction, instants in UTC."""
    value = value_of(wire)
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, int) and not isinstance(value, bool):
        return _EPOCH + timedelta(microseconds=value)
    return value


def scope_of(request: orchestrator_events_pb2.SendRequested, now: int) -> Scope:
    return Scope(
        profile=request.profile,
        event=request.event,
        read=shown_value,
        profile_id=request.profile_id,
        message_id=request.send_id,
        topic=request.topic,
        now=now,
    )


def is_marketing(request: orchestrator_events_pb2.SendRequested) -> bool:
    """Whatever doesn't say that it's transactional is marketing."""
    return bool(request.purpose != messaging_pb2.PURPOSE_TRANSACTIONAL)


# --- suppressions -----------------------------------------------------------------------------------------------------


def suppression_key(workspace_id: str, channel: int, endpoint: str) -> str:
    """What a suppression is known by; empty for what is no endpoint.

    Addresses that differ in letter case only reach the same mailbox nearly everywhere, so they're one endpoint here: a
    suppression that holds for too many is better than one that misses.
    """
    if not is_endpoint(endpoint):
        return ""
    known = endpoint.strip().lower() if channel == messaging_pb2.CHANNEL_EMAIL else endpoint.strip()
    return f"{workspace_id}/{channel}/{known}"


def person_key(workspace_id: str, profile_id: str) -> str:
    """What the marker of somebody who was erased is known by."""
    return f"{workspace_id}/profile/{profile_id}"


def is_endpoint(endpoint: str) -> bool:
    """Whether it could be an endpoint of any channel: one line of visible characters."""
    return bool(endpoint.strip()) and endpoint.isprintable() and len(endpoint) <= 4096


def suppression_reason(body: Body) -> str:
    return str(body["reason"])


def suppression_body(reason: str, now: int) -> Body:
    return {"reason": reason, "created": now}


def fill_suppression(wire: message_service_pb2.Suppression, key: str, body: Body) -> None:
    _, channel, endpoint = key.split("/", 2)
    wire.channel = int(channel)
    wire.endpoint = endpoint
    wire.reason = body["reason"]
    set_instant(wire.create_time, body["created"])


# --- templates --------------------------------------------------------------------------------------------------------


def source_of(content: template_pb2.TemplateContent) -> Source:
    if content.WhichOneof("kind") == "email":
        email = content.email
        return Source(
            "content.email", messaging_pb2.CHANNEL_EMAIL, email.text, email.subject, email.html, getattr(email, "from")
        )
    return Source("content.text", content.text.channel, content.text.text)


def content_bytes(content: template_pb2.TemplateContent) -> bytes:
    return bytes(content.SerializeToString(deterministic=True))


def template_body(version: int, content: bytes, now: int) -> Body:
    return {"version": version, "content": content, "created": now}


def content_of(body: Body) -> template_pb2.TemplateContent:
    return template_pb2.TemplateContent.FromString(body["content"])


def template_key(workspace_id: str, template_id: str) -> str:
    return f"{workspace_id}/{template_id}"


def version_key(template: str, version: int) -> str:
    return f"{template}/{version:010d}"


def version_of(body: Body) -> int:
    return int(body["version"])


def has_content(body: Body, content: bytes) -> bool:
    return bool(body["content"] == content)


def etag_of(body: Body) -> str:
    return f"v{body['version']}"


def fill_template(wire: template_pb2.Template, workspace_id: str, template_id: str, body: Body) -> None:
    wire.workspace_id = workspace_id
    wire.template_id = template_id
    wire.content.CopyFrom(content_of(body))
    wire.version = body["version"]
    wire.etag = etag_of(body)
    set_instant(wire.create_time, body["created"])
