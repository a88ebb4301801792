"""Calls over a channel that is replaced now and then: gRPC's channels keep the credentials that they were made with."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar

import grpc
from camino.client.tls import TlsFiles

Channel = TypeVar("Channel")


class Renewal(Generic[Channel]):
    """The channel for the next call: a new one, of the credentials that `tls` gives then, when they have changed.
    `retire` is told of each that was replaced, over which calls may still be under way."""

    def __init__(
        self, open_: Callable[[grpc.ChannelCredentials], Channel], tls: TlsFiles, retire: Callable[[Channel], None]
    ) -> None:
        self._open = open_
        self._tls = tls
        self._retire = retire
        self._renewing = Lock()
        self._credentials = tls.current()
        self._channel = open_(self._credentials)

    def current(self) -> Channel:
        with self._renewing:
            credentials = self._tls.current()
            if credentials is not self._credentials:
                self._retire(self._channel)
                self._credentials, self._channel = credentials, self._open(credentials)
            return self._channel


class RenewedMethod:
    """A method of whichever channel is the current one, as gRPC's channels give one to stubs. `kind` is how the channel
    calls its type, such as `unary_unary`."""

    def __init__(self, renewal: Renewal[Any], kind: str, *args: Any, **named: Any) -> None:
        self._renewal = renewal
        self._kind = kind
        self._args = args
        self._named = named
        self._channel: Any = None
        self._method: Any = None

    def _current(self) -> Any:
        channel = self._renewal.current()
        if channel is not self._channel:
            self._method = getattr(channel, self._kind)(*self._args, **self._named)
            self._channel = channel
        return self._method

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._current()(*args, **named)

    def __getattr__(self, name: str) -> Any:
        """`future` and `with_call`, of the blocking flavour."""
        return getattr(self._current(), name)
