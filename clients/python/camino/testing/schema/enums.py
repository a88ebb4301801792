"""Candidates for enums and booleans."""

from __future__ import annotations

from typing import Any

from camino.testing.schema.candidates import Candidates, options
from google.protobuf.descriptor import EnumDescriptor
from hypothesis import strategies as st

_ENUM_OPTIONS = frozenset({"const", "defined_only", "in", "not_in"})
_LARGEST = (1 << 31) - 1


def enums(rules: Any, enum: EnumDescriptor) -> Candidates:
    """By `buf.validate.EnumRules`. Numbers without a name are allowed unless a rule says otherwise: enums are open."""
    given = options(rules, _ENUM_OPTIONS)
    named = [value.number for value in enum.values]
    nameless = [number for number in (max(named) + 1, -1, _LARGEST) if number not in named]
    near = {option: [*nameless, *named] for option in given}
    if "not_in" in given:
        near["not_in"] = list(given["not_in"])
    usual = [*named, *given.get("in", ()), *([given["const"]] if "const" in given else [])]
    return Candidates(st.sampled_from(usual), [*usual, *nameless], near, [number for number in usual if number])


def booleans(rules: Any) -> Candidates:
    """By `buf.validate.BoolRules`."""
    given = options(rules, frozenset({"const"}))
    both = [False, True]
    return Candidates(st.booleans(), both, dict.fromkeys(given, both), [True])
