"""Publishing what was written: profiles and events as ProfileChanged, then taking them out of the outbox."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from camino.profile.v1 import profile_events_pb2

from services.chassis.documents import Collection, Document
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.ids import derive_id
from services.profile import convert, finding
from services.profile.store import Store
from services.profile.storing import OWING


class Outbox:
    """Delivers documents that have `publish_at`: each is published until the broker has it, and only then is the field
    taken away."""

    def __init__(self, store: Store, publisher: Publisher) -> None:
        self._store = store
        self._publisher = publisher

    async def deliver(self, written: list[Document]) -> None:
        """Publish profiles and events as they are in the store. One read, one publish, one write for each of the two.

        An event of a profile that was merged is told as the one's that stays. One whose profile is gone is of somebody
        who was erased, or of a workspace that is being deleted: there is nobody to tell of.
        """
        events = _newest(document for document in written if "type" in document.body)
        profiles = _newest(document for document in written if convert.is_profile(document.body))
        known = {document.id: document for document in profiles}
        missing = {document.body["profile"] for document in events} - known.keys()
        known.update(await self._now(missing))
        # A profile's own change first: whoever reads its event then knows the person.
        batch = [_outgoing(document, document) for document in profiles]
        batch += [_outgoing(known[profile], event) for event in events if (profile := event.body["profile"]) in known]
        await self._publisher.publish(batch)
        await _published(self._store.profiles, profiles)
        await _published(self._store.events, events)

    async def _now(self, keys: Iterable[str]) -> dict[str, Document]:
        """The profiles that these keys mean now."""
        wanted: dict[str, list[str]] = {}
        for key in keys:
            workspace_id, _, profile_id = key.partition("/")
            wanted.setdefault(workspace_id, []).append(profile_id)
        found: dict[str, Document] = {}
        for workspace_id, profile_ids in wanted.items():
            profiles = await finding.profiles(self._store, workspace_id, profile_ids)
            found.update((f"{workspace_id}/{id_}", document) for id_, document in profiles.items())
        return found


def _newest(written: Iterable[Document]) -> list[Document]:
    """Each document once. One that is changed again before it's delivered is offered again."""
    newest: dict[str, Document] = {}
    for document in written:
        before = newest.get(document.id)
        if before is None or before.rev < document.rev:
            newest[document.id] = document
    return list(newest.values())


def _outgoing(profile: Document, cause: Document) -> Outgoing:
    workspace_id, _, profile_id = profile.id.partition("/")
    if cause is profile:
        message = convert.changed(workspace_id, profile_id, profile.body)
        message_id = derive_id("profile", profile.id, str(profile.body["revision"]))
    else:
        event_id = cause.id.partition("/")[2]
        message = convert.changed(workspace_id, profile_id, profile.body, event_id, cause.body)
        # With the profile's id, which never comes again: the event's may, in a workspace that was deleted.
        message_id = derive_id("event", cause.id, profile.id)
    subject = subject_of(profile_events_pb2.ProfileChanged, workspace_id, profile.body["partition"], profile_id)
    return Outgoing(subject, message, message_id, cause.body.get("traceparent", ""))


async def _published(collection: Collection, documents: Sequence[Document]) -> None:
    """Take documents out of the outbox. One that changed meanwhile stays: it's owed again, with what changed."""
    for document in documents:
        document.body = {name: value for name, value in document.body.items() if name not in OWING}
    await collection.put(documents)
