"""`camino.channels.v1.MessageService`: messages as tests put them there, and suppressed endpoints."""

from __future__ import annotations

from collections import Counter

from camino.channels.v1 import message_pb2
from camino.channels.v1 import message_service_pb2 as pb
from camino.errors.v1 import reason_pb2
from camino.testing.fake.methods import method
from camino.testing.fake.reading import listing
from camino.testing.fake.refusal import Refusal, invalid_field, not_found
from camino.testing.fake.values import timestamp
from camino.testing.fake.world import World
from camino.type.v1 import messaging_pb2

_STATES = message_pb2.MessageState.keys()[1:]
_ENDS = {
    pb.RESOLUTION_SENT: message_pb2.MESSAGE_STATE_SENT,
    pb.RESOLUTION_FAILED: message_pb2.MESSAGE_STATE_FAILED,
    pb.RESOLUTION_SEND_AGAIN: message_pb2.MESSAGE_STATE_RETRY,
}


class Messages:
    def __init__(self, world: World) -> None:
        self._world = world

    def ListMessages(self, request: pb.ListMessagesRequest) -> pb.ListMessagesResponse:
        reply: pb.ListMessagesResponse = listing(
            self._world, method("camino.channels.v1.MessageService/ListMessages"), request
        )
        for message in reply.messages:
            message.ClearField("history")
        return reply

    def CountMessages(self, request: pb.CountMessagesRequest) -> pb.CountMessagesResponse:
        counts = Counter[str]()
        for _, message in self._world.all(message_pb2.Message, request.workspace_id):
            counts[message_pb2.MessageState.Name(message.state)] += 1
        return pb.CountMessagesResponse(counts=[pb.StateCount(state=state, count=counts[state]) for state in _STATES])

    def ResolveMessage(self, request: pb.ResolveMessageRequest) -> pb.ResolveMessageResponse:
        found = self._world.get(message_pb2.Message, request.workspace_id, request.send_id)
        if found is None:
            raise not_found("message", request.send_id)
        if found.state == message_pb2.MESSAGE_STATE_UNKNOWN:
            found = _resolved(found, request, self._world.now())
            self._world.put(request.workspace_id, request.send_id, found)
            self._world.put(request.workspace_id, request.send_id, request)
        elif not self._resolved_before(found, request):
            state = message_pb2.MessageState.Name(found.state)
            message = f"the message is {state}, and only an UNKNOWN one can be resolved"
            raise Refusal(reason_pb2.REASON_WRONG_STATE, message)
        return pb.ResolveMessageResponse(message=found)

    def SuppressEndpoint(self, request: pb.SuppressEndpointRequest) -> pb.SuppressEndpointResponse:
        id_, endpoint = _endpoint(request)
        found = self._world.get(pb.Suppression, request.workspace_id, id_) or pb.Suppression(
            channel=request.channel,
            endpoint=endpoint,
            reason=request.reason or "by hand",
            create_time=timestamp(self._world.now()),
        )
        self._world.put(request.workspace_id, id_, found)
        return pb.SuppressEndpointResponse(suppression=found)

    def UnsuppressEndpoint(self, request: pb.UnsuppressEndpointRequest) -> pb.UnsuppressEndpointResponse:
        self._world.remove(pb.Suppression, request.workspace_id, _endpoint(request)[0])
        return pb.UnsuppressEndpointResponse()

    def _resolved_before(self, message: message_pb2.Message, request: pb.ResolveMessageRequest) -> bool:
        earlier = self._world.get(pb.ResolveMessageRequest, request.workspace_id, request.send_id)
        if earlier and earlier.resolution == request.resolution:
            return True
        # It has come to the same end by itself. To be sent again isn't an end.
        return message.state == _ENDS[request.resolution] != message_pb2.MESSAGE_STATE_RETRY


def _resolved(message: message_pb2.Message, request: pb.ResolveMessageRequest, now: int) -> message_pb2.Message:
    at = timestamp(now)
    after = message_pb2.Message()
    after.CopyFrom(message)
    after.state = _ENDS[request.resolution]
    after.detail = request.note or "resolved by hand"
    after.reason = reason_pb2.REASON_UNSPECIFIED
    if after.state == message_pb2.MESSAGE_STATE_FAILED:
        after.reason = reason_pb2.REASON_PROVIDER_REJECTED
    if after.state == message_pb2.MESSAGE_STATE_RETRY:
        after.retry_time.CopyFrom(at)
    after.update_time.CopyFrom(at)
    after.history.add(state=after.state, at=at, detail=after.detail)
    return after


def _endpoint(request: pb.SuppressEndpointRequest | pb.UnsuppressEndpointRequest) -> tuple[str, str]:
    """What the suppression of an endpoint is known by, and the endpoint as it's kept: email addresses that differ in
    letter case are one."""
    endpoint = request.endpoint.strip()
    if not endpoint or not request.endpoint.isprintable():
        raise invalid_field("endpoint", "must be one line of visible characters")
    if request.channel == messaging_pb2.CHANNEL_EMAIL:
        endpoint = endpoint.lower()
    return f"{request.channel}/{endpoint}", endpoint
