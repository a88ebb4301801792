"""Items of a batch that failed alone while the call itself succeeded."""

from __future__ import annotations

from functools import cache
from typing import Any

from camino.errors.v1.reason_pb2 import REASON_CONTENTION, Reason
from camino.options.v1 import options_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message


class ItemFailed(Exception):
    """An item of a batch was refused; nothing of it was done."""

    def __init__(self, index: int, item: Message, error: Any) -> None:
        super().__init__(index, item, error)
        self.index = index
        """Its place in the request, from 0."""
        self.item = item
        self.reason: Reason = error.reason
        self.field: str = error.field
        """The field of the item, e.g. `identity.value`; empty if it's not about one."""
        self.message: str = error.message

    @property
    def retryable(self) -> bool:
        """Whether the same item may be taken when it's sent again."""
        return self.reason == REASON_CONTENTION

    def __str__(self) -> str:
        known = Reason.DESCRIPTOR.values_by_number.get(self.reason)
        reason = known.name.removeprefix("REASON_") if known else str(self.reason)
        where = f"{self.field}: " if self.field and not self.message.startswith(f"{self.field}:") else ""
        return f"item {self.index} ({reason}): {where}{self.message}"


def failed_items(request: Message, reply: Message) -> list[ItemFailed]:
    """The items of a request that failed, in order, by the results in its reply. Raises TypeError if the items of such
    requests don't fail alone."""
    items = getattr(request, _items_field(request.DESCRIPTOR))
    answer: Any = reply
    return [
        ItemFailed(index, item, result.error)
        for index, (item, result) in enumerate(zip(items, answer.results, strict=True))
        if result.HasField("error")
    ]


def raise_failed_items(request: Message, reply: Message) -> None:
    """Raise an ExceptionGroup of the `ItemFailed`s, if there are any."""
    failed = failed_items(request, reply)
    if failed:
        raise ExceptionGroup(f"failed items of {request.DESCRIPTOR.name}: {len(failed)}", failed)


@cache
def _items_field(request: Descriptor) -> str:
    option: Any = options_pb2.items_field
    for service in request.file.services_by_name.values():
        for method in service.methods:
            field: str = method.GetOptions().Extensions[option]
            if method.input_type == request and field:
                return field
    raise TypeError(f"the items of {request.full_name} don't fail alone")
