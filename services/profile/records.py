"""What else there is to tell of a profile, besides its events: what it consented to, and what became of its identities.

A record's id follows from what it says, so that telling it again is no second record.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from camino.profile.v1 import profile_pb2, profile_service_pb2

from services.chassis.documents import Document
from services.chassis.ids import derive_id
from services.chassis.wire import set_instant
from services.profile import convert
from services.profile.convert import Body
from services.profile.domain.consents import Consents
from services.profile.domain.values import Identity

CONSENT, IDENTITY = "consent", "identity"


def of_consents(
    workspace_id: str, profile_id: str, wires: Iterable[profile_pb2.Consent], consents: Consents
) -> list[Document]:
    """The records of consents as they were given. `consents` are the same as values, in the order of the wires within
    each topic."""
    told = {topic: iter(given) for topic, given in consents.items()}
    documents: dict[str, Document] = {}
    for wire in wires:
        consent = next(told[wire.channel, wire.topic])
        body: Body = {
            "profile": f"{workspace_id}/{profile_id}",
            "at": consent.changed_at,
            "kind": CONSENT,
            "consent": [wire.channel, wire.topic, int(consent.state), consent.source, wire.proof],
            "told_of": list(consent.told_of),
        }
        id_ = _id(workspace_id, profile_id, body)
        documents[id_] = Document(id_, body)
    return list(documents.values())


def of_identities(
    workspace_id: str,
    profile_id: str,
    kind: profile_service_pb2.IdentityChangeKind,
    identities: Iterable[Identity],
    other_profile_id: str,
    at: int,
) -> Document:
    """The record of what became of some of a profile's identities."""
    body: Body = {
        "profile": f"{workspace_id}/{profile_id}",
        "at": at,
        "kind": IDENTITY,
        "change": int(kind),
        "identities": [list(identity) for identity in identities],
        "other": other_profile_id,
    }
    return Document(_id(workspace_id, profile_id, body), body)


def fill(entry: profile_service_pb2.TimelineEntry, body: Body) -> None:
    """Set a timeline's entry from a record."""
    set_instant(entry.at, body["at"])
    if body["kind"] == CONSENT:
        channel, topic, state, source, proof = body["consent"]
        entry.consent.channel, entry.consent.topic, entry.consent.state = channel, topic, state
        entry.consent.source, entry.consent.proof = source, proof
        set_instant(entry.consent.changed_at, body["at"])
    else:
        change = entry.identity_change
        change.kind, change.other_profile_id = body["change"], body["other"]
        change.identities.extend(convert.identity_wire(identity) for identity in body["identities"])


def _id(workspace_id: str, profile_id: str, body: dict[str, Any]) -> str:
    return f"{workspace_id}/{profile_id}/{derive_id('record', repr(body))}"
