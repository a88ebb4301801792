"""A stream under way, as a caller has it: requests go out, and each is answered in its turn."""

from __future__ import annotations

from collections import deque
from queue import SimpleQueue

import grpc
from camino.testing.contract.answers import Answer, Broken, answered, failed
from camino.testing.rpcs import Rpc
from google.protobuf.message import Message


class Stream:
    """A call of a method that streams."""

    def __init__(
        self, rpc: Rpc, channel: grpc.Channel, *, timeout_s: float, metadata: tuple[tuple[str, str], ...]
    ) -> None:
        self.rpc = rpc
        self._outgoing: SimpleQueue[Message | None] = SimpleQueue()
        self._unanswered: deque[Message] = deque()
        method = channel.stream_stream(
            rpc.path, request_serializer=rpc.request.SerializeToString, response_deserializer=rpc.reply.FromString
        )
        self._call = method(iter(self._outgoing.get, None), timeout=timeout_s, metadata=metadata)

    def send(self, *requests: Message) -> None:
        for request in requests:
            self._unanswered.append(request)
            self._outgoing.put(request)

    def finish(self) -> None:
        """Send no more."""
        self._outgoing.put(None)

    def cancel(self) -> None:
        self.finish()
        self._call.cancel()

    def answer(self) -> Answer:
        """The answer to the first request that has none yet; its failure is the stream's end."""
        request = self._unanswered[0]
        try:
            reply = next(self._call)
        except grpc.RpcError as error:
            self.finish()
            return failed(self.rpc, request, error)
        except StopIteration:
            raise Broken(f"{self.rpc.full_name}: the stream ended, and a request has no answer") from None
        self._unanswered.popleft()
        return answered(self.rpc, request, reply)

    def end(self) -> grpc.RpcError | None:
        """Send no more, and see it end, with every request answered once. What it ended with, if not with OK."""
        self.finish()
        try:
            more = next(self._call, None)
        except grpc.RpcError as error:
            return error
        if more is not None:
            raise Broken(f"{self.rpc.full_name}: must answer each request once, and answers another time: {more}")
        return None

    def must_end(self) -> None:
        """It ends well."""
        if error := self.end():
            code = error.code().name
            raise Broken(f"{self.rpc.full_name}: when every request is answered it must end with OK, not {code}")


class OneRequest:
    """A stream of one request, which is a call like any other."""

    def __init__(self, stream: Stream, request: Message) -> None:
        self._stream = stream
        self._request = request
        stream.send(request)
        stream.finish()

    def cancel(self) -> None:
        self._stream.cancel()

    def answer(self) -> Answer:
        answer = self._stream.answer()
        error = self._stream.end() if answer.ok else None
        return failed(self._stream.rpc, self._request, error) if error else answer
