"""Published templates: kept in versions, and compiled when they're first used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from services.channels import convert
from services.channels.store import Store
from services.channels.templates import Compiler, Template
from services.chassis.clock import SECOND, Clock, Instant
from services.chassis.documents import Document, change
from services.chassis.errors import Contention, EtagMismatch, InvalidDefinition, NotFound

Name = tuple[str, str, int]
"""Workspace, template and version; version 0 is the current one."""

_KEPT = 1_000
_LOOK_EVERY = SECOND


@dataclass(slots=True)
class _Compiled:
    """What was made of a version's content, and when that was last seen in the store."""

    content: bytes
    template: Template | InvalidDefinition
    seen_at: Instant


class Library:
    """A version never changes, so what was compiled of it stays good for as long as it's there: it may be deleted with
    its workspace, and its number come again, so it's looked at once a second. Which one is current is asked each
    time."""

    def __init__(self, store: Store, compiler: Compiler, clock: Clock) -> None:
        self._store = store
        self._compiler = compiler
        self._clock = clock
        self._compiled: dict[Name, _Compiled] = {}

    def forget(self, workspace_id: str) -> None:
        """Let go of a workspace's templates."""
        self._compiled = {name: kept for name, kept in self._compiled.items() if name[0] != workspace_id}

    async def compiled(self, names: Iterable[Name]) -> dict[Name, Template | InvalidDefinition]:
        """The templates of these names, or what is wrong with one: a rule may have become stricter since it was
        published. Those that don't exist are left out."""
        now = self._clock.now()
        found: dict[Name, Template | InvalidDefinition] = {}
        missing: dict[Name, str] = {}
        for name in names:
            kept = self._compiled.get(name)
            if kept is not None and now < kept.seen_at + _LOOK_EVERY:
                found[name] = kept.template
            else:
                missing[name] = convert.template_key(name[0], name[1])
        if missing:
            current = await self._store.templates.get(set(missing.values()))
            filed = await self._store.versions.get(
                {
                    convert.version_key(key, name[2])
                    for name, key in missing.items()
                    if name[2] and key in current and convert.version_of(current[key].body) != name[2]
                }
            )
            for name, key in missing.items():
                document = current.get(key)
                if document is not None and name[2] not in (0, convert.version_of(document.body)):
                    document = filed.get(convert.version_key(key, name[2]))
                if document is not None:
                    found[name] = self._compile((name[0], name[1], convert.version_of(document.body)), document, now)
        return found

    def _compile(self, name: Name, document: Document, now: Instant) -> Template | InvalidDefinition:
        kept = self._compiled.get(name)
        if kept is not None and convert.has_content(document.body, kept.content):
            kept.seen_at = now
            return kept.template
        template: Template | InvalidDefinition
        try:
            template = self._compiler.compile(convert.source_of(convert.content_of(document.body)))
        except InvalidDefinition as error:
            template = error
        if kept is None and len(self._compiled) >= _KEPT:
            del self._compiled[next(iter(self._compiled))]
        self._compiled[name] = _Compiled(document.body["content"], template, now)
        return template

    async def read(self, name: Name) -> Document:
        """Raises `NotFound`."""
        workspace_id, template_id, version = name
        key = convert.template_key(workspace_id, template_id)
        document = (await self._store.templates.get([key])).get(key)
        if document is not None and version not in (0, convert.version_of(document.body)):
            filed = convert.version_key(key, version)
            document = (await self._store.versions.get([filed])).get(filed)
        if document is None:
            raise NotFound.of("template", f"{template_id}@{version}" if version else template_id)
        return document

    async def publish(self, workspace_id: str, template_id: str, content: Any, etag: str, now: int) -> Document:
        """Make content current. The same content again changes nothing, whatever the etag: the first reply may have
        been lost. Raises `InvalidDefinition`, `EtagMismatch`."""
        self._compiler.compile(convert.source_of(content))
        key = convert.template_key(workspace_id, template_id)
        wanted = convert.content_bytes(content)
        current = await self._store.templates.get([key])

        def decide(_key: str, found: Document | None) -> dict[str, Any] | None:
            if found is not None and convert.has_content(found.body, wanted):
                return None
            now_etag = convert.etag_of(found.body) if found else ""
            if etag and etag != now_etag:
                raise EtagMismatch(now_etag)
            known = current.get(key)
            if (found.rev if found else 0) != (known.rev if known else 0):
                # What others published between our read and our write isn't filed yet.
                raise Contention("others published this template at the same time; retry")
            return convert.template_body(convert.version_of(found.body) + 1 if found else 1, wanted, now)

        if decide(key, current.get(key)) and key in current:
            # Filed before it's replaced. If others replace it meanwhile, it's filed all the same.
            old = current[key].body
            await self._store.versions.put([Document(convert.version_key(key, convert.version_of(old)), old)])
        return (await change(self._store.templates, [key], decide, known=current))[key]
