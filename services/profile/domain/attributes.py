"""What is known of a person, by name: the newest holds, whatever order it's told in. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.profile.domain.rules import Rules
from services.profile.domain.values import Value


@dataclass(frozen=True, slots=True)
class Attribute:
    """A value, or None for none any more; when that was seen to hold, and who says so."""

    value: Value | None
    observed_at: int
    source: str = ""


Attributes = Mapping[str, Attribute]


def newer(told: Attributes, known: Attributes, rules: Rules) -> dict[str, Attribute]:
    """Those of the told attributes that hold in place of the known ones.

    A total order of facts, so that the same ones end the same in any order: by instant, then the priority of the
    source, then always the same one.
    """
    return {
        name: new
        for name, new in told.items()
        if (old := known.get(name)) is None or (new is not old and _order(new, rules) > _order(old, rules))
    }


def _order(attribute: Attribute, rules: Rules) -> tuple[int, int, str, str]:
    # By its text, since values of several types can't be compared. Python takes 0.0 for -0.0 and True for 1.0; this
    # doesn't.
    text = f"{type(attribute.value).__name__}:{attribute.value!r}"
    return attribute.observed_at, rules.source_priority(attribute.source), attribute.source, text
