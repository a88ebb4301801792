"""Triggered sends: the shell around the engine, for a batch of runs at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from camino.orchestrator.v1 import orchestrator_events_pb2
from camino.profile.v1 import profile_events_pb2

from services.chassis.clock import MILLISECOND, Clock
from services.chassis.consumer import Dead, Retry
from services.chassis.documents import Document
from services.chassis.ids import derive_id, partition_of
from services.chassis.metrics import Metrics
from services.chassis.tracing import traceparent_of
from services.orchestrator import convert, decisions, obligations
from services.orchestrator.clients import Profiles, Segments
from services.orchestrator.convert import Body
from services.orchestrator.domain.decision import Verdict
from services.orchestrator.domain.engine import Facts, Run, RunState, Transition, abandon, advance
from services.orchestrator.domain.person import Person
from services.orchestrator.entering import Entering, second_runs
from services.orchestrator.erasing import Erasing
from services.orchestrator.registry import Registry
from services.orchestrator.store import Store
from services.orchestrator.walk import Walk

_BEHIND_PAUSE = 20 * MILLISECOND


class Runner:
    """Begins runs when events come, and lets them go on when their time comes."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        profiles: Profiles,
        segments: Segments,
        erasing: Erasing,
        clock: Clock,
        partitions: int,
        *,
        owed: Callable[[Iterable[obligations.Owed]], None],
        hint: Callable[[int, int], None],
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._profiles = profiles
        self._segments = segments
        self._erasing = erasing
        self._entering = Entering(store, registry, profiles, erasing)
        self._clock = clock
        self._partitions = partitions
        self._owed = owed
        self._hint = hint
        self._tally = decisions.Tally(metrics or Metrics(), "journey")

    async def triggered(self, changes: list[profile_events_pb2.ProfileChanged]) -> Mapping[int, Retry | Dead]:
        """Begin the runs that these events trigger. An event that comes again finds its runs there, and begins none."""
        now = self._clock.now()
        # Those that have begun are left out here, not only by the write: nothing may be recorded of what they won't do.
        fresh = await self._entering.begin(changes, now)
        if fresh:
            await self._walk(fresh, now)
        return {}

    async def woken(self, due: list[Document]) -> None:
        """Let runs whose time has come go on, for whoever their profiles are now. Those don't whose journey was
        deleted, or whose person, who may enter it once, turned out to have been in it before."""
        now = self._clock.now()
        versions = await self._registry.versions({(d.body["journey"], d.body["version"]) for d in due})
        people = await self._people(due)
        walks = []
        ended = []
        for document in due:
            workspace_id, _, run_id = document.id.partition("/")
            run = convert.run_of(run_id, document.body)
            journey = versions.get((document.body["journey"], document.body["version"]))
            if journey is None:
                ended.append(_left(document, abandon(run, now, "its journey was deleted")))
                continue
            paused = self._registry.paused(document.body["journey"])
            person = people.get((workspace_id, run.profile_id))
            walks.append(Walk(workspace_id, journey, run, document, person, paused, traceparent_of(document)))
        second = await second_runs(self._store.runs, walks, now)
        for walk in walks:
            if walk.document and walk.key in second:
                reason = f"the same person's run {second[walk.key]} began before"
                ended.append(_left(walk.document, abandon(walk.run, now, reason, RunState.MERGED)))
        await self._store.runs.put(ended)
        await self._walk([walk for walk in walks if walk.key not in second], now)

    async def _people(self, due: list[Document]) -> dict[tuple[str, str], Person]:
        wanted: dict[str, set[str]] = {}
        for document in due:
            wanted.setdefault(document.id.partition("/")[0], set()).add(document.body["profile"])
        people = {}
        for workspace_id, profile_ids in wanted.items():
            found = await self._profiles.get(workspace_id, profile_ids)
            people.update(((workspace_id, id_), person) for id_, person in found.items())
        return people

    async def _walk(self, walks: list[Walk], now: int) -> None:
        await self._advance(walks, now)
        records: dict[str, list[Document]] = {}
        writes: list[Document] = []
        requests: dict[str, list[orchestrator_events_pb2.SendRequested]] = {}
        for walk in walks:
            assert walk.transition is not None
            body = self._body(walk)
            records[walk.key] = self._record(walk, body, requests, now)
            if walk.key in requests:
                obligations.owe(body, requests[walk.key], now)
            writes.append(Document(walk.key, body, walk.document.rev if walk.document else 0))
        # Records first: a decision that took effect is always on record.
        await decisions.keep(self._store.decisions, [one for found in records.values() for one in found])
        outcome = await self._store.runs.put(writes)
        # Lost ones were begun, or moved on, by someone else, who does what follows; or were erased.
        lost = {*outcome.conflicted, *outcome.duplicate, *await self._erased_meanwhile(walks)}
        await decisions.forget(self._store.decisions, [one for key in lost for one in records[key]])
        self._tally.add(one for key, found in records.items() if key not in lost for one in found)
        self._owed(
            obligations.Owed(wire, walk.traceparent)
            for walk in walks
            if walk.key not in lost
            for wire in requests.get(walk.key, ())
        )
        for document in writes:
            if document.id not in lost and document.body["wake_at"]:
                self._hint(document.body["partition"], document.body["wake_at"])
            elif document.id in outcome.conflicted:
                # Perhaps only an end came in meanwhile: then the run is still due.
                self._hint(document.body["partition"], now)

    async def _erased_meanwhile(self, walks: list[Walk]) -> set[str]:
        """End the runs that were begun while their people were erased: erasing may have looked for runs before. Their
        keys. One that was there already has been changed by erasing, so this write of it is lost."""
        begun = {walk.key: f"{walk.workspace_id}/{walk.run.profile_id}" for walk in walks if walk.document is None}
        erased = await self._erasing.marked(begun.values()) if begun else set()
        gone = {key for key, person in begun.items() if person in erased}
        if gone:
            await self._erasing.end((await self._store.runs.get(gone)).values())
        return gone

    async def _advance(self, walks: list[Walk], now: int) -> None:
        """Advance each, looking up the memberships that any of them need in one call per round."""
        memberships: dict[str, dict[str, bool]] = {}
        waiting = walks
        while waiting:
            needed: dict[str, dict[tuple[str, str], set[str]]] = {}
            asking: list[Walk] = []
            for walk in waiting:
                facts = Facts(walk.person, walk.paused, memberships.get(walk.key, {}))
                walk.transition = advance(walk.journey, walk.run, now, facts)
                if walk.transition.needs:
                    asking.append(walk)
                    queries = needed.setdefault(walk.workspace_id, {})
                    queries.setdefault(walk.asks(now), set()).update(walk.transition.needs)
            waiting = []
            for workspace_id, queries in needed.items():
                answers = await self._segments.check(workspace_id, queries)
                for walk in asking:
                    if walk.workspace_id != workspace_id or walk.transition is None:
                        continue
                    answer = answers[walk.asks(now)]
                    if answer is None:
                        walk.transition = Transition(_put_off(walk.run, now))
                        continue
                    known = memberships.setdefault(walk.key, {})
                    known.update((segment, segment in answer) for segment in walk.transition.needs)
                    waiting.append(walk)

    def _body(self, walk: Walk) -> Body:
        assert walk.transition is not None
        before: Body = (
            walk.document.body
            if walk.document
            else {
                "journey": f"{walk.workspace_id}/{walk.journey.journey_id}",
                "version": walk.journey.version,
                "partition": partition_of(walk.run.profile_id, self._partitions),
                "sends": [],
                "owed": {},
                "unknown": {},
                "resends": 0,
                "resend_at": None,
                **({"traceparent": walk.traceparent} if walk.traceparent else {}),
            }
        )
        return {**before, **convert.run_body(walk.transition.run)}

    def _record(
        self, walk: Walk, body: Body, requests: dict[str, list[orchestrator_events_pb2.SendRequested]], now: int
    ) -> list[Document]:
        """The records of a walk's decisions; what it owes from now on goes into `requests`, and into the run's
        sends."""
        assert walk.transition is not None
        records = []
        source_key = f"run:{walk.run.run_id}"
        for decided in walk.transition.decided:
            decision, spec = decided.decision, decided.spec
            send_id = derive_id(
                "send",
                walk.workspace_id,
                walk.run.run_id,
                decided.step_id,
                str(decided.visit),
                str(spec.channel),
                decision.endpoint,
            )
            records.append(
                decisions.record(
                    walk.workspace_id,
                    send_id,
                    walk.run.profile_id,
                    spec,
                    decision,
                    source_key=source_key,
                    source_id=walk.run.run_id,
                    source_name=walk.journey.journey_id,
                    step_id=decided.step_id,
                    now=now,
                )
            )
            if decision.verdict is Verdict.DROP:
                body["sends"] = [*body["sends"], [send_id, decided.step_id, f"dropped: {decision.dropped_by}"]]
            if decision.verdict is Verdict.SEND and walk.person is not None:
                body["sends"] = [*body["sends"], [send_id, decided.step_id, ""]]
                requests.setdefault(walk.key, []).append(
                    obligations.request(
                        spec,
                        walk.person,
                        workspace_id=walk.workspace_id,
                        send_id=send_id,
                        endpoint=decision.endpoint,
                        source_key=source_key,
                        source_id=walk.run.run_id,
                        not_after=decided.due_since + spec.lifetime,
                        event={**walk.run.event.properties, "type": walk.run.event.type},
                    )
                )
        return records


def _left(document: Document, run: Run) -> Document:
    """The document of a run that doesn't go on. What it owes is still owed."""
    return Document(document.id, {**document.body, **convert.run_body(run)}, document.rev)


def _put_off(run: Run, now: int) -> Run:
    """The run, to be tried again at the same place in a moment."""
    return replace(run, wake_at=now + _BEHIND_PAUSE) if run.state is RunState.ACTIVE else run


def settle_run(body: Body, settled: list[Any]) -> Body | None:
    """A run's body once messages of it have ended; None when that was known."""
    after = dict(body)
    ended = obligations.settle(after, settled)
    if not ended:
        return None
    after["sends"] = [
        [send_id, step, ended[send_id][1] if send_id in ended else outcome] for send_id, step, outcome in body["sends"]
    ]
    return after
