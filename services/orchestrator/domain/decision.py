"""The one place that decides whether a message goes out, for triggered and scheduled sends alike. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from services.orchestrator.domain.person import OPTED_IN, OPTED_OUT, Person

_CHANNELS = {1: "email", 2: "sms", 3: "push", 4: "webhook"}
TRANSACTIONAL = 2
_HOLD_WHILE_PAUSED = 30 * 1_000_000


class Verdict(IntEnum):
    """As in the contract; of several rules the highest holds."""

    SEND = 1
    HOLD = 2
    DROP = 3


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A daily span of local minutes since midnight, [start, end); start after end crosses midnight."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SendSpec:
    """A message as a journey's step or a campaign describes it. Durations in microseconds."""

    channel: int
    template_id: str
    template_version: int
    topic: str
    purpose: int
    lifetime: int
    unknown_policy: int
    quiet_hours: QuietHours | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What one rule said, and what it looked at. `until` is when a HOLD ends."""

    name: str
    verdict: Verdict
    input: str
    until: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on one intended send, and all the rules' verdicts."""

    verdict: Verdict
    rules: tuple[Rule, ...]
    endpoint: str
    hold_until: int = 0

    @property
    def dropped_by(self) -> str:
        return next((rule.name for rule in self.rules if rule.verdict is Verdict.DROP), "")


def decide(
    spec: SendSpec,
    person: Person | None,
    *,
    paused: bool,
    due_since: int,
    now: int,
    instead: str = "",
    workspace_zone: str = "UTC",
) -> Decision:
    """Ask every rule, also after a refusal, so that the record tells the whole story.

    `due_since` is when the message was first due: it may not be sent later than its lifetime after that. A profile that
    is gone is dropped, and so is one of a person who gets the message `instead` as another.
    """
    endpoint = person.endpoints.get(spec.channel, "") if person else ""
    rules = (
        *((Rule("same_person", Verdict.DROP, f"gets it as {instead}"),) if instead else ()),
        _state(paused, now),
        _endpoint(spec, person, endpoint),
        _consent(spec, person),
        _expiry(spec, due_since, now),
        _quiet(spec, person, now, workspace_zone),
    )
    verdict = max(rule.verdict for rule in rules)
    hold_until = max((rule.until for rule in rules), default=0) if verdict is Verdict.HOLD else 0
    return Decision(verdict, rules, endpoint, hold_until)


def _state(paused: bool, now: int) -> Rule:
    return Rule("state", Verdict.HOLD, "paused", now + _HOLD_WHILE_PAUSED) if paused else _ACTIVE


_ACTIVE = Rule("state", Verdict.SEND, "active")
_NO_EXPIRY = Rule("expiry", Verdict.SEND, "within its lifetime")
_NOT_QUIET = Rule("quiet_hours", Verdict.SEND, "none")


def _endpoint(spec: SendSpec, person: Person | None, endpoint: str) -> Rule:
    channel = _CHANNELS[spec.channel]
    if person is None:
        return Rule("endpoint", Verdict.DROP, "there is no such profile")
    return Rule(
        "endpoint", Verdict.SEND if endpoint else Verdict.DROP, f"{channel}: {'present' if endpoint else 'missing'}"
    )


def _consent(spec: SendSpec, person: Person | None) -> Rule:
    state = person.consents.get((spec.channel, spec.topic), 0) if person else 0
    # Unknown is not consent to marketing; a service that was asked for needs no opt-in, but an opt-out holds for it
    # too.
    allowed = state == OPTED_IN or (spec.purpose == TRANSACTIONAL and state != OPTED_OUT)
    return _consent_rule(spec.channel, spec.topic, state, allowed)


@lru_cache(maxsize=1024)
def _consent_rule(channel: int, topic: str, state: int, allowed: bool) -> Rule:
    name = {OPTED_IN: "OPTED_IN", OPTED_OUT: "OPTED_OUT"}.get(state, "UNKNOWN")
    return Rule("consent", Verdict.SEND if allowed else Verdict.DROP, f"{_CHANNELS[channel]}/{topic}: {name}")


def _expiry(spec: SendSpec, due_since: int, now: int) -> Rule:
    if now < due_since + spec.lifetime:
        return _NO_EXPIRY
    return Rule("expiry", Verdict.DROP, f"was due {(now - due_since) // 1_000_000} s ago")


def _quiet(spec: SendSpec, person: Person | None, now: int, workspace_zone: str) -> Rule:
    if spec.quiet_hours is None or spec.purpose == TRANSACTIONAL:
        return _NOT_QUIET
    zone = (person.time_zone if person else "") or workspace_zone
    until = quiet_until(spec.quiet_hours, zone, now)
    if not until:
        return Rule("quiet_hours", Verdict.SEND, f"{zone}: not quiet")
    return Rule("quiet_hours", Verdict.HOLD, f"{zone}: quiet", until)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def quiet_until(quiet: QuietHours, zone: str, now: int) -> int:
    """The instant at which the quiet hours that hold now end in this zone, or 0 when it isn't quiet.

    Wall time: a gap in local time shifts the end forward, of a fold the first that is ahead counts.
    """
    until, later = 0, _span_end(quiet, zone, now)
    # Again, because a gap may shift the end of one span into the next.
    while later:
        until, later = later, _span_end(quiet, zone, later)
    return until


def _span_end(quiet: QuietHours, zone: str, now: int) -> int:
    if quiet.start == quiet.end:
        return 0
    local = datetime.fromtimestamp(now / 1_000_000, UTC).astimezone(_zone(zone))
    minute = local.hour * 60 + local.minute
    if quiet.start < quiet.end:
        inside, days = quiet.start <= minute < quiet.end, 0
    else:
        inside, days = minute >= quiet.start or minute < quiet.end, int(minute >= quiet.start)
    if not inside:
        return 0
    end = (local + timedelta(days=days)).replace(
        hour=quiet.end // 60, minute=quiet.end % 60, second=0, microsecond=0, fold=0
    )
    until = int(end.timestamp()) * 1_000_000
    return until if until > now else int(end.replace(fold=1).timestamp()) * 1_000_000
