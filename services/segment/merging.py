"""What is told of profiles, each of which may turn out to be another one at any moment.

The order of the writes: a profile that was merged becomes a grave, which nobody adds to any more; then the survivor
absorbs its events; then the grave lets them go. Each is one compare-and-set, and done again it changes nothing. So
whoever else is about to write to the merged profile fails, reads again, finds the grave and takes what it was told to
the survivor; and whoever finds a grave with events may bring them there, which timers do if nobody else did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import Counter

from services.chassis.clock import Instant
from services.chassis.documents import Document, change
from services.segment import convert, graves
from services.segment.domain import History
from services.segment.profiles import Happen, Profiles
from services.segment.rules import Rules
from services.segment.standing import FailedVersion, Failure
from services.segment.state import ProfileState
from services.segment.store import Store
from services.segment.told import Told

_STEPS = 100
"""From grave to grave. A profile is merged into an older one, so there is no circle; a fact that says so must not hold
us up for ever."""

Left = Mapping[str, Mapping[str, History]]
"""What graves leave to their survivors: events by the keys of merged profiles."""


class Merging:
    """`relay` takes profiles with transitions that are to be published; `dropped` counts what is told of erased
    profiles."""

    def __init__(
        self, store: Store, profiles: Profiles, relay: Callable[[Iterable[Document]], None], dropped: Counter
    ) -> None:
        self._store = store
        self._profiles = profiles
        self._relay = relay
        self._dropped = dropped

    async def take(
        self, told: Mapping[str, Sequence[Told]], places: Mapping[str, str]
    ) -> Mapping[str, Mapping[FailedVersion, Failure]]:
        """Let happen what is told of profiles, by their keys: to them, or to those that they are by now. When it
        returns, all is durable. `places` are as in `Profiles.record`.

        Returns which segments couldn't be evaluated, by the key that was told of: what was told is known all the same.
        """
        places = dict(places)
        failures: dict[str, dict[FailedVersion, Failure]] = {}
        told_as: dict[str, str] = {}
        absorbed: set[str] = set()
        for _ in range(_STEPS):
            merged = _merged(told)
            # Most have never been anybody else: then nothing is read here.
            known = await self._store.facts.get(merged) if merged else {}
            survivors = _unknown(merged, known)
            left = await self._bury(survivors, known, places) if survivors else {}
            absorbed.update(left)
            recorded = await self._profiles.record(told, _happening(told, left), known=known, places=places)
            self._relay(recorded.owing)
            for key, failed in recorded.failures.items():
                failures.setdefault(told_as.get(key, key), {}).update(failed)
            told_as |= {survivor: told_as.get(key, key) for key, survivor in recorded.joined.items()}
            for key in recorded.erased:
                self._dropped.inc(len(told[key]))
            told = _passed_on(told, recorded.joined, places)
            if not told:
                if absorbed:
                    await self._let_go(absorbed)
                return failures
        raise RuntimeError("profiles are merged in a circle")

    async def finish(self, documents: Iterable[Document]) -> None:
        """Bring the events that are left in graves to their survivors."""
        told: dict[str, list[Told]] = {}
        keys = []
        for document in documents:
            workspace_id, _, profile_id = document.id.partition("/")
            survivor = convert.key_of(workspace_id, graves.joined_to(document.body))
            told.setdefault(survivor, []).append(Told(None, (profile_id,), None))
            keys.append(document.id)
        await self.take(told, {})
        # Also where the survivor had absorbed them before.
        await self._let_go(keys)

    async def _bury(self, survivors: Mapping[str, str], known: dict[str, Document], places: dict[str, str]) -> Left:
        """Make graves of merged profiles, and see what they leave. What was `known` of them is forgotten."""
        for key, survivor in survivors.items():
            known.pop(key, None)
            if place := places.get(convert.key_of(key.partition("/")[0], survivor)):
                places.setdefault(key, place)

        def join(key: str, state: ProfileState, rules: Rules, now: Instant) -> None:
            state.join(survivors[key], rules, now)

        recorded = await self._profiles.record(survivors, join, places=places)
        self._relay(recorded.owing)
        found = await self._store.facts.get(survivors)
        return {key: graves.left_by(document.body) for key, document in found.items()}

    async def _let_go(self, keys: Iterable[str]) -> None:
        def shrink(_key: str, document: Document | None) -> convert.Body | None:
            return graves.without_events(document.body) if document else None

        await change(self._store.facts, keys, shrink)


def _merged(told: Mapping[str, Sequence[Told]]) -> dict[str, set[str]]:
    """The ids of profiles that are told to have been merged, by the keys of their survivors."""
    found: dict[str, set[str]] = {}
    for key, changes in told.items():
        for one in changes:
            if one.merged:
                found.setdefault(key, set()).update(one.merged)
    return found


def _unknown(merged: Mapping[str, set[str]], known: Mapping[str, Document]) -> dict[str, str]:
    """The keys of merged profiles that their survivors haven't absorbed yet, and the survivors. Those of which the
    survivor itself is no more are left for whoever it is now."""
    found: dict[str, str] = {}
    for key, profile_ids in merged.items():
        workspace_id, _, survivor = key.partition("/")
        body = known[key].body if key in known else {}
        if graves.is_erased(body) or graves.joined_to(body):
            continue
        for profile_id in profile_ids.difference(body.get("absorbed", ()), (survivor,)):
            found[convert.key_of(workspace_id, profile_id)] = survivor
    return found


def _happening(told: Mapping[str, Sequence[Told]], left: Left) -> Happen:
    def happen(key: str, state: ProfileState, rules: Rules, now: Instant) -> None:
        workspace_id, _, own_id = key.partition("/")
        for one in told[key]:
            merged = _left_by(one.merged, left, workspace_id, own_id) if left and one.merged else {}
            if one.profile and one.profile.revision > state.revision:
                revision, person = one.profile.revision, convert.person_of(one.profile)
                state.absorb(merged, rules, now, revision=revision, person=person)
            elif merged:
                state.absorb(merged, rules, now)
            if one.event:
                state.observe_event(convert.event_of(one.event), rules, now)
        if not state.happened:
            # Told what it knows: someone may have mended what failed, and drives it again.
            state.try_again(rules, now)

    return happen


def _left_by(
    profile_ids: Iterable[str], left: Left, workspace_id: str, own_id: str
) -> dict[str, Mapping[str, History]]:
    """What some of the graves leave, by profile id."""
    return {
        profile_id: left[grave]
        for profile_id in profile_ids
        if (grave := convert.key_of(workspace_id, profile_id)) in left and profile_id != own_id
    }


def _passed_on(
    told: Mapping[str, Sequence[Told]], joined: Mapping[str, str], places: dict[str, str]
) -> dict[str, list[Told]]:
    """What is left of what was told, by the keys of the profiles that those joined which it was told of."""
    left: dict[str, list[Told]] = {}
    for key, survivor in joined.items():
        passed = [one for change in told[key] if (one := change.passed_on())]
        if not passed:
            continue
        left.setdefault(survivor, []).extend(passed)
        if place := places.get(key):
            places.setdefault(survivor, place)
    return left
