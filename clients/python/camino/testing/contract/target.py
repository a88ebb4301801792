"""What the suite is run against: some servers, the workspaces it makes on them, and what more can be seen of them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import grpc
from camino.testing.contract.answers import Answer, Broken, answered, failed
from camino.testing.contract.streams import OneRequest, Stream
from camino.testing.contract.tellings import Telling
from camino.testing.rpcs import Rpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

T = TypeVar("T")

_TIMEOUT_S = 10.0
_NUDGE_S = 2.0
_POLL_S = 0.02
_MAX_MESSAGE = 16 * 1024 * 1024
_PREFIX = "contract-"


class OutOfReach(Exception):
    """This can't be proved on this target; says why."""


class Unreachable(Exception):
    """Nobody answers at an address, or not as a server of ours does."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the suite shows as its own credentials. Empty: none."""

    full: str = ""
    """All scopes, in the workspaces `contract-*` at least; in all, for what has no workspace."""
    without_scopes: str = ""
    """No scope at all."""
    elsewhere: str = ""
    """All scopes, in a workspace that isn't one of the suite's."""
    without_scope: Callable[[str], str] = lambda _scope: ""
    """A token that has every scope but this one."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A message as it was published."""

    subject: str
    headers: Mapping[str, str]
    data: bytes


class Held(Protocol):
    """A call that was let into its servicer and is kept there."""

    def entered(self) -> bool:
        """Whether a call is, or was, inside."""
        ...

    def cancelled(self) -> bool:
        """Whether one that was inside was cancelled."""
        ...


class Insight(Protocol):
    """What can be seen of servers in reach: of those in the same process, say."""

    def state(self) -> object:
        """Everything that is stored and published, once nothing is under way any more; equal if nothing changed."""
        ...

    def stored(self) -> object:
        """The same without what is published."""
        ...

    def entered(self, rpc: Rpc) -> int:
        """How many calls of the method have reached their servicer."""
        ...

    def hold(self, rpc: Rpc) -> AbstractContextManager[Held]:
        """Keep the method's calls inside their servicer."""
        ...

    def facts(self, workspace_id: str) -> Sequence[Fact]:
        """What was published of a workspace, in order."""
        ...

    def publish(self, fact: Fact) -> None:
        """Publish a message as if a service had, under an id of its own."""
        ...

    @property
    def partitions(self) -> int:
        """Into how many parts profiles are divided."""
        ...


