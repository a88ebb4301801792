"""Carrying out examples in a workspace of their own: each call after those it comes after, with the ids they gave."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import Any

from camino.testing.contract.answers import Answer, Broken
from camino.testing.contract.examples import Example, example
from camino.testing.contract.replies import told
from camino.testing.contract.target import OutOfReach, Target
from camino.testing.rpcs import Rpc, rpcs
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

_NOBODY = "https://127.0.0.1:9"
_FAR = 1_000
"""Numbers from here on are nobody else's."""


class Stage:
    """A workspace, and what has been done in it so far."""

    def __init__(self, target: Target, place: int = 0, workspace_id: str = "") -> None:
        self.target = target
        self.place = place
        self.workspace_id = workspace_id or target.workspace()
        self._known: dict[str, str] = {}
        self._done: set[str] = set()
        self._numbers = count(_FAR)

    def request(self, rpc: Rpc) -> Any:
        """The request of the method's example, after everything that must have happened before it.

        Raises `OutOfReach` if it needs what can't be brought about on this target.
        """
        found = example(rpc.full_name)
        self.prepare(found)
        return self._filled(found)

    def carry_out(self, rpc: Rpc) -> Any:
        """The reply to the method's example."""
        return self._carry_out(rpc.full_name)

    def prepare(self, found: Example) -> None:
        """Do what must have happened before."""
        if found.needs and found.needs not in self._done:
            self._done.add(found.needs)
            make = self.target.needs.get(found.needs)
            if make is None:
                raise OutOfReach(f"needs {found.needs.replace('_', ' ')}, which no call can bring about")
            self._known.update(make(self.workspace_id, self.place))
        for name in found.after:
            if name not in self._done:
                self._carry_out(name)
        if found.once:
            rpc, gives = _by_name()[found.once.call], found.once.gives
            request = self._filled(example(rpc.full_name))

            def come() -> bool:
                reply = self.target.call(rpc, request, place=self._place(rpc)).must_be_ok()
                return all(told(reply, path) == expected for path, expected in gives.items())

            self.target.eventually(come, f"{rpc.full_name} says {dict(gives)}")

    def unprepared(self, rpc: Rpc) -> Any:
        """The request of the method's example, in an empty workspace, with ids that nothing has."""
        return self._parse(rpc, _map(example(rpc.full_name).request, _named(lambda name: f"no-such-{name}")))

    def varied(self, name: str, vary: tuple[str, ...], number: int) -> Answer:
        """Make a call of an example with some fields made different by a number."""
        rpc = _by_name()[name]
        answer = self.target.call(rpc, self._numbered(rpc, vary, number))
        answer.must_be_taken()
        return answer

    def numbered(self, rpc: Rpc, number: int) -> Any:
        """The request of the method's example, made different by a number as the example says that many are. Raises
        `Broken` if it doesn't."""
        many = next((many for many in example(rpc.full_name).many if many.call == rpc.full_name), None)
        if many is None:
            raise Broken(f"{rpc.full_name}: its example must say by `many` what to vary to have many of its requests")
        return self._numbered(rpc, many.vary, number)

    def _numbered(self, rpc: Rpc, vary: tuple[str, ...], number: int) -> Any:
        request = self.request(rpc)
        for path in vary:
            _number(request, path.split("."), number)
        return request

    def _carry_out(self, name: str) -> Any:
        rpc = _by_name()[name]
        found = example(name)
        self.prepare(found)
        self._done.add(name)
        answer = self.target.call(rpc, self._filled(found), place=self._place(rpc))
        reply = answer.must_be_taken()
        self._learn(reply)
        return reply

    def _filled(self, found: Example) -> Any:
        """The example's request with the ids that are known; those that aren't yet are waited for, where reading is
        what gives them."""
        rpc = _by_name()[found.name]
        missing = {name for name in _placeholders(found.request) if name not in self._known}
        for name in sorted(missing):
            self.target.eventually(
                partial(self._look, found, name),
                f"{found.name}: an example gives {name}",
                nudge=partial(self._nudge, found),
            )
        return self._parse(rpc, _map(found.request, _named(self._known.__getitem__)))

    def _look(self, found: Example, name: str) -> bool:
        reads = [_by_name()[before] for before in found.after if _by_name()[before].read_only]
        if not reads:
            raise Broken(f"{found.name}: no reply of what it comes after has a {name}")
        for rpc in reads:
            self._learn(self.target.call(rpc, self._filled(example(rpc.full_name))).must_be_ok())
        return name in self._known

    def _nudge(self, found: Example) -> None:
        """Do again what leads to what is waited for: a replica that has not yet learned of a definition passes over
        what comes meanwhile."""
        for before in found.after:
            for many in example(before).many:
                self.varied(many.call, many.vary, next(self._numbers))

    def _parse(self, rpc: Rpc, request: Mapping[str, Any]) -> Any:
        message = ParseDict(_map(request, _nobodys), rpc.request())
        if rpc.has("workspace_id"):
            message.workspace_id = self.workspace_id
        return message

    def _place(self, rpc: Rpc) -> int:
        return self.place if rpc.service.startswith("camino.ops.") else 0

    def _learn(self, message: Message) -> None:
        for name, value in _ids(message):
            self._known.setdefault(name, value)


def _by_name() -> Mapping[str, Rpc]:
    return {rpc.full_name: rpc for rpc in rpcs()}


def _placeholders(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("$"):
        yield value[1:]
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _placeholders(item)
    elif isinstance(value, list):
        for item in value:
            yield from _placeholders(item)


def _map(value: Any, change: Callable[[str], str]) -> Any:
    """A value with each of its texts changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _map(item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [_map(item, change) for item in value]
    return value


def _nobodys(text: str) -> str:
    """With addresses that nobody can have (RFC 2606), or where nobody answers: messages to them may really be sent."""
    return re.sub(r"https://[^/]*\bexample\.com", _NOBODY, text).replace("@example.com", "@contract.invalid")


def _named(known: Callable[[str], str]) -> Callable[[str], str]:
    """What puts what is known by it in the place of a `$name`."""
    return lambda text: known(text[1:]) if text.startswith("$") else text


def _ids(message: Message) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for item in value if field.is_repeated else [value]:
                yield from _ids(item)
        elif field.name.endswith("_id") and isinstance(value, str):
            yield field.name, value


def _number(message: Any, path: list[str], number: int) -> None:
    name, *rest = path
    if not rest:
        setattr(message, name, f"{number}-{getattr(message, name)}")
        return
    inner = getattr(message, name)
    for item in inner if message.DESCRIPTOR.fields_by_name[name].is_repeated else [inner]:
        _number(item, rest, number)
