"""The record of every decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from camino.orchestrator.v1 import decision_pb2

from services.chassis.documents import Collection, Document
from services.chassis.metrics import Metrics
from services.orchestrator import convert
from services.orchestrator.domain.decision import Decision, SendSpec, Verdict
from services.orchestrator.measures import DECISIONS


def record(
    workspace_id: str,
    decision_id: str,
    profile_id: str,
    spec: SendSpec,
    decision: Decision,
    *,
    source_key: str,
    source_id: str,
    source_name: str,
    step_id: str,
    now: int,
) -> Document:
    """A decision as a document. Deciding the same at the same instant again is the same record.

    It's about the profile id that the run or the audience has, also when that profile was merged into another since:
    so it's found again by what it came from. `source_key` names the document that would owe the message.
    """
    return Document(
        f"{workspace_id}/{decision_id}/{now}",
        {
            "profile": f"{workspace_id}/{profile_id}",
            "at": now,
            "source": [source_id, source_name, step_id],
            "by": source_key,
            "spec": [spec.channel, spec.topic, spec.purpose],
            "verdict": int(decision.verdict),
            "hold_until": decision.hold_until,
            "rules": [[rule.name, int(rule.verdict), rule.input] for rule in decision.rules],
        },
    )


def wire(document: Document) -> decision_pb2.Decision:
    workspace_id, decision_id, _ = document.id.split("/")
    body: dict[str, Any] = document.body
    return decision_pb2.Decision(
        workspace_id=workspace_id,
        decision_id=decision_id,
        profile_id=body["profile"].partition("/")[2],
        source_id=body["source"][0],
        source_name=body["source"][1],
        step_id=body["source"][2],
        channel=body["spec"][0],
        topic=body["spec"][1],
        purpose=body["spec"][2],
        verdict=body["verdict"],
        hold_until=convert.timestamp(body["hold_until"]),
        rules=[
            decision_pb2.RuleVerdict(rule=name, verdict=verdict, input=seen) for name, verdict, seen in body["rules"]
        ],
        decide_time=convert.timestamp(body["at"]),
    )


class Tally:
    """Counts decisions that took effect, for what asked for the message: `journey` or `campaign`."""

    def __init__(self, metrics: Metrics, trigger: str) -> None:
        self._decisions = metrics.counter(DECISIONS)
        self._trigger = trigger

    def add(self, records: Iterable[Document]) -> None:
        for (verdict, rule), number in Counter(map(_decided_by, records)).items():
            self._decisions.labels(Verdict(verdict).name.lower(), rule, self._trigger).inc(number)


def _decided_by(record: Document) -> tuple[int, str]:
    """The verdict, and the first rule that it comes from."""
    verdict = record.body["verdict"]
    if verdict == Verdict.SEND:
        return verdict, ""
    return verdict, next(name for name, said, _ in record.body["rules"] if said == verdict)


async def keep(collection: Collection, records: list[Document]) -> None:
    """Write records; those that are there already stay as they are."""
    if records:
        await collection.put(records)


async def forget(collection: Collection, records: list[Document]) -> None:
    """Take back records of decisions that did not take effect, because someone else's write came first."""
    if records:
        await collection.delete([record.id for record in records])
