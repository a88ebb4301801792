"""structlog as JSON lines on standard error, one event a line, with no personal data in it.

Each line tells the service and the replica, what was under way (`request_id` and `caller` of a call, `loop`, `consumer`
and `batch` of work), and where that is in a trace. Errors are told by `failures`: never by words that may quote what
came in. What libraries log goes the same way.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, ExcInfo, Processor

from services.chassis.failures import traced


def configure(service: str, instance: str, level: str) -> None:
    """Set up logging for the process. `level` is a name of the standard library's, such as `info`."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_PROCESSORS, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, instance=instance)
    # What libraries say at warning and above: below that, some of them tell of each thing that they carry.
    libraries = logging.StreamHandler(sys.stderr)
    libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_PROCESSORS],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[libraries], force=True)


def unhandled(loop: Any, context: dict[str, Any]) -> None:
    """What an event loop does with an error that nobody awaited: asyncio itself would show its words."""
    structlog.get_logger().error("unhandled", what=str(context["message"]), exc_info=context.get("exception"))


def _place(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Where what is under way is in a trace."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event


def _error(exc_info: ExcInfo) -> list[dict[str, object]]:
    return traced(exc_info[1])


_PROCESSORS: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    _place,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.ExceptionRenderer(_error),
)
