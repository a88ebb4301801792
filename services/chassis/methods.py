"""What methods declare, and the chassis goes by."""

from __future__ import annotations

from dataclasses import dataclass

from camino.options.v1 import options_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor


class UndeclaredMethod(Exception):
    """A method that doesn't declare what the chassis needs to know of it, or is of a kind that the chassis can't guard.
    The service must not start."""


def describe(service: str) -> ServiceDescriptor:
    """A service's descriptor. Raises `UndeclaredMethod` if one of its methods declares no scope or no idempotency, or
    streams its requests only."""
    descriptor = descriptor_pool.Default().FindServiceByName(service)
    for method in descriptor.methods:
        options = method.GetOptions()
        if not options.Extensions[options_pb2.required_scope]:
            raise UndeclaredMethod(f"{method.full_name} declares no required_scope")
        if not options.HasField("idempotency_level"):
            raise UndeclaredMethod(f"{method.full_name} declares no idempotency_level")
        if method.client_streaming and not method.server_streaming:
            raise UndeclaredMethod(f"{method.full_name} streams its requests only: answer each of them, or take one")
    return descriptor


@dataclass(frozen=True, slots=True)
class Method:
    """What a method's descriptor says of its calls."""

    name: str
    scope: str
    items_field: str
    streams: bool
    """Takes many requests in one call, and answers each."""
    tells: bool
    """Takes one request, and answers with responses as they come."""
    has_workspace: bool

    @classmethod
    def of(cls, method: MethodDescriptor) -> Method:
        options = method.GetOptions()
        return cls(
            f"/{method.containing_service.full_name}/{method.name}",
            options.Extensions[options_pb2.required_scope],
            options.Extensions[options_pb2.items_field],
            method.client_streaming,
            method.server_streaming and not method.client_streaming,
            "workspace_id" in method.input_type.fields_by_name,
        )
