"""Segments on the command line: the short form in files, the order they're published in, and what is shown of one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
from camino.segment.v1.segment_events_pb2 import MembershipChanged
from camino.segment.v1.segment_pb2 import Membership, MembershipExplanation, SegmentDefinition
from camino.segment.v1.segment_service_pb2 import ExplainMembershipRequest
from camino.testing.fake import FakeCamino
from google.protobuf.json_format import ParseDict
from typer.testing import CliRunner

from cli import membership_view, transitions
from cli.documents import Parser
from cli.main import app

SHORT = """\
kind: Segment
id: regulars
spec:
  displayName: Buy again and again
  condition:
    all:
      - attribute: {name: country, in: [ES, PT]}
      - attribute: {name: tags, equals: [vip, new]}
      - attribute: {name: score, equals: 7}
      - attribute: {name: paying, equals: true}
      - date: {attribute: renewal_date, inDays: {atLeast: 0, atMost: 30}, timeZone: Europe/Madrid}
      - event:
          eventType: purchase
          where: [{name: amount, number: {atLeast: 50}}]
          window: {within: 30d}
          count: {atLeast: 2}
      - not: {inSegment: staff}
"""


def definition_of(text: str) -> SegmentDefinition:
    parser = Parser("main")
    parser.read("segments.yaml", text)
    assert [str(problem) for problem in parser.problems] == []
    return parser.documents[0].request.definition


def test_the_short_form_says_what_the_long_one_does() -> None:
    long = SHORT
    for short, spelled in (
        ("[ES, PT]", "{values: [{stringValue: ES}, {stringValue: PT}]}"),
        ("[vip, new]", "{stringListValue: {values: [vip, new]}}"),
        ("equals: 7", "equals: {doubleValue: 7}"),
        ("equals: true", "equals: {boolValue: true}"),
        ("30d", "2592000s"),
    ):
        assert short in long
        long = long.replace(short, spelled)
    before, _, after = long.partition("    all:\n")
    long = f"{before}    all:\n      conditions:\n" + "".join(f"    {line}\n" for line in after.splitlines())
    assert definition_of(SHORT) == definition_of(long)


@pytest.mark.parametrize(
    ("good", "bad", "line", "path"),
    [
        ("equals: 7", "equals: null", 9, "spec.condition.all[2].attribute.equals"),
        ("[ES, PT]", "[ES, [PT, 7]]", 7, "spec.condition.all[0].attribute.in[1][1]"),
        ("atLeast: 2", "atLeast: two", 16, "spec.condition.all[5].event.count.atLeast"),
        ("inSegment: staff", "inSegment: Staff!", 17, "spec.condition.all[6].not.inSegment"),
        ("[{name: amount", "[{nam: amount", 14, "spec.condition.all[5].event.where[0].nam"),
    ],
)
def test_what_is_wrong_in_the_short_form_is_named_as_it_is_written(good: str, bad: str, line: int, path: str) -> None:
    parser = Parser("main")
    assert good in SHORT
    parser.read("segments.yaml", SHORT.replace(good, bad))
    assert (line, path) in [(problem.line, problem.path) for problem in parser.problems]


def test_segments_come_after_those_that_they_ask() -> None:
    def asking(id_: str, *others: str) -> str:
        asked = "".join(f"        - inSegment: {other}\n" for other in others)
        return f"kind: Segment\nid: {id_}\nspec:\n  condition:\n    not:\n      any:\n{asked}"

    parser = Parser("main")
    documents = (asking("a", "b", "c"), asking("b", "c", "elsewhere"), asking("c", "d"), asking("d", "c"))
    parser.read("segments.yaml", "---\n".join(documents))
    assert parser.problems == []
    assert [document.id for document in parser.in_order()] == ["d", "c", "b", "a"]


# --- explain ----------------------------------------------------------------------------------------------------------

STAFF = "kind: Segment\nid: staff\nspec:\n  condition:\n    attribute: {name: staff, exists: true}\n"


@pytest.fixture
def fake() -> Iterator[FakeCamino]:
    with FakeCamino() as fake:
        yield fake


def camino(fake: FakeCamino, *arguments: str, text: str | None = None) -> str:
    services = ("PROFILE", "SEGMENT", "ORCHESTRATOR", "CHANNELS")
    environment = {f"CAMINO_{service}_TARGET": fake.target for service in services}
    result = CliRunner().invoke(app, [*arguments, "-w", "main"], env=environment, input=text)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_rule_is_shown_as_a_person_would_write_it(fake: FakeCamino) -> None:
    camino(fake, "apply", "-f", "-", text=f"{SHORT}---\n{STAFF}")
    assert camino(fake, "explain", "segment", "staff").splitlines() == [
        "segment staff, version 1, ready",
        "staff exists",
    ]
    assert camino(fake, "explain", "segment", "regulars").splitlines() == [
        "segment regulars (Buy again and again), version 1, ready",
        "all of",
        '- country in ("ES", "PT")',
        '- tags = ["vip", "new"]',
        "- score = 7",
        "- paying = true",
        "- date(renewal_date, Europe/Madrid) in 0 to 30 days",
        "- count(purchase where amount >= 50 within 30d) >= 2",
        "- not in segment staff",
    ]


def test_a_definition_is_given_back_as_it_was_written(fake: FakeCamino) -> None:
    camino(fake, "apply", "-f", "-", text=f"{SHORT}---\n{STAFF}")
    written = camino(fake, "explain", "segment", "regulars", "-o", "yaml")
    assert definition_of(written) == definition_of(SHORT)
    assert "unchanged" in camino(fake, "apply", "-f", "-", text=written)


# --- why somebody is in it --------------------------------------------------------------------------------------------


def test_how_somebody_stands(fake: FakeCamino) -> None:
    camino(fake, "apply", "-f", "-", text=STAFF)
    camino(fake, "send-event", "hired", "--identity", "email:ana@example.com")
    [ana] = {event.profile_id for event in fake.events("main")}
    fake.put_member("main", "staff", ana)
    asked = "explain", "segment", "staff", "--identity", "email:ana@example.com", "--context", "cart_value=120"
    segment, standing, history, title, *_ = camino(fake, *asked).splitlines()
    assert (segment, title) == ("segment staff", "last 10 entries and exits")
    assert standing.startswith(f"profile {ana} is a member, at ")
    assert history.startswith("entered 20")
    assert "membership:" in camino(fake, *asked, "-o", "yaml")
    assert "bo isn't a member" in camino(fake, "explain", "segment", "staff", "--profile", "bo")
    request = fake.requests("camino.segment.v1.SegmentService/ExplainMembership")[0]
    assert isinstance(request, ExplainMembershipRequest)
    assert request.context["cart_value"].double_value == 120
    assert not request.HasField("at")


def test_how_somebody_stood(fake: FakeCamino) -> None:
    camino(fake, "apply", "-f", "-", text=STAFF)
    camino(fake, "send-event", "hired", "--identity", "email:ana@example.com")
    [ana] = {event.profile_id for event in fake.events("main")}
    fake.put_member("main", "staff", ana)
    before, later = "2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z"
    of_segment = "explain", "segment", "staff", "--profile", ana, "--at"
    of_person = "get", "profile", ana, "--at"
    assert f"last 10 entries and exits until {before}: none" in camino(fake, *of_segment, before)
    assert f"segments at {before}: none" in camino(fake, *of_person, before)
    for shown in (camino(fake, *of_segment, later), camino(fake, *of_person, later)):
        [row] = [line for line in shown.splitlines() if "staff" in line and "entered" in line and ana in line]
        assert f"until {later}" in shown, row
    request = fake.requests("camino.segment.v1.SegmentService/ExplainMembership")[0]
    assert isinstance(request, ExplainMembershipRequest)
    assert request.at.ToJsonString() == before


def test_standings_are_what_the_last_of_each_says() -> None:
    def told(segment_id: str, member: bool, day: int, profile_id: str = "ana") -> MembershipChanged:
        what = {"segmentId": segment_id, "profileId": profile_id, "member": member, "segmentVersion": day}
        return ParseDict({**what, "effectiveAt": f"2026-11-{day:02}T09:00:00Z"}, MembershipChanged())

    newest_first = [
        told("b", True, 9),
        told("a", False, 8),
        told("b", False, 7),
        told("a", True, 6),
        told("a", False, 5, "bo"),
        told("a", True, 4),
    ]
    found = transitions.standings(newest_first)
    assert [(it.segment_id, it.profile_id, it.member, it.segment_version) for it in found] == [
        ("a", "ana", False, 8),
        ("a", "bo", False, 5),
        ("b", "ana", True, 9),
    ]
    assert [membership_view.history(it) for it in found] == [
        "entered 2026-11-06T09:00:00Z, left 2026-11-08T09:00:00Z",
        "left 2026-11-05T09:00:00Z",
        "entered 2026-11-09T09:00:00Z",
    ]


def test_each_condition_stands_below_the_one_that_it_is_in(capsys: pytest.CaptureFixture[str]) -> None:
    text = """{
      segmentVersion: 2, evaluateTime: "2026-11-24T09:00:00Z", missing: MISSING_FALSE,
      condition: {
        condition: "count(purchase within 30d) >= 2 and not country = \\"ES\\"", verdict: CONDITION_VERDICT_UNKNOWN,
        conditions: [
          {condition: "count(purchase within 30d) >= 2", lookedAt: "3", verdict: CONDITION_VERDICT_TRUE,
           until: "2026-12-01T10:00:00Z"},
          {condition: "not country = \\"ES\\"", verdict: CONDITION_VERDICT_UNKNOWN, conditions: [
            {condition: "country = \\"ES\\"", lookedAt: none, verdict: CONDITION_VERDICT_UNKNOWN}]}]},
      membership: {
        segmentId: regulars, profileId: ana, enterTime: "2026-11-01T09:00:00Z", exitTime: "2026-11-20T09:00:00Z",
        cause: MEMBERSHIP_CAUSE_TIME, segmentVersion: 2}}"""
    membership_view.show("ana", ParseDict(yaml.safe_load(text), MembershipExplanation()))
    assert capsys.readouterr().out.splitlines() == [
        "profile ana isn't a member: it's unknown, and that means no member, at 2026-11-24T09:00:00Z by version 2",
        'unknown count(purchase within 30d) >= 2 and not country = "ES"',
        "├── true    count(purchase within 30d) >= 2   is 3   until 2026-12-01T10:00:00Z",
        '└── unknown not country = "ES"',
        '    └── unknown country = "ES"   is none',
        "entered 2026-11-01T09:00:00Z, left 2026-11-20T09:00:00Z, by time and version 2",
    ]


def test_a_rule_that_fails_is_said_to_fail(capsys: pytest.CaptureFixture[str]) -> None:
    held = Membership(segment_id="regulars", profile_id="ana", evaluation_error="ArithmeticError")
    membership_view.show("ana", MembershipExplanation(evaluation_error="ArithmeticError", membership=held))
    assert capsys.readouterr().out.splitlines() == [
        "profile ana can't be evaluated: ArithmeticError",
        "never a member; not evaluated since: ArithmeticError",
    ]


def test_what_a_segment_would_make_of_people(fake: FakeCamino) -> None:
    """Of several documents only segments are estimated, and what is wrong is said where it stands."""
    template = "kind: Template\nid: hello\nspec: {email: {subject: Hi, text: Hi}}\n---\n"
    staff = "kind: Segment\nid: staff\nspec:\n  condition: {attribute: {name: staff, equals: true}}\n"
    camino(fake, "apply", "-f", "-", text=staff)
    fake.put_member("main", "staff", "ana")
    shown = camino(fake, "estimate", "-f", "-", text=f"{template}{staff}")
    [line] = [line for line in shown.splitlines() if " staff " in line]
    assert [cell.strip() for cell in line.strip("│").split("│")][:4] == ["staff", "1", "0", "0"]
    asking = staff.replace("attribute: {name: staff, equals: true}", "inSegment: nobody")
    with pytest.raises(AssertionError, match=r"standard input:4: spec\.condition\.inSegment: there is no segment"):
        camino(fake, "estimate", "-f", "-", text=asking)
