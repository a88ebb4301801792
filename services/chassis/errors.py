"""One taxonomy of errors: from it follow the gRPC status, the BadRequest, and what a consumer does with a message."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """The gRPC status that an error is answered with, by its name in gRPC."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    ABORTED = "ABORTED"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    UNAVAILABLE = "UNAVAILABLE"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INTERNAL = "INTERNAL"

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later: callers retry, consumers give the message back."""
        return self in (Status.UNAVAILABLE, Status.ABORTED, Status.RESOURCE_EXHAUSTED, Status.DEADLINE_EXCEEDED)


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with a request: which field, and how to mend it."""

    field: str
    message: str


class CaminoError(Exception):
    """An error that a caller is told about: a reason of `camino.errors.v1.Reason`, words, and the fields at fault."""

    status: Status = Status.INTERNAL
    reason: str = "INTERNAL"

    def __init__(
        self, message: str, *, reason: str = "", violations: Iterable[Violation] = (), **metadata: str
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.violations = tuple(violations)
        self.metadata = metadata

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class Unauthenticated(CaminoError):
    """Nobody knows who calls."""

    status = Status.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class PermissionDenied(CaminoError):
    """The caller is known, and may not do this."""

    status = Status.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class InvalidArgument(CaminoError):
    status = Status.INVALID_ARGUMENT
    reason = "INVALID_FIELD"

    @classmethod
    def at(cls, field: str, message: str, *, reason: str = "") -> InvalidArgument:
        """An error about one field."""
        return cls(f"{field}: {message}", reason=reason, violations=(Violation(field, message),))


class InvalidDefinition(InvalidArgument):
    """A definition with one or more violations, all of them named."""

    reason = "INVALID_DEFINITION"

    def __init__(self, violations: Iterable[Violation]) -> None:
        found = tuple(violations)
        super().__init__("; ".join(f"{v.field}: {v.message}" for v in found), violations=found)


class InvalidPageToken(InvalidArgument):
    reason = "INVALID_PAGE_TOKEN"

    def __init__(self) -> None:
        message = "not a token from this list; start again without one"
        super().__init__(f"page_token: {message}", violations=(Violation("page_token", message),))


class NotFound(CaminoError):
    status = Status.NOT_FOUND
    reason = "NOT_FOUND"

    @classmethod
    def of(cls, resource: str, name: str) -> NotFound:
        return cls(f"there is no {resource} {name!r} in this workspace", resource=resource, name=name)


class EtagMismatch(CaminoError):
    status = Status.ABORTED
    reason = "ETAG_MISMATCH"

    def __init__(self, current: str) -> None:
        super().__init__("the etag is not the current one; read it again and retry", current_etag=current)


class Contention(CaminoError):
    status = Status.ABORTED
    reason = "CONTENTION"


class FailedPrecondition(CaminoError):
    status = Status.FAILED_PRECONDITION
    reason = "WRONG_STATE"


class CursorExpired(FailedPrecondition):
    """What follows a cursor isn't all kept any more, or what it's a place in is gone."""

    reason = "CURSOR_EXPIRED"


class DeadlineExceeded(CaminoError):
    """The caller's deadline has passed, or the longest time that a call may take."""

    status = Status.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"

    def __init__(self) -> None:
        super().__init__("the deadline passed before it was done; what was asked may or may not have happened")


class Unavailable(CaminoError):
    """Something we need doesn't answer. Nothing is known to be done; retry later."""

    status = Status.UNAVAILABLE
    reason = "DEPENDENCY_UNAVAILABLE"


class StoreUnavailable(Unavailable):
    reason = "STORE_UNAVAILABLE"


class BrokerUnavailable(Unavailable):
    reason = "BROKER_UNAVAILABLE"


class RestartNeeded(BrokerUnavailable):
    """The connection to the broker won't come back: only a new process gets another."""
