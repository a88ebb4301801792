"""What is published: facts that keep their own rules, under the subject of their type and key, and consumers that take
what a later version may add to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from camino.options.v1 import options_pb2
from camino.testing.contract.answers import Broken
from camino.testing.contract.cases import Case, Cases
from camino.testing.contract.examples import example
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import Fact, Target
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from protovalidate import Validator

_LATER_FIELD = b"\xfa\xff\x0f\x05later"
"""Field 32767, which no type has, holding five bytes."""


def cases(kind: type[Message]) -> Cases:
    name = kind.DESCRIPTOR.full_name
    yield Case(name, "is published as declared", partial(is_published_as_declared, kind))
    yield Case(name, "is taken with unknown fields", partial(is_taken_with_unknown_fields, kind))


def is_published_as_declared(kind: type[Message], target: Target) -> None:
    """Every message of the type validates, holds nothing unknown, and lies under the subject of its type, workspace,
    partition and key, with CloudEvents' attributes in its headers."""
    stage, found = _published(kind, target)
    partitions = target.seen().partitions
    key_path = kind.DESCRIPTOR.GetOptions().Extensions[options_pb2.subject_key]
    validator = Validator()
    for fact in found:
        message = kind.FromString(fact.data)
        broken = [violation.proto.rule_id for violation in validator.collect_violations(message)]
        _must(not broken, fact, f"breaks its own rules: {broken}")
        _must(not len(UnknownFieldSet(message)), fact, "holds fields that its type doesn't have")
        key: Any = message
        for name in key_path.split("."):
            key = getattr(key, name)
        partition = fact.subject.removeprefix(f"{kind.DESCRIPTOR.full_name}.").split(".")[1]
        expected = f"{kind.DESCRIPTOR.full_name}.{stage.workspace_id}.{partition}.{key}"
        _must(fact.subject == expected, fact, f"its subject must be {expected}")
        _must(int(partition) < partitions, fact, f"there are only {partitions} partitions")
        for header, value in (("ce-specversion", "1.0"), ("ce-type", kind.DESCRIPTOR.full_name)):
            _must(fact.headers.get(header) == value, fact, f"its header {header} must be {value}")
        for header in ("ce-id", "ce-source", "Nats-Msg-Id"):
            _must(bool(fact.headers.get(header)), fact, f"it must have the header {header}")
    by_key: dict[str, set[str]] = {}
    for fact in found:
        by_key.setdefault(fact.subject.rpartition(".")[2], set()).add(fact.subject)
    for key, subjects in by_key.items():
        if len(subjects) > 1:
            raise Broken(f"{kind.DESCRIPTOR.full_name}: what belongs to {key} must keep one partition, not {subjects}")


def is_taken_with_unknown_fields(kind: type[Message], target: Target) -> None:
    """A message that comes again, with a field that a later version has added, is handled like one that comes again
    without it: nothing changes, and it isn't put aside."""
    _, found = _published(kind, target)
    before = target.seen().stored()
    for fact in found:
        target.seen().publish(replace(fact, data=fact.data + _LATER_FIELD))
    if target.seen().stored() != before:
        raise Broken(f"{kind.DESCRIPTOR.full_name}: coming again with a field of a later version, it had an effect")


def _published(kind: type[Message], target: Target) -> tuple[Stage, Sequence[Fact]]:
    stage, insight = Stage(target), target.seen()
    stage.prepare(example(kind.DESCRIPTOR.full_name))
    prefix = f"{kind.DESCRIPTOR.full_name}."

    def look() -> Sequence[Fact]:
        return [fact for fact in insight.facts(stage.workspace_id) if fact.subject.startswith(prefix)]

    return stage, target.eventually(look, f"{kind.DESCRIPTOR.full_name} is published")


def _must(held: bool, fact: Fact, promise: str) -> None:
    if not held:
        raise Broken(f"{fact.subject}: {promise}\n  headers: {dict(fact.headers)}\n  data: {fact.data!r}")
