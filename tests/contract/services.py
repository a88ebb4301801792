"""The four services as a target of the contract suite, and how to bring about there what no call can."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from camino.channels.v1 import message_pb2
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import Fact, OutOfReach, Target, Tokens
from camino.testing.rpcs import Rpc, rpcs

from services.chassis.callers import Allowed, Caller, Callers, digest
from tests.contract.observed import DOUBTFUL, Observed

SERVICES = ("profile", "segment", "orchestrator", "channels")
_HEARD = {
    "segment": "camino.profile.v1.ProfileChanged",
    "orchestrator": "camino.channels.v1.MessageSettled",
    "channels": "camino.orchestrator.v1.SendRequested",
}
"""A fact that each service listens to."""


TOKENS = Tokens(
    full="full-token",
    without_scopes="token-without-scopes",
    elsewhere="token-for-elsewhere",
    without_scope=lambda scope: f"token-without-{scope}",
)


def _callers() -> Callers:
    everything, nothing = Allowed.of(["*"]), Allowed.of([])
    scopes = {rpc.scope for rpc in rpcs()}
    return Callers(
        {
            digest(TOKENS.without_scope(scope)): Caller(f"no-{scope}", Allowed.of(scopes - {scope}), everything)
            for scope in scopes
        }
        | {
            digest(TOKENS.full): Caller("suite", everything, everything),
            digest(TOKENS.without_scopes): Caller("powerless", nothing, everything),
            digest(TOKENS.elsewhere): Caller("stranger", everything, Allowed.of(["elsewhere"])),
        }
    )


@contextmanager
def services(directory: Path) -> Iterator[tuple[Target, Observed]]:
    """A target, and what it's made of."""
    token_file = directory / "token"
    token_file.write_text(TOKENS.full)
    observed = Observed(directory, _callers(), token_file)
    with observed.open() as house:
        addresses = [house.addresses[name] for name in SERVICES]
        target = Target(addresses, TOKENS, insight=observed, pass_time=observed.pass_time)

        def dead_letter(workspace_id: str, place: int) -> Mapping[str, str]:
            """Something on a stream that no consumer can read."""
            service = SERVICES[place]
            if service not in _HEARD:
                raise OutOfReach(f"the {service} service listens to nothing, so it has no dead letters")
            known = {letter.dead_letter_id for letter in _letters(target, place)}
            observed.publish(Fact(f"{_HEARD[service]}.{workspace_id}.0.unreadable", {}, b"\xff%d" % len(known)))

            def come() -> str | None:
                new = [
                    letter.dead_letter_id for letter in _letters(target, place) if letter.dead_letter_id not in known
                ]
                return new[0] if new else None

            return {"dead_letter_id": target.eventually(come, "what can't be read is put aside")}

        def unknown_message(workspace_id: str, _place: int) -> Mapping[str, str]:
            """A message to an address for which the provider doesn't know what happened."""
            stage = Stage(target, workspace_id=workspace_id)
            stage.carry_out(_rpc("JourneyService.PublishJourney"))
            profiles = stage.request(_rpc("ProfileService.IngestProfiles"))
            for identity in profiles.profiles[0].identities:
                identity.value = f"{DOUBTFUL}-{identity.value}"
            target.call(_rpc("ProfileService.IngestProfiles"), profiles).must_be_ok()
            events = _rpc("ProfileService.IngestEvents").request()
            events.CopyFrom(stage.request(_rpc("ProfileService.IngestEvents")))
            events.events[0].identity.value = f"{DOUBTFUL}-{events.events[0].identity.value}"
            events.events[0].event_id = "doubtful"
            target.call(_rpc("ProfileService.IngestEvents"), events).must_be_ok()
            wanted = stage.request(_rpc("MessageService.ListMessages"))
            wanted.state = message_pb2.MESSAGE_STATE_UNKNOWN

            def parked() -> str | None:
                messages = target.call(_rpc("MessageService.ListMessages"), wanted).must_be_ok().messages
                return messages[0].send_id if messages else None

            return {"send_id": target.eventually(parked, "a message with an unknown outcome is parked")}

        target.needs = {"dead_letter": dead_letter, "unknown_message": unknown_message}
        with target.open():
            yield target, observed


def _letters(target: Target, place: int) -> list:
    rpc = _rpc("DeadLetterService.ListDeadLetters")
    return list(target.call(rpc, rpc.request(page_size=1_000), place=place).must_be_ok().dead_letters)


def _rpc(name: str) -> Rpc:
    [found] = [rpc for rpc in rpcs() if rpc.name == name]
    return found
