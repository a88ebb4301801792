"""What one profile's facts and memberships become as facts, time and definitions go on. Pure.

Invariants, whatever comes in whatever order, and however often:

- Events are a set: one that is known has no second effect. Of two states of the profile the higher revision holds.
- Time goes first: whatever flipped by time before now is recorded at the instant it flipped, before anything else is.
  So a late timer, or none at all, leaves the transitions that a punctual one would have left.
- Instants of evaluation don't go back, even when the clocks of two replicas differ.
- A profile without a row for a segment has never been a member, and won't become one by time alone.
- A rule that can't be evaluated leaves the membership as it was, with what failed, and doesn't stop the others. It's
  evaluated again with whatever touches it: a fact, a new version, or the same fact told once more.
- What an upcoming version of a segment says is foreseen, and brings nothing about until that serves. Then it does so as
  of the instant from which it serves, however late that's noticed.
- Two profiles that turn out to be one person end as if one had had the events of both all along: one is in no segment
  any more, the other takes its events over, once, whatever else is told of them before or after.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby, repeat
from typing import Any

from services.segment.domain import Facts, History, Person, Value
from services.segment.evaluate import NEVER
from services.segment.rules import Published, Rules
from services.segment.standing import Cause, FailedVersion, Failure, Membership, Prospect, Transition

_NEW = -1
_NOTHING: Mapping[str, Any] = {}
_NOBODY = Person()


@dataclass(frozen=True, slots=True)
class Event:
    """A fact about the profile."""

    event_id: str
    type: str
    occurred_at: int
    properties: dict[str, Value]


class StaleRules(Exception):
    """The profile has been evaluated by definitions that these rules don't have: get newer ones and try again."""


