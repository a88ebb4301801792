"""Traces: from a caller's request to all that follows from it, through batches, messages and documents.

A batch works for many at once, so the span that is under way can't tell what one item of it belongs to. So each item
that is traced carries its own place in its trace, as W3C `traceparent` text: in a message's headers, and in the
document that owes what follows. What isn't sampled carries nothing, and costs a lookup in an empty dict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_FIELD = "traceparent"
_NOTHING: Mapping[int, str] = {}

_batch: ContextVar[Mapping[int, str]] = ContextVar("batch", default=_NOTHING)


def traceparent() -> str:
    """Where we are in a trace (W3C Trace Context, 3.2); empty when what is under way isn't sampled."""
    return _traceparent_of(trace.get_current_span())


def traceparent_of(item: object) -> str:
    """Where an item of the batch in hand, a message or a document, is in its trace; empty when it isn't traced."""
    return _batch.get().get(id(item), "")


class Tracing:
    """The spans of one service. Without a tracer there are none."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer

    @property
    def on(self) -> bool:
        return self._tracer is not None

    @contextmanager
    def call(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Iterator[None]:
        """The answering of a call, in the caller's trace if it sent one, as the current span."""
        if self._tracer is None:
            yield
            return
        carrier = {name: value for name, value in metadata if isinstance(value, str)}
        parent = TraceContextTextMapPropagator().extract(carrier, Context())
        service, _, name = method.partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
        with _current(self._tracer.start_span(method, parent, SpanKind.SERVER, attributes)):
            yield

    @contextmanager
    def batch(self, name: str, items: Iterable[tuple[object, str]]) -> Iterator[None]:
        """The handling of a batch of items, each with its place in its trace: a span in the trace of each that is
        traced, at which `traceparent_of` then places it.

        What is done for all of them at once is in one span, linked to each of theirs, in the trace of the first.
        """
        tracer = self._tracer
        traced = [(item, parent) for item, parent in items if parent] if tracer else []
        if tracer is None or not traced:
            yield
            return
        spans = {id(item): tracer.start_span(name, _context(parent), SpanKind.CONSUMER) for item, parent in traced}
        first, *others = spans.values()
        shared = first
        if others:
            links = [Link(span.get_span_context()) for span in spans.values()]
            attributes = {"messaging.batch.message_count": len(spans)}
            shared = tracer.start_span(
                f"{name} batch", trace.set_span_in_context(first), SpanKind.INTERNAL, attributes, links
            )
        reset = _batch.set({item: _traceparent_of(span) for item, span in spans.items()})
        try:
            with _current(shared), _errors(shared):
                yield
        finally:
            _batch.reset(reset)
            for span in spans.values():
                span.end()

    @contextmanager
    def root(self, name: str) -> Iterator[None]:
        """Something that begins by itself, as the current span: the first of a trace, if that is sampled."""
        if self._tracer is None:
            yield
            return
        span = self._tracer.start_span(name, Context())
        with _current(span), _errors(span):
            yield

    def begin(self, name: str, parent: str, kind: SpanKind) -> Span | None:
        """A span, to be ended by the caller, for an item at this place in its trace. None if it isn't traced."""
        if self._tracer is None or not parent:
            return None
        return self._tracer.start_span(name, _context(parent), kind)


def header_of(span: Span) -> tuple[str, str]:
    """The header of a message, or of a call's metadata, that says where it is in its trace."""
    return _FIELD, _traceparent_of(span)


def traceparent_in(headers: Mapping[str, str] | None) -> str:
    """What a message's headers say of its trace; empty if nothing."""
    return headers.get(_FIELD, "") if headers else ""


@contextmanager
def _current(span: Span) -> Iterator[None]:
    """Make a span the current one, and end it."""
    token = contexts.attach(trace.set_span_in_context(span))
    try:
        yield
    finally:
        contexts.detach(token)
        span.end()


@contextmanager
def _errors(span: Span) -> Iterator[None]:
    """Tell of an error by its type: its words may be personal."""
    try:
        yield
    except BaseException as error:
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        raise


def _context(parent: str) -> Context:
    return TraceContextTextMapPropagator().extract({_FIELD: parent}, Context())


def _traceparent_of(span: Span) -> str:
    context = span.get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
