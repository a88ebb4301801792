"""How a workspace tells people apart, and whom it believes more. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

UNDECLARED_PRIORITY = 200


class Normaliser(Enum):
    """In which spelling identities are the same."""

    EXACT = "exact"
    EMAIL = "email"
    PHONE = "phone"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A kind of name that people have. `unique`: a person has at most one."""

    name: str
    priority: int = UNDECLARED_PRIORITY
    normaliser: Normaliser = Normaliser.EXACT
    unique: bool = False


ALWAYS_THERE = (
    Namespace("user_id", 1000, unique=True),
    Namespace("email", 500, Normaliser.EMAIL),
    Namespace("phone", 400, Normaliser.PHONE),
    Namespace("push_token", 100),
    Namespace("webhook_url", 100),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is declared, by name. What isn't has the least that can be said of it."""

    namespaces: Mapping[str, Namespace] = field(default_factory=lambda: MappingProxyType({}))
    sources: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, namespaces: Iterable[Namespace], sources: Mapping[str, int] | None = None) -> Rules:
        """These, and the namespaces that are always there unless they're among them."""
        known = {namespace.name: namespace for namespace in (*ALWAYS_THERE, *namespaces)}
        return cls(MappingProxyType(known), MappingProxyType(dict(sources or {})))

    @classmethod
    def default(cls) -> Rules:
        """What holds in a workspace that published none."""
        return _DEFAULT

    def namespace(self, name: str) -> Namespace:
        return self.namespaces.get(name) or Namespace(name)

    def source_priority(self, name: str) -> int:
        return self.sources.get(name, 0)


_DEFAULT = Rules.of(())
