"""A call that is answered with responses as they come, as a caller has it."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import grpc
from camino.testing.contract.answers import Answer, Broken, answered, failed
from camino.testing.rpcs import Rpc
from google.protobuf.message import Message


class Telling:
    """What comes is read in a thread of its own, and kept until it's asked for."""

    def __init__(
        self,
        rpc: Rpc,
        channel: grpc.Channel,
        request: Message,
        *,
        timeout_s: float,
        metadata: tuple[tuple[str, str], ...],
    ) -> None:
        self._rpc = rpc
        self._request = request
        method = channel.unary_stream(
            rpc.path, request_serializer=rpc.request.SerializeToString, response_deserializer=rpc.reply.FromString
        )
        self._call = method(request, timeout=timeout_s, metadata=metadata)
        self._told: SimpleQueue[Message | grpc.RpcError | None] = SimpleQueue()
        Thread(target=self._read, daemon=True).start()

    def cancel(self) -> None:
        self._call.cancel()

    def answer(self) -> Answer:
        """All that comes until there is a cursor, as one reply, or the failure that comes before. Then it is left."""
        whole: Any = self._rpc.reply()
        while not whole.cursor:
            answer = self.next()
            if not answer.ok:
                return answer
            whole.MergeFrom(answer.must_be_ok())
        self.cancel()
        return answered(self._rpc, self._request, whole)

    def next(self) -> Answer:
        """The next response, or the failure that it ends with."""
        return self._answer(self._told.get())

    def arrived(self) -> Answer | None:
        """The same, if it has come."""
        try:
            return self._answer(self._told.get_nowait())
        except Empty:
            return None

    def _answer(self, told: Message | grpc.RpcError | None) -> Answer:
        if told is None:
            raise Broken(f"{self._rpc.full_name}: it must go on until its caller has enough, and ended with OK")
        if isinstance(told, grpc.RpcError):
            return failed(self._rpc, self._request, told)
        return answered(self._rpc, self._request, told)

    def _read(self) -> None:
        try:
            for response in self._call:
                self._told.put(response)
        except grpc.RpcError as error:
            self._told.put(error)
        else:
            self._told.put(None)
