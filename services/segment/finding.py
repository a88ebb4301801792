"""Finding what is known of profiles by any of the ids that they have had."""

from __future__ import annotations

from collections.abc import Iterable

from services.chassis.documents import Collection, Document
from services.segment import convert, graves


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


def _target(document: Document) -> str:
    """The key of the profile that the one in a grave is now; empty for any other document."""
    survivor = graves.joined_to(document.body)
    return convert.key_of(document.id.partition("/")[0], survivor) if survivor else ""