@dataclass(slots=True)
class ProfileState:
    """All that is known of a profile, and what follows from it. Changed in place; `changed` tells whether it was."""

    facts: Facts = field(default_factory=lambda: Facts({}, {}))
    revision: int = 0
    edition: int = _NEW
    """The edition of the workspace's rules it was last evaluated by."""
    as_of: int = 0
    """The instant it was last evaluated at."""
    sequence: int = 0
    memberships: dict[str, Membership] = field(default_factory=dict)
    prospects: dict[str, Prospect] = field(default_factory=dict)
    outbox: list[Transition] = field(default_factory=list)
    """Transitions not known to be published yet."""
    absorbed: set[str] = field(default_factory=set)
    """The profiles that turned out to be this one and whose events are here."""
    joined_to: str = ""
    """The profile that this one turned out to be; empty while it's one of its own."""
    erased: bool = False
    changed: bool = False
    happened: bool = False
    """Whether something that wasn't known before happened to it."""
    failures: dict[FailedVersion, Failure] = field(default_factory=dict)
    """What couldn't be evaluated since it was read."""

    @property
    def wake_at(self) -> int:
        """The earliest instant at which time alone may change a membership, or a prospect; NEVER if there is none."""
        flips_at = self._flips_at
        return (
            min([flips_at, *[prospect.until for prospect in self.prospects.values()]]) if self.prospects else flips_at
        )

    @property
    def _flips_at(self) -> int:
        return min([membership.until for membership in self.memberships.values()], default=NEVER)

    @property
    def differs_from(self) -> int:
        """The least edition of an upcoming version that says otherwise than the one that serves; 0 if there is none."""
        memberships = self.memberships
        return min(
            [
                prospect.edition
                for segment_id, prospect in self.prospects.items()
                if prospect.member is not (segment_id in memberships and memberships[segment_id].member)
            ],
            default=0,
        )

    def catch_up(self, rules: Rules, now: int, *, deleted: int = 0) -> int:
        """Let time pass until now, and versions come to serve that have done so since the last evaluation.

        Returns the instant to go on with: now, or a later one at which it was evaluated before. To be called before
        anything else happens to a state. An edition up to `deleted` that the rules don't have is of definitions that
        were deleted: then it's evaluated by those that there are. Raises `StaleRules`.
        """
        now = max(now, self.as_of)
        if self.edition == _NEW:
            return now
        foreseen: list[Published] = []
        if self.edition != rules.edition:
            if self.edition > max(rules.edition, deleted):
                raise StaleRules
            known = self.edition if self.edition < rules.edition else _NEW
            self.edition = rules.edition
            self.changed = True
            foreseen = rules.upcoming_since(known)
            self._switch(rules.serving_since(known), rules, now)
        self._let_time_pass(rules, now)
        if self.prospects or foreseen:
            self._look_ahead(foreseen, rules, now)
        return now

    def _switch(self, segments: list[Published], rules: Rules, now: int) -> None:
        """Go by other versions than before, from the instants on from which they serve. Given in the order of those."""
        waiting = {segment.segment_id: rules.former.get(segment.segment_id) for segment in segments}
        for switched_at, group in groupby(segments, key=lambda segment: segment.switched_at):
            together = list(group)
            at = max(self.as_of, min(switched_at or now, now))
            self._let_time_pass(rules, at, waiting)
            for segment in together:
                del waiting[segment.segment_id]
                if membership := self.memberships.get(segment.segment_id):
                    # When its former version would have flipped doesn't matter any more.
                    membership.until = NEVER
            self._evaluate(together, Cause.EDIT, rules, at)

    def _look_ahead(self, segments: Iterable[Published], rules: Rules, now: int) -> None:
        """Ask upcoming versions that haven't been asked, and those that may say otherwise by now. Forget those that
        serve by now, or never will."""
        asked = {segment.segment_id: segment for segment in segments}
        for segment_id, prospect in list(self.prospects.items()):
            segment = rules.upcoming.get(segment_id)
            if segment is None or segment.edition != prospect.edition:
                del self.prospects[segment_id]
                self.changed = True
            elif prospect.until <= now:
                asked[segment_id] = segment
        self._foresee(asked.values(), Cause.EDIT, now)

    def observe_profile(self, revision: int, person: Person, rules: Rules, now: int) -> None:
        """Take a state of the profile, unless it's an older one."""
        if revision > self.revision:
            touched = self._take_person(revision, person, rules)
            self._happened(rules.in_order(touched), Cause.PROFILE, rules, now)

    def observe_event(self, event: Event, rules: Rules, now: int) -> None:
        """Take an event, unless it's known."""
        if self._take_event(event):
            self._happened(rules.by_event_type.get(event.type, ()), Cause.EVENT, rules, now, event.event_id)

    def absorb(
        self,
        merged: Mapping[str, Mapping[str, History]],
        rules: Rules,
        now: int,
        *,
        revision: int = 0,
        person: Person = _NOBODY,
    ) -> None:
        """Take over the events of profiles that turned out to be this one, by their ids, and the state that tells so,
        unless it's an older one. All of it is one happening: nothing is evaluated half merged."""
        if self.absorbed.issuperset(merged):
            self.observe_profile(revision, person, rules, now)
            return
        touched: list[Published] = []
        if revision > self.revision:
            touched = self._take_person(revision, person, rules)
        for profile_id in merged.keys() - self.absorbed:
            self.absorbed.add(profile_id)
            for kind, held in merged[profile_id].items():
                events = map(Event, held.ids, repeat(kind), held.at, held.properties)
                # All of them, so no `any`.
                if sum([self._take_event(event) for event in events]):
                    touched += rules.by_event_type.get(kind, ())
        self._happened(rules.in_order(touched), Cause.MERGE, rules, now)

    def join(self, survivor: str, rules: Rules, now: int) -> None:
        """Turn out to be the same person as another profile: be in no segment any more. The events stay for that one to
        absorb."""
        self.joined_to = survivor
        self.changed = True
        self._leave(self._member_of(), Cause.MERGE, rules, now)

    def erase(self, rules: Rules, now: int) -> None:
        """Be forgotten, and be in no segment any more. What is left is the outbox, and it holds only exits: also from
        those segments of which nobody knows whether the last transition was published."""
        self.erased = self.changed = True
        unsure = {transition.segment_id: transition.version for transition in self.outbox}
        self.outbox.clear()
        self._leave(self._member_of() | unsure.keys(), Cause.ERASURE, rules, now, unsure)

    def try_again(self, rules: Rules, now: int) -> None:
        """Evaluate once more what couldn't be evaluated, as of what it couldn't be evaluated for."""
        for segment_id, held in list(self.memberships.items()):
            failure, segment = held.failure, rules.by_id.get(segment_id)
            if failure and segment and (segment_id, segment.version) not in self.failures:
                self._evaluate((segment,), failure.cause, rules, now, failure.event_id)
        for segment_id, prospect in list(self.prospects.items()):
            failure, segment = prospect.failure, rules.upcoming.get(segment_id)
            if failure and segment and (segment_id, segment.version) not in self.failures:
                self._foresee((segment,), failure.cause, now, failure.event_id)

    def _member_of(self) -> set[str]:
        return {segment_id for segment_id, held in self.memberships.items() if held.member}

    def _leave(
        self, segment_ids: set[str], cause: Cause, rules: Rules, now: int, versions: Mapping[str, int] = _NOTHING
    ) -> None:
        """Leave segments for good. `versions` are those of segments that the rules may not have."""
        self.prospects.clear()
        for membership in self.memberships.values():
            membership.until = NEVER
            membership.failure = None
        for segment_id in sorted(segment_ids):
            segment = rules.by_id.get(segment_id)
            version = segment.version if segment else versions.get(segment_id)
            if held := self.memberships.get(segment_id):
                held.member, held.exited_at = False, now
                held.cause, held.event_id, held.version = cause, "", version or held.version
            if version is not None:  # Else the segment is gone.
                self.sequence += 1
                self.outbox.append(Transition(self.sequence, segment_id, False, now, cause, "", version))

    def _take_person(self, revision: int, person: Person, rules: Rules) -> list[Published]:
        """The versions that may be touched, in any order, and some more than once."""
        self.revision = revision
        facts = self.facts
        touched = [
            *_differing(facts.attributes, person.attributes, rules.by_attribute),
            *_differing(facts.consents, person.consents, rules.by_consent),
        ]
        if facts.time_zone != person.time_zone:
            touched += rules.by_zone
        facts.attributes, facts.consents, facts.time_zone = person.attributes, person.consents, person.time_zone
        return touched

    def _take_event(self, event: Event) -> bool:
        """Whether it's new."""
        history = self.facts.events.get(event.type)
        if history is None:
            history = self.facts.events[event.type] = History([], [], [])
        at, ids = history.at, history.ids
        index = bisect_left(at, event.occurred_at)
        while index < len(at) and at[index] == event.occurred_at and ids[index] <= event.event_id:
            if ids[index] == event.event_id:
                return False
            index += 1
        at.insert(index, event.occurred_at)
        ids.insert(index, event.event_id)
        history.properties.insert(index, event.properties)
        return True

    def _happened(self, touched: Iterable[Published], cause: Cause, rules: Rules, now: int, event_id: str = "") -> None:
        self.changed = self.happened = True
        if self.edition == _NEW:
            # Nobody has asked of this profile yet: being known is what happened to it.
            self.edition = rules.edition
            touched = rules.in_order((*rules.of_anybody, *touched))
        if not rules.upcoming:
            self._evaluate(touched, cause, rules, now, event_id)
            return
        segments = list(touched)
        self._evaluate((segment for segment in segments if segment.serves_from), cause, rules, now, event_id)
        self._foresee((segment for segment in segments if not segment.serves_from), cause, now, event_id)

    def _let_time_pass(self, rules: Rules, now: int, waiting: Mapping[str, Published | None] = _NOTHING) -> None:
        """`waiting` has the former versions of segments whose present ones don't serve yet; None if it isn't known."""
        while (instant := self._flips_at) <= now:
            for segment_id in sorted(self.memberships):
                held = self.memberships[segment_id]
                if held.until > instant:
                    continue
                if segment := waiting[segment_id] if segment_id in waiting else rules.by_id.get(segment_id):
                    self._evaluate((segment,), Cause.TIME, rules, instant)
                elif segment_id in waiting:
                    held.until = NEVER
                else:
                    # The segment is gone, and so is the membership.
                    del self.memberships[segment_id]
                    self.changed = True

    def _evaluate(self, segments: Iterable[Published], cause: Cause, rules: Rules, at: int, event_id: str = "") -> None:
        """Evaluate at an instant, and record what changed."""
        for segment in segments:
            try:
                member, until = segment.ask(self.facts, at)
            except Exception as error:
                # Whatever it is, it's this segment's alone.
                self._fail(segment, Failure(at, type(error).__name__, cause, event_id, segment.version))
                continue
            membership = self.memberships.get(segment.segment_id)
            if membership is None:
                if not member and until == NEVER:
                    continue
                membership = self.memberships[segment.segment_id] = Membership()
            if membership.until != until or membership.failure:
                membership.until, membership.failure = until, None
                self.failures.pop((segment.segment_id, segment.version), None)
                self.changed = True
            if membership.member is not member:
                membership.member = member
                membership.cause, membership.event_id, membership.version = cause, event_id, segment.version
                if member:
                    membership.entered_at = at
                else:
                    membership.exited_at = at
                self.changed = True
                self.sequence += 1
                self.outbox.append(
                    Transition(self.sequence, segment.segment_id, member, at, cause, event_id, segment.version)
                )
                if upcoming := rules.upcoming.get(segment.segment_id):
                    # It may be one that differs by now, or not any more.
                    self._foresee((upcoming,), cause, at, event_id)
        if at > self.as_of:
            self.as_of = at

    def _foresee(self, segments: Iterable[Published], cause: Cause, at: int, event_id: str = "") -> None:
        """Evaluate upcoming versions at an instant, and record what they say."""
        facts, prospects, memberships = self.facts, self.prospects, self.memberships
        for segment in segments:
            segment_id = segment.segment_id
            held = memberships.get(segment_id)
            try:
                member, until = segment.ask(facts, at)
            except Exception as error:
                failure = Failure(at, type(error).__name__, cause, event_id, segment.version)
                self.failures[segment_id, segment.version] = failure
                is_member = held is not None and held.member
                prospects[segment_id] = Prospect(segment.edition, is_member, failure=failure)
                self.changed = True
                continue
            if self.failures:
                self.failures.pop((segment_id, segment.version), None)
            if not member and until == NEVER and (held is None or not held.member):
                if prospects.pop(segment_id, None) is not None:
                    self.changed = True
                continue
            prospect = Prospect(segment.edition, member, until)
            if prospect != prospects.get(segment_id):
                prospects[segment_id] = prospect
                self.changed = True

    def _fail(self, segment: Published, failure: Failure) -> None:
        self.failures[segment.segment_id, segment.version] = failure
        membership = self.memberships.setdefault(segment.segment_id, Membership())
        # Until something touches it: the same facts at another instant are no reason to hope.
        membership.until = NEVER
        before, membership.failure = membership.failure, failure
        self.changed |= before is None or replace(before, at=failure.at) != failure


def _differing(
    before: Mapping[str, object], after: Mapping[str, object], users: Mapping[str, list[Published]]
) -> Iterator[Published]:
    """The users of what isn't the same any more."""
    for name in before.keys() | after.keys():
        # Both, because Python takes True and 1.0 for the same.
        if before.get(name) != after.get(name) or type(before.get(name)) is not type(after.get(name)):
            yield from users.get(name, ())
