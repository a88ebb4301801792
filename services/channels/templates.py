"""Templates in Liquid: checked and compiled once, rendered for each message.

A variable that a person doesn't have is an error of that message, unless the template says what to do instead: with
`| default`, or by asking for it in a condition. Values are escaped in HTML bodies, and only there. A subject is one
line, whatever is in it: nothing that a person typed can add a header.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parseaddr

import liquid
from liquid import BoundTemplate
from liquid.exceptions import LiquidError, LiquidInterrupt
from liquid.output import LimitedStringIO
from liquid.undefined import FalsyStrictUndefined

from services.channels import filters
from services.channels.filters import Context
from services.channels.scope import ROOTS, Scope
from services.chassis.errors import InvalidDefinition, Violation

_LONGEST_OUTPUT = 1 << 20
_NOT_HERE = ("include", "render", "increment", "decrement", "ifchanged")
"""Tags that load other templates, which there are none of, or that keep state beside the variables."""


@dataclass(frozen=True, slots=True)
class Source:
    """What was published. `path` is where in the request its fields are."""

    path: str
    channel: int
    text: str
    subject: str = ""
    html: str = ""
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    subject: str
    text: str
    html: str


class RenderError(Exception):
    """A template doesn't render for one person: which field of it, if it's one, which line, and why."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class _Environment(liquid.Environment):
    # Against templates that eat up the process, not against any that one would want.
    loop_iteration_limit = 10_000
    local_namespace_limit = _LONGEST_OUTPUT
    output_stream_limit = _LONGEST_OUTPUT
    ternary_expressions = True
    logical_not_operator = True
    logical_parentheses = True

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        for name in _NOT_HERE:
            del self.tags[name]
        self.add_filter("date", filters.date)
        self.add_filter("money", filters.money)


class Template:
    """A compiled template."""

    __slots__ = ("_html", "_subject", "_text", "channel", "sender")

    def __init__(
        self, channel: int, sender: str, subject: BoundTemplate | None, text: BoundTemplate, html: BoundTemplate | None
    ) -> None:
        self.channel = channel
        self.sender = sender
        self._subject = subject
        self._text = text
        self._html = html

    def render(self, scope: Scope) -> Rendered:
        """Raises `RenderError`."""
        return Rendered(
            " ".join(_render(self._subject, "subject", scope).split()) if self._subject else "",
            _render(self._text, "text", scope),
            _render(self._html, "html", scope) if self._html else "",
        )


class Compiler:
    """Makes templates out of what is published. Costs milliseconds: keep what it makes."""

    def __init__(self) -> None:
        self._plain = _Environment(undefined=FalsyStrictUndefined)
        self._html = _Environment(undefined=FalsyStrictUndefined, autoescape=True)

    def compile(self, source: Source) -> Template:
        """Raises `InvalidDefinition` that names every field and line at fault."""
        violations = list(_misfits(source))
        subject = self._parse(self._plain, source, "subject", violations)
        text = self._parse(self._plain, source, "text", violations)
        html = self._parse(self._html, source, "html", violations)
        if violations or text is None:
            raise InvalidDefinition(violations)
        return Template(source.channel, source.sender, subject, text, html)

    def _parse(
        self, environment: _Environment, source: Source, field: str, violations: list[Violation]
    ) -> BoundTemplate | None:
        body: str = getattr(source, field)
        if not body:
            return None
        path = f"{source.path}.{field}"
        try:
            template = environment.from_string(body)
            seen = template.analyze(include_partials=False)
        except LiquidError as error:
            violations.append(Violation(path, _told(error)))
            return None
        for name, spans in seen.filters.items():
            if name not in environment.filters:
                violations.append(Violation(path, f"line {_line(body, spans[0].index)}: unknown filter '{name}'"))
        for name, uses in seen.globals.items():
            if name not in ROOTS:
                line = _line(body, uses[0].span.index)
                known = ", ".join(sorted(ROOTS))
                violations.append(Violation(path, f"line {line}: unknown variable '{name}'; there are {known}"))
        return template


def _misfits(source: Source) -> Iterator[Violation]:
    """What is wrong beside the Liquid."""
    if not source.text.strip():
        yield Violation(f"{source.path}.text", "must not be blank")
    if len(source.subject.splitlines()) > 1:
        yield Violation(f"{source.path}.subject", "must be one line")
    address = parseaddr(source.sender)[1]
    if source.sender and not (source.sender.isprintable() and 0 < address.find("@") < len(address) - 1):
        yield Violation(f"{source.path}.from", "must be a mailbox, such as `Ana's Records <hello@example.com>`")


def _render(template: BoundTemplate, field: str, scope: Scope) -> str:
    # What BoundTemplate.render does, without the namespaces that it makes for partial templates: twice as fast.
    context = Context(template, globals=scope.names)
    context.locale = scope.locale
    context.zone = scope.zone
    buffer = LimitedStringIO(_LONGEST_OUTPUT)
    try:
        for node in template.nodes:
            node.render(context, buffer)
    except LiquidError as error:
        raise RenderError(f"{field}, {_told(error)}", field) from error
    except LiquidInterrupt as error:
        raise RenderError(f"{field}: '{error}' outside of a loop", field) from error
    except Exception as error:
        raise RenderError(f"{field}: {type(error).__name__}: {error}", field) from error
    return buffer.getvalue()


def _told(error: LiquidError) -> str:
    token = error.token
    if token is None or token.start_index < 0:
        return str(error.message)
    return f"line {_line(token.source, token.start_index)}: {error.message}"


def _line(text: str, index: int) -> int:
    return text.count("\n", 0, index) + 1
