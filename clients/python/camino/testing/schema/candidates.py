"""Values to try in a slot: which are valid, and what the others break, is then judged by protovalidate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis.strategies import SearchStrategy


@dataclass(frozen=True, slots=True)
class Candidates:
    usual: SearchStrategy[Any]
    """Values most of which are valid."""
    edges: Sequence[Any] = ()
    """The interesting values of the type, the simplest first; valid or not."""
    near: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """By a rule's option: values about where it begins or ends to hold, the likeliest to break it first."""
    telling: Sequence[Any] = ()
    """Values that tell the field, for people to read."""

    def map(self, convert: Callable[[Any], Any]) -> Candidates:
        """The same, of another type."""
        return Candidates(
            self.usual.map(convert),
            [convert(value) for value in self.edges],
            {option: [convert(value) for value in values] for option, values in self.near.items()},
            [convert(value) for value in self.telling],
        )


class UnknownOption(Exception):
    """An option that the vocabulary here doesn't have."""

    def __init__(self, option: str) -> None:
        super().__init__(option)
        self.option = option


def options(rules: Message, known: frozenset[str]) -> dict[str, Any]:
    """What is declared, by option. Raises `UnknownOption` if that is anything but those known, extensions included."""
    return dict(_options(rules, known))


def _options(rules: Message, known: frozenset[str]) -> Iterator[tuple[str, Any]]:
    for unknown in UnknownFieldSet(rules):
        raise UnknownOption(f"option {unknown.field_number}")
    for option, value in rules.ListFields():
        if option.is_extension or option.name not in known | {"example"}:
            raise UnknownOption(option.full_name if option.is_extension else option.name)
        # A format that is set to false asks for nothing.
        if option.name != "example" and (value is not False or option.name == "const"):
            yield option.name, value
