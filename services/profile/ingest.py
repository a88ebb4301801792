"""Taking profiles and events: a batch is a few reads and a few writes, whatever its size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from camino.profile.v1 import profile_service_pb2

from services.chassis.clock import Clock
from services.chassis.documents import Document, change
from services.chassis.errors import CaminoError, Contention, InvalidArgument, NotFound, Violation
from services.chassis.ids import new_id, partition_of
from services.chassis.tracing import traceparent_of
from services.chassis.wire import instant
from services.profile import convert, normalise
from services.profile.domain import MAX_EVENT_BYTES, Facts, Identity, Profile, absorb, check_instant, join, owner_of
from services.profile.store import SWEEP_AFTER, Store

ItemResult = profile_service_pb2.ItemResult
_ROUNDS = 12


class Ingest:
    """Writes what comes in, and hands what was written to `written`, to be published.

    The order of writes makes a crash between any two harmless: identities first (one that points at a profile that
    isn't there yet makes that profile when it's used next), then profiles, then events. Sending the same batch again
    finishes what was begun.
    """

    def __init__(
        self, store: Store, clock: Clock, partitions: int, written: Callable[[Iterable[Document]], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._partitions = partitions
        self._written = written

    async def profiles(
        self,
        workspace_id: str,
        items: Sequence[profile_service_pb2.ProfileInput],
        violations: Mapping[int, Violation],
    ) -> list[ItemResult]:
        now = self._clock.now()
        results: dict[int, ItemResult] = {index: convert.refused(found) for index, found in violations.items()}
        facts: dict[int, Facts] = {}
        for index, item in enumerate(items):
            if index in results:
                continue
            try:
                facts[index] = convert.facts_of(item, now)
            except CaminoError as error:
                results[index] = convert.refused(error)
        pending = facts
        for _ in range(_ROUNDS):
            if not pending:
                break
            done = await self._absorb(workspace_id, items, pending, now)
            results.update(done)
            pending = {index: fact for index, fact in pending.items() if index not in done}
        lost = Contention("others kept changing the same profile; send it again")
        return [results.get(index) or convert.refused(lost) for index in range(len(items))]

    async def _absorb(
        self, workspace_id: str, items: Sequence[object], pending: Mapping[int, Facts], now: int
    ) -> dict[int, ItemResult]:
        """One round: what could be settled of the pending items. What others changed meanwhile is left for the next
        round."""
        done: dict[int, ItemResult] = {}
        owners = await self._owners(workspace_id, {i for fact in pending.values() for i in fact.identities})
        assigned: dict[int, str] = {}
        claims: dict[Identity, str] = {}
        split: dict[int, set[str]] = {}
        for index, fact in pending.items():
            known = {owner for i in fact.identities if (owner := owners.get(i) or claims.get(i))}
            if len(known) > 1:
                split[index] = known
                continue
            assigned[index] = owner_of(known) or new_id()
            claims.update((i, assigned[index]) for i in fact.identities if i not in owners)
        ids = {*assigned.values(), *(id_ for known in split.values() for id_ in known)}
        stored = await self._store.profiles.get({f"{workspace_id}/{id_}" for id_ in ids})
        joined = convert.joined(stored)
        there = {key.partition("/")[2] for key in stored} | set(claims.values())
        buried: dict[str, str] = {}
        for index, known in split.items():
            try:
                buried.update(join(known - joined.keys(), there))
            except CaminoError as error:
                done[index] = convert.refused(error)
        if buried or joined:
            await self._move(workspace_id, owners, {**buried, **joined}, buried)
            return done
        profiles: dict[str, Profile] = {}
        for index, profile_id in assigned.items():
            found = stored.get(f"{workspace_id}/{profile_id}")
            before = profiles.get(profile_id) or (
                convert.profile_of(profile_id, found.body) if found else Profile(profile_id, now, now)
            )
            try:
                profiles[profile_id] = absorb(before, pending[index], now)
            except CaminoError as error:
                done[index] = convert.refused(error)
        assigned = {index: profile_id for index, profile_id in assigned.items() if index not in done}
        claims = {i: id_ for index, id_ in assigned.items() for i in pending[index].identities if i not in owners}
        lost_profiles = await self._claim(workspace_id, claims)
        writes: list[Document] = []
        last = {profile_id: index for index, profile_id in assigned.items() if profile_id not in lost_profiles}
        for profile_id, index in last.items():
            key = f"{workspace_id}/{profile_id}"
            found = stored.get(key)
            profile = profiles[profile_id]
            if found is None or profile.revision != found.body["revision"]:
                body = self._profile_body(workspace_id, profile, now, items[index])
                writes.append(Document(key, body, found.rev if found else 0))
        outcome = await self._store.profiles.put(writes)
        failed = {*outcome.conflicted, *outcome.duplicate}
        self._written(document for document in writes if document.id not in failed)
        lost_profiles |= {key.partition("/")[2] for key in failed}
        done.update((i, convert.ok(id_)) for i, id_ in assigned.items() if id_ not in lost_profiles)
        return done

    async def events(
        self, workspace_id: str, items: Sequence[profile_service_pb2.EventInput], violations: Mapping[int, Violation]
    ) -> list[ItemResult]:
        now = self._clock.now()
        results: dict[int, ItemResult] = {index: convert.refused(found) for index, found in violations.items()}
        properties: dict[int, convert.Body] = {}
        identities: dict[int, Identity] = {}
        profile_ids: dict[int, str] = {}
        for index, item in enumerate(items):
            if index in results:
                continue
            try:
                properties[index] = _properties(item, now)
                if item.WhichOneof("subject") == "profile_id":
                    profile_ids[index] = item.profile_id
                else:
                    identities[index] = normalise.identity(
                        item.identity.namespace, item.identity.value, "identity.value"
                    )
            except CaminoError as error:
                results[index] = convert.refused(error)
        there = await self._there(workspace_id, profile_ids.values())
        first: dict[str, int] = {}
        repeats: dict[int, int] = {}
        for index in sorted((*identities, *profile_ids)):
            if (earlier := first.get(items[index].event_id)) is not None:
                # Of several with one id the first that can be taken is, and the others make nobody.
                repeats[index] = earlier
            elif index in profile_ids and profile_ids[index] not in there:
                results[index] = convert.refused(NotFound.of("profile", profile_ids[index]))
            else:
                first[items[index].event_id] = index
                continue
            identities.pop(index, None)
            profile_ids.pop(index, None)
        for _ in range(_ROUNDS):
            owners = await self._owners(workspace_id, set(identities.values()))
            # An event that was taken before has no second effect: it makes nobody, whomever it names this time.
            strangers = {
                f"{workspace_id}/{items[index].event_id}": index
                for index, identity in identities.items()
                if identity not in owners
            }
            for key, document in (await self._store.events.get(strangers)).items():
                results[strangers[key]] = convert.duplicate(document.body["profile"].partition("/")[2])
                del identities[strangers[key]]
            await self._make_owners(workspace_id, set(identities.values()), owners)
            profile_ids.update((index, owners[identity]) for index, identity in identities.items())
            profiles = await self._store.profiles.get({f"{workspace_id}/{id_}" for id_ in profile_ids.values()})
            await self._make_profiles(workspace_id, items, identities, owners, profiles, now)
            joined = convert.joined(profiles)
            if not joined.keys() & owners.values():
                break
            await self._move(workspace_id, owners, joined, {})

        writes: dict[str, Document] = {}
        rows: dict[int, str] = {}
        for index, profile_id in profile_ids.items():
            profile_key = f"{workspace_id}/{profile_id}"
            if profile_key not in profiles or profile_id in joined:
                moving = Contention("others kept joining the same profile to others; send it again")
                missing = NotFound.of("profile", profile_id)
                results[index] = convert.refused(moving if index in identities else missing)
                continue
            key = f"{workspace_id}/{items[index].event_id}"
            occurred_at = instant(items[index].occurred_at) if items[index].HasField("occurred_at") else now
            body = convert.event_body(items[index], properties[index], profile_key, occurred_at, now)
            body["partition"] = partition_of(profile_id, self._partitions)
            body["publish_at"] = now + SWEEP_AFTER
            body.update(_place(items[index]))
            writes[key] = Document(key, body)
            rows[index] = key
        duplicates = set((await self._store.events.put(list(writes.values()))).duplicate)
        self._written(document for key, document in writes.items() if key not in duplicates)
        firsts = await self._store.events.get(duplicates)
        for index, key in rows.items():
            document = firsts.get(key, writes[key])
            answer = convert.duplicate if key in duplicates else convert.ok
            results[index] = answer(document.body["profile"].partition("/")[2])
        for index, earlier in repeats.items():
            result = results[earlier]
            results[index] = result if result.HasField("error") else convert.duplicate(result.profile_id)
        return [results[index] for index in range(len(items))]

    async def _move(
        self, workspace_id: str, identities: Iterable[Identity], joined: Mapping[str, str], buried: Mapping[str, str]
    ) -> None:
        """Give identities whose owner is joined to another that other one. Those that are to be `buried` get a grave
        first, in the place of their profile: then nobody can make that any more, and whoever was about to comes here.
        One whose profile was made meanwhile stays."""
        graves = [Document(f"{workspace_id}/{id_}", convert.grave(target)) for id_, target in buried.items()]
        made = {key.partition("/")[2] for key in (await self._store.profiles.put(graves)).duplicate}

        def decide(_key: str, document: Document | None) -> dict[str, object] | None:
            owner = document.body["profile_id"] if document else ""
            return {"profile_id": joined[owner]} if owner in joined and owner not in made else None

        await change(self._store.identities, [convert.identity_key(workspace_id, i) for i in identities], decide)

    async def _there(self, workspace_id: str, profile_ids: Iterable[str]) -> set[str]:
        """Those of the ids that are a profile's."""
        found = await self._store.profiles.get({f"{workspace_id}/{id_}" for id_ in profile_ids})
        return {key.partition("/")[2] for key in found} - convert.joined(found).keys()

    async def _owners(self, workspace_id: str, identities: set[Identity]) -> dict[Identity, str]:
        keys = {convert.identity_key(workspace_id, identity): identity for identity in identities}
        found = await self._store.identities.get(keys)
        return {keys[key]: document.body["profile_id"] for key, document in found.items()}

    async def _claim(self, workspace_id: str, claims: Mapping[Identity, str]) -> set[str]:
        """Write identities for new owners. The owners that lost one of theirs to others meanwhile."""
        documents = {
            convert.identity_key(workspace_id, identity): Document(
                convert.identity_key(workspace_id, identity), {"profile_id": owner}
            )
            for identity, owner in claims.items()
        }
        outcome = await self._store.identities.put(list(documents.values()))
        return {documents[key].body["profile_id"] for key in outcome.duplicate}

    async def _make_owners(self, workspace_id: str, identities: set[Identity], owners: dict[Identity, str]) -> None:
        """Give each identity that has no owner a new one; of two writers at once the first one's holds."""
        claims = {identity: new_id() for identity in identities if identity not in owners}
        if not claims:
            return
        if await self._claim(workspace_id, claims):
            claims = await self._owners(workspace_id, set(claims))
        owners.update(claims)

    async def _make_profiles(
        self,
        workspace_id: str,
        items: Sequence[object],
        identities: Mapping[int, Identity],
        owners: Mapping[Identity, str],
        profiles: dict[str, Document],
        now: int,
    ) -> None:
        """Make the profiles that identities point at and that aren't there yet."""
        missing: dict[str, tuple[Profile, object]] = {}
        for identity, index in {identity: index for index, identity in identities.items()}.items():
            key = f"{workspace_id}/{owners[identity]}"
            if key not in profiles:
                before, _ = missing.get(key) or (Profile(owners[identity], now, now), None)
                missing[key] = absorb(before, Facts((identity,)), now), items[index]
        if not missing:
            return
        writes = [
            Document(key, self._profile_body(workspace_id, profile, now, item))
            for key, (profile, item) in missing.items()
        ]
        duplicates = set((await self._store.profiles.put(writes)).duplicate)
        made = {document.id: document for document in writes if document.id not in duplicates}
        self._written(made.values())
        profiles.update(made)
        profiles.update(await self._store.profiles.get(duplicates))

    def _profile_body(self, workspace_id: str, profile: Profile, now: int, item: object) -> dict[str, object]:
        """What is stored of a profile that an item has made or changed."""
        return {
            **convert.profile_body(profile),
            "workspace": workspace_id,
            "partition": partition_of(profile.profile_id, self._partitions),
            "publish_at": now + SWEEP_AFTER,
            **_place(item),
        }


def _properties(item: profile_service_pb2.EventInput, now: int) -> convert.Body:
    """An event's properties as they're stored. Raises `InvalidArgument` for what can't be taken of it."""
    check_instant(instant(item.occurred_at) if item.HasField("occurred_at") else now, now, "occurred_at")
    size = item.ByteSize()
    if size > MAX_EVENT_BYTES:
        raise InvalidArgument.at(
            "properties", f"the event has {size} bytes, at most 65536 are taken", reason="EVENT_TOO_LARGE"
        )
    return convert.properties_of(item)


def _place(item: object) -> dict[str, str]:
    """Where an item is in its trace, for what is owed because of it; nothing if it isn't traced."""
    place = traceparent_of(item)
    return {"traceparent": place} if place else {}
