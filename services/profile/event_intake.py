"""Taking events: a batch is a few reads and a few writes, whatever its size.

The order of writes makes a crash between any two harmless: identities first (one that points at a profile that isn't
there yet makes that profile when it's used next), then profiles, then events. Sending the same batch again finishes
what was begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from camino.profile.v1 import profile_service_pb2

from services.chassis.clock import Clock
from services.chassis.documents import Document
from services.chassis.errors import (
    CaminoError,
    Contention,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Violation,
)
from services.chassis.ids import new_id, partition_of
from services.chassis.wire import instant
from services.profile import convert, finding, normalise
from services.profile.domain import links
from services.profile.domain.profile import Facts, Profile, absorb
from services.profile.domain.rules import Rules
from services.profile.domain.values import MAX_EVENT_BYTES, Identity, check_instant
from services.profile.finding import Standing
from services.profile.joining import Joining, give_way
from services.profile.linking import Linking
from services.profile.store import SWEEP_AFTER, Store
from services.profile.storing import place, stored

ItemResult = profile_service_pb2.ItemResult
EventInput = profile_service_pb2.EventInput
_ROUNDS = 60
_OURS = "camino."
"""What the types of events begin with that tell what became of messages: see `EventCondition`."""


class EventIntake:
    def __init__(
        self,
        store: Store,
        clock: Clock,
        rules: Callable[[str], Rules],
        joining: Joining,
        linking: Linking,
        partitions: int,
        written: Callable[[Iterable[Document]], None],
    ) -> None:
        """`rules` are a workspace's; `written` is told of profiles and events that are to be published."""
        self._store = store
        self._clock = clock
        self._rules = rules
        self._joining = joining
        self._linking = linking
        self._partitions = partitions
        self._written = written

    async def events(
        self, workspace_id: str, items: Sequence[EventInput], violations: Mapping[int, Violation]
    ) -> list[ItemResult]:
        """Take items, of which some are known to break a rule: one result for each, in order."""
        now = self._clock.now()
        rules = self._rules(workspace_id)
        results: dict[int, ItemResult] = {index: convert.refused(found) for index, found in violations.items()}
        properties: dict[int, convert.Body] = {}
        named: dict[int, Identity] = {}
        profile_ids: dict[int, str] = {}
        for index, item in enumerate(items):
            if index in results:
                continue
            try:
                properties[index] = _properties(item, now)
                if item.WhichOneof("subject") == "profile_id":
                    profile_ids[index] = item.profile_id
                else:
                    wire = item.identity
                    named[index] = normalise.identity(wire.namespace, wire.value, "identity.value", rules)
            except CaminoError as error:
                results[index] = convert.refused(error)
        there = await finding.profiles(self._store, workspace_id, set(profile_ids.values()))
        first: dict[str, int] = {}
        repeats: dict[int, int] = {}
        for index in sorted((*named, *profile_ids)):
            if (earlier := first.get(items[index].event_id)) is not None:
                # Of several with one id the first that can be taken is, and the others make nobody.
                repeats[index] = earlier
            elif index in profile_ids and profile_ids[index] not in there:
                results[index] = convert.refused(NotFound.of("profile", profile_ids[index]))
            else:
                first[items[index].event_id] = index
                continue
            named.pop(index, None)
            profile_ids.pop(index, None)
        subjects = {index: there[id_] for index, id_ in profile_ids.items()}
        if named:
            found, seen = await self._subjects(workspace_id, items, named, rules, now)
            subjects.update(found)
            results.update(seen)
        for index in named:
            if index not in subjects and index not in results:
                results[index] = convert.refused(Contention("others kept changing the same profile; send it again"))

        writes: dict[str, Document] = {}
        rows: dict[int, str] = {}
        for index, profile in subjects.items():
            try:
                finding.check_not_erased(profile.body)
            except CaminoError as error:
                results[index] = convert.refused(error)
                continue
            key = f"{workspace_id}/{items[index].event_id}"
            occurred_at = instant(items[index].occurred_at) if items[index].HasField("occurred_at") else now
            body = convert.event_body(items[index], properties[index], profile.id, occurred_at, now)
            body["partition"] = partition_of(profile.id.partition("/")[2], self._partitions)
            body["publish_at"] = now + SWEEP_AFTER
            body.update(place(items[index]))
            writes[key] = Document(key, body)
            rows[index] = key
        duplicates = set((await self._store.events.put(list(writes.values()))).duplicate)
        self._written(document for key, document in writes.items() if key not in duplicates)
        firsts = await self._store.events.get(duplicates)
        known = await self._now(workspace_id, firsts.values())
        for index, key in rows.items():
            if key in duplicates:
                results[index] = convert.duplicate(known.get(key, ""))
            else:
                results[index] = convert.ok(writes[key].body["profile"].partition("/")[2])
        for index, earlier in repeats.items():
            result = results[earlier]
            results[index] = result if result.HasField("error") else convert.duplicate(result.profile_id)
        return [results[index] for index in range(len(items))]

    async def _subjects(
        self, workspace_id: str, items: Sequence[EventInput], named: Mapping[int, Identity], rules: Rules, now: int
    ) -> tuple[dict[int, Document], dict[int, ItemResult]]:
        """The profiles that have the identities, made where nobody has one; and the results of events that were taken
        before. Those that others kept changing are in neither."""
        left = dict(named)
        results: dict[int, ItemResult] = {}
        subjects: dict[int, Document] = {}
        for attempt in range(_ROUNDS):
            if attempt:
                await give_way(attempt)
            owners, places = await finding.located(self._store, workspace_id, set(left.values()))
            whose = {identity: places[owner.profile_id] for identity, owner in owners.items() if owner.profile_id}
            if not attempt:
                # An event that was taken before has no second effect: it makes nobody, whomever it names this time.
                strangers = {
                    f"{workspace_id}/{items[index].event_id}": index
                    for index, identity in left.items()
                    if identity not in whose
                }
                taken = await self._store.events.get(strangers)
                now_theirs = await self._now(workspace_id, taken.values())
                for key in taken:
                    results[strangers[key]] = convert.duplicate(now_theirs.get(key, ""))
                    del left[strangers[key]]
            claims = {identity: new_id() for identity in left.values() if identity not in whose}
            if claims and not await finding.claim(self._store, workspace_id, claims):
                continue
            whose.update((identity, Standing(id_, None)) for identity, id_ in claims.items())
            ready = await self._ready(workspace_id, items, left, whose, rules, now)
            for index, identity in list(left.items()):
                if identity in ready:
                    subjects[index] = ready[identity]
                    del left[index]
            if not left:
                break
        return subjects, results

    async def _ready(
        self,
        workspace_id: str,
        items: Sequence[EventInput],
        named: Mapping[int, Identity],
        places: Mapping[Identity, Standing],
        rules: Rules,
        now: int,
    ) -> dict[Identity, Document]:
        """The profiles that are there and know their identity; those that aren't, or don't, are made or told so."""
        ready: dict[Identity, Document] = {}
        locked: list[Document] = []
        made: dict[str, tuple[Profile, int, EventInput]] = {}
        for index, identity in named.items():
            profile_id, document = places[identity].profile_id, places[identity].document
            body = document.body if document else {}
            if document and ("erased" in body or places[identity].lists(identity)):
                ready[identity] = document
                continue
            if document and convert.lock_of(body):
                locked.append(document)
                continue
            if profile_id in made:
                before = made[profile_id][0]
            elif convert.is_profile(body):
                before = convert.profile_of(profile_id, body)
            else:
                before = Profile(profile_id, now, now)
            if links.clashes({*before.identities, identity}, rules):
                # It was given to this one by somebody who died before they were told apart.
                try:
                    await self._linking.take(workspace_id, Facts((identity,), now), items[index])
                except Contention:
                    pass
                except FailedPrecondition:
                    # The one that has it is being erased.
                    if document:
                        ready[identity] = document
                continue
            try:
                profile = absorb(before, Facts((identity,), now), rules, now)
            except CaminoError:
                # It has too many to be told of another; the event is this person's all the same.
                if document:
                    ready[identity] = document
                continue
            made[profile_id] = profile, document.rev if document else 0, items[index]
        if locked:
            await self._joining.settle(locked)
        writes = {
            profile_id: Document(
                f"{workspace_id}/{profile_id}", stored(workspace_id, profile, rules, self._partitions, now, item), rev
            )
            for profile_id, (profile, rev, item) in made.items()
        }
        saved = set((await self._store.profiles.put(list(writes.values()))).saved) if writes else set()
        self._written(document for document in writes.values() if document.id in saved)
        for identity in named.values():
            profile_id = places[identity].profile_id
            if profile_id in writes and writes[profile_id].id in saved:
                ready.setdefault(identity, writes[profile_id])
        return ready

    async def _now(self, workspace_id: str, events: Iterable[Document]) -> dict[str, str]:
        """Whose events are, by the event's key: they were taken for one that may have been merged since."""
        taken_for = {event.id: event.body["profile"].partition("/")[2] for event in events}
        if not taken_for:
            return {}
        places = await finding.standing(self._store, workspace_id, set(taken_for.values()))
        return {key: places[id_].profile_id for key, id_ in taken_for.items()}


def _properties(item: EventInput, now: int) -> convert.Body:
    """An event's properties as they're stored. Raises `InvalidArgument` for what can't be taken of it."""
    if item.type.startswith(_OURS):
        raise InvalidArgument.at("type", f"only Camino tells events of types that begin with {_OURS}; choose another")
    check_instant(instant(item.occurred_at) if item.HasField("occurred_at") else now, now, "occurred_at")
    size = item.ByteSize()
    if size > MAX_EVENT_BYTES:
        raise InvalidArgument.at(
            "properties", f"the event has {size} bytes, at most 65536 are taken", reason="EVENT_TOO_LARGE"
        )
    return convert.properties_of(item)
