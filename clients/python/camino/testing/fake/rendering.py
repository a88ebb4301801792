"""Templates in Liquid: what is wrong with one, and what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from email.utils import parseaddr
from typing import Any

import liquid
from camino.channels.v1 import template_pb2
from camino.errors.v1 import reason_pb2
from camino.testing.fake.refusal import Refusal, Violation, invalid_field
from camino.testing.fake.showing import ROOTS, date, money
from liquid.exceptions import LiquidError
from liquid.undefined import FalsyStrictUndefined

_LONGEST = 1 << 20
_NOT_HERE = ("include", "render", "increment", "decrement", "ifchanged")
"""Tags that load other templates, which there are none of, or that keep state beside the variables."""


class _Environment(liquid.Environment):
    loop_iteration_limit = 10_000
    local_namespace_limit = _LONGEST
    output_stream_limit = _LONGEST
    ternary_expressions = True
    logical_not_operator = True
    logical_parentheses = True

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        for name in _NOT_HERE:
            del self.tags[name]
        self.add_filter("date", date)
        self.add_filter("money", money)


class Liquid:
    """The language. A variable that isn't there is an error, unless the template says what to do instead; values are
    escaped in HTML, and only there."""

    def __init__(self) -> None:
        plain = _Environment(undefined=FalsyStrictUndefined)
        html = _Environment(undefined=FalsyStrictUndefined, autoescape=True)
        self._environments = {"subject": plain, "text": plain, "html": html}

    def violations(self, content: template_pb2.TemplateContent) -> Iterator[Violation]:
        """Everything that is wrong with a template, with its field and the line."""
        kind = content.WhichOneof("kind")
        body: Any = getattr(content, str(kind))
        if not body.text.strip():
            yield Violation(f"content.{kind}.text", "must not be blank")
        if kind == "email":
            yield from _misfits(body)
        for field, environment in self._environments.items():
            for message in _faults(environment, getattr(body, field, "")):
                yield Violation(f"content.{kind}.{field}", message)

    def render(self, content: template_pb2.TemplateContent, names: Mapping[str, Any]) -> dict[str, str]:
        """What it says, by `subject`, `text` and `html`. Raises `Refusal` (TEMPLATE_RENDER_FAILED)."""
        body: Any = getattr(content, str(content.WhichOneof("kind")))
        said = {field: self._render(field, getattr(body, field, ""), names) for field in self._environments}
        # Nothing that a person typed can add a header.
        said["subject"] = " ".join(said["subject"].split())
        return said

    def _render(self, field: str, source: str, names: Mapping[str, Any]) -> str:
        try:
            return self._environments[field].from_string(source).render(**names)
        except LiquidError as error:
            raise _unrendered(field, _told(source, error)) from error
        except Exception as error:
            raise _unrendered(field, f"{type(error).__name__}: {error}") from error


def _misfits(email: template_pb2.EmailContent) -> Iterator[Violation]:
    """What is wrong beside the Liquid."""
    if len(email.subject.splitlines()) > 1:
        yield Violation("content.email.subject", "must be one line")
    sender = getattr(email, "from")
    address = parseaddr(sender)[1]
    if sender and not (sender.isprintable() and 0 < address.find("@") < len(address) - 1):
        yield Violation("content.email.from", "must be a mailbox, such as `Ana's Records <hello@example.com>`")


def _faults(environment: _Environment, source: str) -> Iterator[str]:
    try:
        seen = environment.from_string(source).analyze(include_partials=False)
    except LiquidError as error:
        yield _told(source, error)
        return
    for name, spans in seen.filters.items():
        if name not in environment.filters:
            yield f"line {_line(source, spans[0].index)}: unknown filter '{name}'"
    for name, uses in seen.globals.items():
        if name not in ROOTS:
            known = ", ".join(sorted(ROOTS))
            yield f"line {_line(source, uses[0].span.index)}: unknown variable '{name}'; there are {known}"


def _unrendered(field: str, message: str) -> Refusal:
    return invalid_field(field, message, reason_pb2.REASON_TEMPLATE_RENDER_FAILED)


def _told(source: str, error: LiquidError) -> str:
    if error.token is None or error.token.start_index < 0:
        return str(error.message)
    return f"line {_line(source, error.token.start_index)}: {error.message}"


def _line(source: str, index: int) -> int:
    return source.count("\n", 0, index) + 1
