"""The fake as a target of the contract suite. What Camino would decide and compute by itself is put there by the fake's
hooks, between two looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from camino.channels.v1 import message_pb2
from camino.orchestrator.v1 import decision_pb2, journey_pb2
from camino.segment.v1 import segment_pb2
from camino.testing.contract.target import Fact, Held, OutOfReach, Target, Tokens
from camino.testing.fake import Caller, FakeCamino
from camino.testing.rpcs import Rpc, rpcs

_CALLERS = (
    Caller("suite", "full"),
    Caller("idle", "without-scopes", scopes=()),
    Caller("neighbour", "elsewhere", workspaces=("elsewhere",)),
)
_SCOPES = {rpc.scope for rpc in rpcs()}
_LACKING = {scope: Caller(f"no-{scope}", f"no-{scope}", scopes=tuple(_SCOPES - {scope})) for scope in _SCOPES}


class Looking:
    """`camino.testing.contract.target.Insight` of a fake."""

    partitions = 1

    def __init__(self, fake: FakeCamino) -> None:
        self._fake = fake

    def state(self) -> object:
        return self._fake.state()

    def entered(self, rpc: Rpc) -> int:
        return len(self._fake.requests(rpc.path))

    def hold(self, rpc: Rpc) -> AbstractContextManager[Held]:
        return self._fake.hold(rpc.path)

    def facts(self, workspace_id: str) -> Sequence[Fact]:
        raise OutOfReach("the fake publishes nothing")

    def publish(self, fact: Fact) -> None:
        raise OutOfReach("the fake listens to nothing")


@contextmanager
def fake_target() -> Iterator[Target]:
    with FakeCamino(tokens=[*_CALLERS, *_LACKING.values()]) as fake:
        tokens = Tokens(*(caller.token for caller in _CALLERS), without_scope=lambda scope: _LACKING[scope].token)
        target = Target([fake.target], tokens, insight=Looking(fake))

        def pass_time() -> None:
            for workspace_id in target.workspaces:
                _send(fake, workspace_id)
                _compute(fake, workspace_id)

        target.pass_time = pass_time
        target.needs = {
            "dead_letter": lambda workspace_id, _place: {
                "dead_letter_id": fake.put_dead_letter(workspace_id).dead_letter_id
            },
            "unknown_message": lambda workspace_id, _place: {
                "send_id": fake.put_message(workspace_id, state=message_pb2.MESSAGE_STATE_UNKNOWN).send_id
            },
        }
        with target.open():
            yield target


def _send(fake: FakeCamino, workspace_id: str) -> None:
    """Each run decides to send a message, which is sent."""
    sent = {message.source_id for message in fake.resources(message_pb2.Message, workspace_id)}
    for run in fake.resources(journey_pb2.Run, workspace_id):
        if run.run_id not in sent:
            message = fake.put_message(workspace_id, profile_id=run.profile_id, source_id=run.run_id)
            decision = decision_pb2.Decision(
                workspace_id=workspace_id,
                decision_id=message.send_id,
                profile_id=run.profile_id,
                source_id=run.run_id,
                source_name=run.journey_id,
                channel=message.channel,
                topic="news",
                purpose="PURPOSE_MARKETING",
                verdict=decision_pb2.VERDICT_SEND,
                decide_time=run.create_time,
            )
            fake.put(decision)


def _compute(fake: FakeCamino, workspace_id: str) -> None:
    """Everybody with an event is a member of every segment."""
    members = {(found.segment_id, found.profile_id) for found in fake.resources(segment_pb2.Membership, workspace_id)}
    for segment in fake.resources(segment_pb2.Segment, workspace_id):
        for profile_id in {event.profile_id for event in fake.events(workspace_id)}:
            if (segment.segment_id, profile_id) not in members:
                fake.put_member(workspace_id, segment.segment_id, profile_id)
