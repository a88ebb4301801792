"""Finding what is known of profiles by any of the ids that they have had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from services.chassis.documents import Collection, Document
from services.segment import convert, graves

_MOST_FAILING = 1_000
"""Enough to see that something is wrong; each is read as a whole."""


async def profiles(facts: Collection, keys: Iterable[str]) -> dict[str, Document]:
    """For each key the profile that it means now. Those that nothing is known of, or that were erased, are left out.
    One read, and another for each step from grave to grave."""
    wanted = set(keys)
    read: dict[str, Document] = {}
    asked = wanted
    while asked:
        found = await facts.get(asked)
        read |= found
        asked = {target for document in found.values() if (target := _target(document))} - read.keys()
    standing: dict[str, Document] = {}
    for key in wanted:
        document = read.get(key)
        # A profile is merged into an older one: so this ends.
        while document and (target := _target(document)):
            document = read.get(target)
        if document and not graves.is_erased(document.body):
            standing[key] = document
    return standing


async def failing(facts: Collection) -> dict[tuple[str, ...], float]:
    """How many profiles some segment can't be evaluated for, as a gauge is read."""
    return {(): await facts.count("failing", 1)}


async def failing_in(facts: Collection, workspace_id: str) -> Counter[str]:
    """For how many profiles a segment can't be evaluated, by segment: of the first thousand that there is one for."""
    found = Counter[str]()
    page = await facts.query("failing", 1, workspace_id, limit=_MOST_FAILING)
    for document in page.documents:
        found.update(convert.failing_in(document.body))
    return found


def _target(document: Document) -> str:
    """The key of the profile that the one in a grave is now; empty for any other document."""
    survivor = graves.joined_to(document.body)
    return convert.key_of(document.id.partition("/")[0], survivor) if survivor else ""
