"""What `camino apply` makes of files: publishable requests, or problems that name file, line, path and what to do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from cli.documents import Parser
from cli.source import Problem

JOURNEY = """\
kind: Journey
id: welcome
spec:
  displayName: Welcome
  entry:
    eventType: signup
    maxEventAge: 1h
  steps:
    - id: settle
      wait: {duration: 3d}
      next: greet
    - id: greet
      send:
        channel: CHANNEL_EMAIL
        template_id: welcome
        topic: news
        purpose: PURPOSE_MARKETING
        quietHours: {start: 22:00, end: 08:00}
"""
TEMPLATE = """\
kind: Template
id: welcome
spec:
  email:
    subject: Hello
    text: Hello there
"""
SEGMENT = """\
kind: Segment
id: loyal
spec:
  condition:
    attribute:
      name: plan
      equals: {stringValue: "7"}
"""
CAMPAIGN = """\
kind: Campaign
id: spring
spec:
  segmentId: loyal
  schedule: {at: 2026-03-20T09:00:00Z}
  send: {channel: CHANNEL_EMAIL, templateId: welcome, topic: news, purpose: PURPOSE_MARKETING}
  messagesPerSecond: 50
"""


def read(text: str, workspace: str = "main") -> Parser:
    parser = Parser(workspace)
    parser.read("things.yaml", text)
    return parser


def only_problem(text: str) -> Problem:
    parser = read(text)
    assert len(parser.problems) == 1, [str(problem) for problem in parser.problems]
    assert parser.documents == []
    return parser.problems[0]


def test_all_kinds_in_one_file_come_in_the_order_they_depend_on_each_other():
    parser = read("---\n".join((CAMPAIGN, JOURNEY, SEGMENT, TEMPLATE)))
    assert parser.problems == []
    assert [document.kind.name for document in parser.in_order()] == ["Template", "Segment", "Journey", "Campaign"]


def test_a_document_becomes_the_request_that_publishes_it():
    (document,) = read(JOURNEY).documents
    request = document.request
    assert (request.workspace_id, request.journey_id) == ("main", "welcome")
    assert request.definition.entry.max_event_age.ToTimedelta() == timedelta(hours=1)
    assert request.definition.steps[0].wait.duration.ToTimedelta() == timedelta(days=3)
    assert request.definition.steps[1].send.template_id == "welcome"
    assert request.definition.steps[1].send.quiet_hours.start == "22:00"


def test_a_document_may_name_its_workspace():
    assert read("workspace: shop\n" + SEGMENT, workspace="main").documents[0].workspace == "shop"
    assert read(SEGMENT, workspace="other").documents[0].workspace == "other"


def test_durations_are_friendly_in_duration_fields_only():
    text = SEGMENT.replace('"7"', "7d")
    assert read(text).documents[0].request.definition.condition.attribute.equals.string_value == "7d"


def test_the_examples_are_in_order():
    parser = Parser("main")
    for file in sorted((Path(__file__).parents[2] / "examples" / "demo").glob("*.yaml")):
        parser.read(file.name, file.read_text())
    assert [str(problem) for problem in parser.problems] == []


@pytest.mark.parametrize(
    ("text", "line", "path", "message", "fix"),
    [
        pytest.param(
            JOURNEY.replace("eventType", "eventTyp"),
            6,
            "spec.entry.eventTyp",
            "unknown field",
            "did you mean eventType? allowed here: eventType, where, reentry, maxEventAge",
            id="unknown field",
        ),
        pytest.param(
            TEMPLATE.replace("id: welcome", "id: welcome\nlabels: {}"),
            3,
            "labels",
            "unknown field",
            "allowed here: kind, id, workspace, spec",
            id="unknown field of the envelope",
        ),
        pytest.param(
            JOURNEY.replace("Journey", "Jurney"), 1, "kind", "unknown kind Jurney", "did you mean Journey?", id="kind"
        ),
        pytest.param(SEGMENT.replace("kind: Segment\n", ""), 1, "kind", "is missing", "Template", id="no kind"),
        pytest.param(SEGMENT.replace("id: loyal\n", ""), 1, "id", "is missing", "give it an id", id="no id"),
        pytest.param("kind: Segment\nid: loyal\n", 1, "spec", "is missing", "say what it is", id="no spec"),
        pytest.param(SEGMENT.replace("loyal", "007"), 2, "id", "is the number 007", 'id: "007"', id="id a number"),
        pytest.param(
            SEGMENT.replace("loyal", "Loyal!"), 2, "id", "pattern", "use lower-case", id="id breaks the schema"
        ),
        pytest.param(
            SEGMENT.replace('"7"', "7"),
            7,
            "spec.condition.attribute.equals.stringValue",
            "must be text, but is the number 7",
            'write it in quotes: "7"',
            id="number for text",
        ),
        pytest.param(
            CAMPAIGN.replace("50", "fast"),
            7,
            "spec.messagesPerSecond",
            "must be a number, but is the text 'fast'",
            "like 12.5",
            id="text for a number",
        ),
        pytest.param(
            SEGMENT.replace('equals: {stringValue: "7"}', "exists: yes"),
            7,
            "spec.condition.attribute.exists",
            "must be true or false",
            "without quotes",
            id="text for a truth value",
        ),
        pytest.param(
            JOURNEY.replace("3d", "3 days"),
            10,
            "spec.steps[0].wait.duration",
            "must be a duration",
            "3d, 12h",
            id="duration",
        ),
        pytest.param(
            CAMPAIGN.replace("T09:00:00Z", ""),
            5,
            "spec.schedule.at",
            "must be an instant",
            "2026-11-24T09:00:00Z",
            id="instant",
        ),
        pytest.param(
            JOURNEY.replace("CHANNEL_EMAIL", "email"),
            14,
            "spec.steps[1].send.channel",
            "no such value: email",
            "did you mean CHANNEL_EMAIL?",
            id="enum",
        ),
        pytest.param(
            "kind: Journey\nid: a\nspec:\n  steps: {id: a}\n",
            4,
            "spec.steps",
            "must be a list",
            "begin each item with",
            id="mapping for a list",
        ),
        pytest.param(
            "kind: Segment\nid: a\nspec:\n  condition: [1]\n",
            4,
            "spec.condition",
            "must be a mapping of fields, but is a list",
            "all, any, not, attribute, event",
            id="list for a mapping",
        ),
        pytest.param(
            SEGMENT.replace('equals: {stringValue: "7"}', "equals:"),
            7,
            "spec.condition.attribute.equals",
            "has no value",
            "leave the field out",
            id="no value",
        ),
        pytest.param(
            SEGMENT + "      exists: true\n",
            8,
            "spec.condition.attribute.exists",
            "excludes equals",
            "keep one of",
            id="two of a oneof",
        ),
        pytest.param(
            SEGMENT + "  display_name: a\n  displayName: b\n",
            9,
            "spec.displayName",
            "is there twice",
            "remove one",
            id="field twice",
        ),
        pytest.param(
            JOURNEY.replace("3d", "9000d"),
            10,
            "spec.steps[0].wait.duration",
            "must be",
            "change it so that it holds",
            id="schema, of a field",
        ),
        pytest.param(
            JOURNEY.replace("      wait: {duration: 3d}\n", ""),
            9,
            "spec.steps[0]",
            "lacks its kind",
            "give it one of send, wait, condition, exit",
            id="schema, none of a oneof",
        ),
        pytest.param(
            "kind: Segment\nid: a\nspec:\n  displayName: A\n",
            4,
            "spec.condition",
            "is missing",
            "add it",
            id="schema, absent",
        ),
        pytest.param("kind: [\n", 2, "", "not YAML", "mend the syntax", id="no YAML"),
        pytest.param("- 1\n", 1, "", "a document must be a mapping", "kind, id", id="no mapping"),
        pytest.param("# nothing\n", 1, "", "holds no document", "Template", id="nothing"),
        pytest.param(
            SEGMENT + "---\n" + TEMPLATE.replace("text: Hello there", "body: x\n    text: x"),
            14,
            "spec.email.body",
            "unknown field",
            "allowed here: from",
            id="second document",
        ),
    ],
)
def test_bad_input_is_named_with_file_line_path_and_fix(text: str, line: int, path: str, message: str, fix: str):
    parser = read(text)
    (problem,) = parser.problems
    assert (problem.file, problem.line, problem.path) == ("things.yaml", line, path)
    assert message in problem.message
    assert fix in problem.fix
    assert str(problem).startswith(f"things.yaml:{line}: {path}")


def test_every_problem_is_found_at_once():
    text = JOURNEY.replace("3d", "soon").replace("topic: news", "topik: news") + "---\nkind: Segment\n"
    assert [problem.path for problem in read(text).problems] == [
        "spec.steps[0].wait.duration",
        "spec.steps[1].send.topik",
        "id",
        "spec",
    ]


def test_the_same_thing_twice_is_refused():
    parser = read(SEGMENT + "---\n" + SEGMENT)
    (problem,) = parser.problems
    assert "segment loyal is also at things.yaml:1" in problem.message


def test_the_same_id_in_two_workspaces_is_two_things():
    assert len(read(SEGMENT + "---\nworkspace: shop\n" + SEGMENT).documents) == 2


def test_endless_aliases_end():
    assert "nests deeper" in only_problem("kind: Segment\nid: a\nspec:\n  condition: &x {not: *x}\n").message


@pytest.mark.parametrize(
    ("field", "path", "line"),
    [
        ("definition.steps[1].send.template_id", "spec.steps[1].send.template_id", 15),
        ("definition.entry.event_type", "spec.entry.eventType", 6),
        ("definition.steps[0].next.more", "spec.steps[0].next.more", 11),
        ("definition", "spec", 4),
        ("journey_id", "id", 2),
        ("", "", 1),
    ],
)
def test_fields_a_service_names_are_found_in_the_file(field: str, path: str, line: int):
    (document,) = read(JOURNEY).documents
    problem = document.problem(field, "is wrong")
    assert (problem.path, problem.line) == (path, line)
