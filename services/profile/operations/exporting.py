"""Gathering all that is held on a person into one JSON document, a few hundred KiB at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from camino.ops.v1 import personal_data_service_pb2
from google.protobuf import json_format

from services.chassis.clock import DAY, Clock, Instant
from services.chassis.documents import Document
from services.chassis.ids import derive_id
from services.chassis.wire import timestamp
from services.profile import convert, finding
from services.profile.operations.clients import OTHERS, Others, endpoints
from services.profile.operations.exports import PART_BYTES, Exports
from services.profile.operations.holding import Holding
from services.profile.operations.operation import Kind, Operation, Reading, State
from services.profile.store import Store

PROFILE = "profile"
SOURCES = (*OTHERS, PROFILE)
"""In the order in which they're read."""
READABLE = 7 * DAY

_SECTIONS = {PROFILE: "profile_service"}
"""What a service's part of the document is called, if not as the service."""

Page = personal_data_service_pb2.ListPersonalDataResponse


def new_export(workspace_id: str, profile_id: str, request_id: str, now: Instant) -> Operation:
    """The export that is asked for by this id: always the same one."""
    return Operation(workspace_id, export_id(workspace_id, request_id), Kind.EXPORT, profile_id, now, now)


def export_id(workspace_id: str, request_id: str) -> str:
    return derive_id("export", workspace_id, request_id)


class Exporting:
    """Each step reads on from where the last one ended, writes what it read as parts, over those of a step that died,
    and then says where it ended. At most one page and one part are in memory."""

    def __init__(self, store: Store, others: Others, holding: Holding, exports: Exports, clock: Clock) -> None:
        self._store = store
        self._others = others
        self._holding = holding
        self._exports = exports
        self._clock = clock

    async def step(self, operation: Operation) -> Operation:
        """The next step. Raises `Obstacle`."""
        if operation.state is State.EXPIRED:
            await self._exports.delete(operation)
            return replace(operation, due_at=None)
        if operation.state is State.DONE:
            await self._exports.delete(operation)
            return self._exports.expired(operation)
        found = await finding.profiles(self._store, operation.workspace_id, [operation.profile_id])
        profile = found.get(operation.profile_id)
        if profile is None or "erasing" in profile.body:
            await self._exports.delete(operation)
            return self._exports.expired(operation)
        return await self._read(operation, profile)

    async def _read(self, operation: Operation, profile: Document) -> Operation:
        now = self._clock.now()
        ids = (profile.id.partition("/")[2], *profile.body["merged"])
        if operation.reading.profile_ids != ids:
            operation = replace(operation, reading=Reading(ids), receipts=(), counts={})
        data = bytearray() if operation.reading.parts else bytearray(_head(operation, profile).encode())
        first = operation.reading.parts
        while (source := operation.next_of(SOURCES)) and len(data) < PART_BYTES:
            page = await self._page(source, operation, profile)
            data += _written(operation.reading, source, page).encode()
            operation = _after(operation, source, page, now)
        if not source:
            data += b"}\n"
        parts = first + await self._exports.write(operation, first, bytes(data))
        operation = replace(operation, reading=replace(operation.reading, parts=parts), due_at=now)
        if source:
            return operation
        until = now + READABLE
        return replace(operation, state=State.DONE, ended_at=now, expires_at=until, due_at=until)

    async def _page(self, source: str, operation: Operation, profile: Document) -> Page:
        reading = operation.reading
        if source == PROFILE:
            return await self._holding.page(profile, reading.after)
        where = endpoints(profile.body["identities"])
        return await self._others.page(source, operation.workspace_id, reading.profile_ids, where, reading.after)


def _head(operation: Operation, profile: Document) -> str:
    workspace_id, _, profile_id = profile.id.partition("/")
    wire = convert.profile_wire(workspace_id, profile_id, profile.body)
    head = {
        "workspace_id": workspace_id,
        "profile_id": profile_id,
        "exported_at": timestamp(operation.created_at).ToJsonString(),
        "profile": json_format.MessageToDict(wire),
    }
    return json.dumps(head, ensure_ascii=False)[:-1]


def _written(reading: Reading, source: str, page: Page) -> str:
    """What a page adds to the document."""
    text = [] if reading.begun else [f', "{_SECTIONS.get(source, source)}": {{']
    kind = reading.kind
    for record in page.records:
        if record.kind == kind:
            text.append(", ")
        else:
            text.append(f"{'], ' if kind else ''}{json.dumps(record.kind)}: [")
            kind = record.kind
        text.append(record.json)
    if not page.next_page_token:
        text.append("]}" if kind else "}")
    return "".join(text)


def _after(operation: Operation, source: str, page: Page, now: Instant) -> Operation:
    reading = operation.reading
    operation = operation.counted(_counts(page.records))
    if not page.next_page_token:
        reading = replace(reading, kind="", begun=False, after="")
        return replace(operation.receipted(source, now), reading=reading)
    kind = page.records[-1].kind if page.records else reading.kind
    return replace(operation, reading=replace(reading, kind=kind, begun=True, after=page.next_page_token))


def _counts(records: Sequence[personal_data_service_pb2.PersonalRecord]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for record in records:
        counts[record.kind] = counts.get(record.kind, 0) + 1
    return counts
