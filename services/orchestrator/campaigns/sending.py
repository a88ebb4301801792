"""Scheduled sends: deciding for the recipients of a shard, a slice at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from camino.orchestrator.v1 import campaign_pb2, orchestrator_events_pb2

from services.chassis.clock import SECOND, Clock
from services.chassis.documents import Document
from services.chassis.ids import derive_id
from services.chassis.telemetry import Telemetry
from services.chassis.tracing import traceparent
from services.orchestrator import convert, decisions, obligations
from services.orchestrator.campaigns import shard
from services.orchestrator.campaigns.claims import Claims
from services.orchestrator.clients import Profiles
from services.orchestrator.convert import Body
from services.orchestrator.domain.decision import SendSpec, Verdict, decide
from services.orchestrator.domain.person import Person
from services.orchestrator.erasing import Erasing, workspace_of
from services.orchestrator.store import Store

_PAUSE_LOOK = SECOND


@dataclass(frozen=True, slots=True)
class _Known:
    """Recipients by their ids: who they are; the ids of those who were erased; and as which other recipient somebody
    gets the message."""

    people: Mapping[str, Person]
    erased: Collection[str]
    instead: Mapping[str, str]


class Sending:
    """Decides for everyone in a shard whose turn has come, and owes what is to be sent, in one write of the shard."""

    def __init__(
        self,
        store: Store,
        profiles: Profiles,
        erasing: Erasing,
        clock: Clock,
        *,
        owed: Callable[[Iterable[obligations.Owed]], None],
        hint: Callable[[int, int], None],
        telemetry: Telemetry | None = None,
    ) -> None:
        telemetry = telemetry or Telemetry()
        self._store = store
        self._profiles = profiles
        self._erasing = erasing
        self._claims = Claims(store)
        self._clock = clock
        self._owed = owed
        self._hint = hint
        self._tally = decisions.Tally(telemetry.metrics, "campaign")
        self._tracing = telemetry.tracing

    async def woken(self, due: list[Document]) -> None:
        campaigns = await self._store.campaigns.get({document.body["campaign"] for document in due})
        audiences = await self._store.audiences.get([document.id for document in due])
        for document in due:
            campaign, audience = campaigns.get(document.body["campaign"]), audiences.get(document.id)
            if campaign and audience:
                with self._tracing.root("decide slice"):
                    await self._slice(document, campaign, audience.body["recipients"])
            else:
                # Its workspace is being deleted: it has nothing left to do.
                await self._write(document, {**document.body, "wake_at": None}, [], [])

    async def _slice(self, document: Document, campaign: Document, recipients: list[str]) -> None:
        now = self._clock.now()
        body = dict(document.body)
        state = campaign.body["state"]
        if state == campaign_pb2.CAMPAIGN_STATE_PAUSED:
            body["wake_at"] = now + _PAUSE_LOOK
            await self._write(document, body, [], [])
            return
        if state == campaign_pb2.CAMPAIGN_STATE_CANCELLED:
            left = body["total"] - body["decided"] + len(body["held"])
            body.update(decided=body["total"], held=[], wake_at=None)
            body["dropped"] = shard.add(body["dropped"], ["cancelled"] * left)
            shard.close_if_done(body)
            await self._write(document, body, [], [])
            return
        turn, next_turn = shard.allowed(
            body["first"], body["decided"], body["total"], campaign.body["rate"], campaign.body["pace_from"], now
        )
        fresh = range(body["decided"], body["decided"] + turn)
        again = [place for place, until in body["held"] if until <= now]
        body["held"] = [[place, until] for place, until in body["held"] if until > now]
        body["decided"] += turn
        turns = {place: recipients[place] for place in (*again, *fresh)}
        known = await self._known(document, campaign, list(turns.values()))
        records, requests = self._decide(document, campaign, body, turns, known, now)
        waits = [until for _, until in body["held"]] + ([next_turn] if next_turn else [])
        body["wake_at"] = min(waits, default=None)
        if requests:
            obligations.owe(body, requests, now)
            if place := traceparent():
                body["traceparent"] = place
        shard.close_if_done(body)
        await self._write(document, body, records, requests)

    async def _known(self, document: Document, campaign: Document, profile_ids: list[str]) -> _Known:
        """What has to be known of these recipients, in the order of their turns."""
        if not profile_ids:
            return _Known({}, set(), {})
        workspace_id = workspace_of(document.id)
        people = await self._profiles.get(workspace_id, profile_ids)
        nobody = {f"{workspace_id}/{id_}" for id_ in profile_ids if id_ not in people}
        erased = {person.partition("/")[2] for person in await self._erasing.marked(nobody)}
        found = {id_: people[id_] for id_ in profile_ids if id_ in people}
        instead = await self._claims.instead(document.body["occurrence"], campaign.body["started"], found)
        return _Known(people, erased, instead)

    def _decide(
        self,
        document: Document,
        campaign: Document,
        body: Body,
        turns: dict[int, str],
        known: _Known,
        now: int,
    ) -> tuple[list[Document], list[orchestrator_events_pb2.SendRequested]]:
        workspace_id, occurrence_id, number = document.id.split("/")
        campaign_id = campaign.id.partition("/")[2]
        spec = spec_of(campaign.body)
        records: list[Document] = []
        requests: list[orchestrator_events_pb2.SendRequested] = []
        drops: list[str] = []
        source_key = f"shard:{occurrence_id}/{number}"
        for place, profile_id in turns.items():
            if profile_id in known.erased:
                drops.append(shard.ERASED)
                continue
            person = known.people.get(profile_id)
            decision = decide(
                spec,
                person,
                paused=False,
                due_since=campaign.body["at"],
                now=now,
                instead=known.instead.get(profile_id, ""),
            )
            send_id = derive_id(
                "send", workspace_id, occurrence_id, "", profile_id, str(spec.channel), decision.endpoint
            )
            records.append(
                decisions.record(
                    workspace_id,
                    send_id,
                    profile_id,
                    spec,
                    decision,
                    source_key=source_key,
                    source_id=occurrence_id,
                    source_name=campaign_id,
                    step_id="",
                    now=now,
                )
            )
            if decision.verdict is Verdict.HOLD:
                body["held"].append([place, decision.hold_until])
            elif decision.verdict is Verdict.DROP or person is None:
                drops.append(decision.dropped_by)
            else:
                requests.append(
                    obligations.request(
                        spec,
                        person,
                        workspace_id=workspace_id,
                        send_id=send_id,
                        endpoint=decision.endpoint,
                        source_key=source_key,
                        source_id=occurrence_id,
                        not_after=campaign.body["at"] + spec.lifetime,
                    )
                )
        body["dropped"] = shard.add(body["dropped"], drops)
        body["owed_total"] += len(requests)
        return records, requests

    async def _write(
        self,
        document: Document,
        body: Body,
        records: list[Document],
        requests: list[orchestrator_events_pb2.SendRequested],
    ) -> None:
        await decisions.keep(self._store.decisions, records)
        # Only if the shard is as it was read: otherwise another holder decides, or an end came in, and it wakes again.
        outcome = await self._store.shards.put([Document(document.id, body, document.rev)])
        if not outcome.saved:
            await decisions.forget(self._store.decisions, records)
            self._hint(body["partition"], self._clock.now())
            return
        records, requests = await self._without_erased(document.id, records, requests)
        self._tally.add(records)
        place = traceparent()
        self._owed(obligations.Owed(wire, place) for wire in requests)
        if body["wake_at"]:
            self._hint(body["partition"], body["wake_at"])

    async def _without_erased(
        self, shard_id: str, records: list[Document], requests: list[orchestrator_events_pb2.SendRequested]
    ) -> tuple[list[Document], list[orchestrator_events_pb2.SendRequested]]:
        """Those of people who weren't erased meanwhile: erasing may have looked at the shard before it was written."""
        decided = {record.body["profile"] for record in records}
        erased = await self._erasing.marked(decided | {_person_of(wire) for wire in requests})
        if not erased:
            return records, requests
        await self._erasing.take_out([shard_id], erased)
        await decisions.forget(self._store.decisions, [one for one in records if one.body["profile"] in erased])
        return (
            [record for record in records if record.body["profile"] not in erased],
            [wire for wire in requests if _person_of(wire) not in erased],
        )


def _person_of(wire: orchestrator_events_pb2.SendRequested) -> str:
    return f"{wire.workspace_id}/{wire.profile_id}"


def spec_of(body: Body) -> SendSpec:
    """What a campaign sends, from its stored definition."""
    definition = campaign_pb2.CampaignDefinition.FromString(body["definition"])
    return convert.spec_of(definition.send, body["template_version"])