@dataclass(slots=True)
class Target:
    """Servers at some addresses. Which services each serves is asked by reflection."""

    addresses: Sequence[str]
    tokens: Tokens = Tokens()
    credentials: grpc.ChannelCredentials | None = None
    """What encrypts the connections; they're plain without."""
    insight: Insight | None = None
    needs: Mapping[str, Callable[[str, int], Mapping[str, str]]] = field(default_factory=dict)
    """How to bring about what no call can, by name: from a workspace and the place of a service to the ids that were
    made. May raise `OutOfReach`."""
    pass_time: Callable[[], None] = lambda: time.sleep(_POLL_S)
    """Let a moment go by for the servers, between two looks at them."""
    rest: Callable[[], None] = lambda: None
    """Let what is under way between the servers arrive."""
    patience_s: float = 15.0
    """How long what comes by itself may take to come."""
    _channels: dict[str, grpc.Channel] = field(default_factory=dict)
    _places: dict[str, list[str]] = field(default_factory=dict)
    _workspaces: list[str] = field(default_factory=list)
    _untouched: str = ""

    @contextmanager
    def open(self) -> Iterator[Target]:
        """Connect, and close at the end. Raises `Unreachable`."""
        options = (("grpc.max_receive_message_length", _MAX_MESSAGE), ("grpc.max_send_message_length", _MAX_MESSAGE))
        try:
            for address in self.addresses:
                channel = self._channels[address] = (
                    grpc.secure_channel(address, self.credentials, options=options)
                    if self.credentials
                    else grpc.insecure_channel(address, options=options)
                )
                for service in _served(channel, address):
                    self._places.setdefault(service, []).append(address)
            yield self
        finally:
            for channel in self._channels.values():
                channel.close()

    @property
    def services(self) -> frozenset[str]:
        """The services that are served, all told."""
        return frozenset(self._places)

    def call(
        self, rpc: Rpc, request: Message, *, place: int = 0, token: str | None = None, timeout_s: float = _TIMEOUT_S
    ) -> Answer:
        """Call a method, and wait for its answer. Without a `token`, with the suite's own; raises `OutOfReach` if that
        is for its own workspaces only, and the method concerns all."""
        answer = self.start(rpc, request, place=place, token=token, timeout_s=timeout_s).answer()
        if token is None and answer.status == "PERMISSION_DENIED" and answer.metadata.get("workspace_id") == "*":
            raise OutOfReach("needs a token for all workspaces")
        return answer

    def start(
        self, rpc: Rpc, request: Message, *, place: int = 0, token: str | None = None, timeout_s: float = _TIMEOUT_S
    ) -> Call | OneRequest | Telling:
        """Call a method, and don't wait. A stream has this one request."""
        if rpc.telling:
            return self.telling(rpc, request, place=place, token=token, timeout_s=timeout_s)
        if rpc.streaming:
            return OneRequest(self.stream(rpc, place=place, token=token, timeout_s=timeout_s), request)
        multi = self._channel(rpc, place).unary_unary(
            rpc.path, request_serializer=rpc.request.SerializeToString, response_deserializer=rpc.reply.FromString
        )
        return Call(rpc, request, multi.future(request, timeout=timeout_s, metadata=self._metadata(token)))

    def stream(self, rpc: Rpc, *, place: int = 0, token: str | None = None, timeout_s: float = _TIMEOUT_S) -> Stream:
        """Begin a stream."""
        return Stream(rpc, self._channel(rpc, place), timeout_s=timeout_s, metadata=self._metadata(token))

    def telling(
        self, rpc: Rpc, request: Message, *, place: int = 0, token: str | None = None, timeout_s: float = _TIMEOUT_S
    ) -> Telling:
        """Begin to be told."""
        return Telling(rpc, self._channel(rpc, place), request, timeout_s=timeout_s, metadata=self._metadata(token))

    def _metadata(self, token: str | None) -> tuple[tuple[str, str], ...]:
        token = self.tokens.full if token is None else token
        return (("authorization", f"Bearer {token}"),) if token else ()

    def serving(self, rpc: Rpc, place: int = 0) -> bool:
        """Whether the server says that the method's service is healthy."""
        stub = health_pb2_grpc.HealthStub(self._channel(rpc, place))
        answer = stub.Check(health_pb2.HealthCheckRequest(service=rpc.service), timeout=_TIMEOUT_S)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def workspace(self) -> str:
        """The id of a new workspace, which `workspaces` has from then on."""
        self._workspaces.append(f"{_PREFIX}{secrets.token_hex(6)}")
        return self._workspaces[-1]

    @property
    def untouched(self) -> str:
        """A workspace for what must be refused, and so leaves nothing in it."""
        if not self._untouched:
            self._untouched = self.workspace()
        return self._untouched

    @property
    def workspaces(self) -> Sequence[str]:
        """Those that were handed out."""
        return tuple(self._workspaces)

    def places(self, service: str) -> Sequence[str]:
        """The addresses that serve a service, in the order they were given."""
        return tuple(self._places.get(service, ()))

    def eventually(
        self, probe: Callable[[], T | None], promise: str, *, nudge: Callable[[], object] | None = None
    ) -> T:
        """Ask again and again until the answer is neither None nor false; `nudge` every 2 seconds. Raises `Broken` when
        patience is at its end."""
        begin = nudged = time.monotonic()
        while not (found := probe()):
            now = time.monotonic()
            if now > begin + self.patience_s:
                raise Broken(f"not within {self.patience_s:.0f} seconds: {promise}")
            if nudge and now > nudged + _NUDGE_S:
                nudged = now
                nudge()
            self.pass_time()
        return found

    def state(self) -> object:
        """Everything the servers hold, or None where that can't be seen."""
        return self.insight.state() if self.insight else None

    def seen(self) -> Insight:
        """Raises `OutOfReach` where nothing but answers can be seen of the servers."""
        if self.insight is None:
            raise OutOfReach("needs to see more of the servers than their answers")
        return self.insight

    def _channel(self, rpc: Rpc, place: int) -> grpc.Channel:
        addresses = self._places.get(rpc.service, ())
        if place >= len(addresses):
            raise Broken(f"{rpc.service} is served at {len(addresses)} of the given addresses, not at {place + 1}")
        return self._channels[addresses[place]]


def _served(channel: grpc.Channel, address: str) -> list[str]:
    try:
        return list(ProtoReflectionDescriptorDatabase(channel).get_services())
    except grpc.RpcError as error:
        raise Unreachable(f"{address} doesn't say what it serves: {error.code().name}: {error.details()}") from None


@dataclass(frozen=True, slots=True)
class Call:
    """A call under way."""

    rpc: Rpc
    request: Message
    _future: grpc.Future

    def cancel(self) -> None:
        self._future.cancel()

    def answer(self) -> Answer:
        try:
            return answered(self.rpc, self.request, self._future.result())
        except grpc.RpcError as error:
            return failed(self.rpc, self.request, error)
        except grpc.FutureCancelledError:
            return Answer(self.rpc, self.request, "CANCELLED")
