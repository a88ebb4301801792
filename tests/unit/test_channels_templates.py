"""Templates: what they see, what is an error when, and what nobody can make them do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from services.channels.scope import Scope
from services.channels.templates import Compiler, Rendered, RenderError, Source
from services.chassis.errors import InvalidDefinition

NOW = int(datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()) * 1_000_000
COMPILER = Compiler()


def scope(profile: dict[str, Any] | None = None, event: dict[str, Any] | None = None) -> Scope:
    return Scope(
        profile=profile or {},
        event=event or {},
        read=lambda value: value,
        profile_id="p-1",
        message_id="s-1",
        topic="offers",
        now=NOW,
    )


def render(text: str, profile: dict[str, Any] | None = None, event: dict[str, Any] | None = None) -> str:
    return COMPILER.compile(Source("content.text", 2, text)).render(scope(profile, event)).text


def email(subject: str = "Hi", text: str = "Hi", html: str = "", **profile: Any) -> Rendered:
    return COMPILER.compile(Source("content.email", 1, text, subject, html)).render(scope(profile))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Hi {{ profile.first_name }}", "Hi Ana"),
        ("{{ profile.id }} {{ message.id }} {{ message.topic }}", "p-1 s-1 offers"),
        ("{{ profile.address.city }}", "Lisbon"),
        ("{{ profile.address.geo.lat }}", "38.7"),
        ("{{ profile.tags | join: ', ' }}", "a, b"),
        ("{% for tag in profile.tags %}[{{ tag }}]{% endfor %}", "[a][b]"),
        ("{{ event.type }}/{{ event.total }}", "purchase/12"),
        ("{% if profile.vip %}yes{% else %}no{% endif %}", "yes"),
        ("{{ profile.missing | default: 'friend' }}", "friend"),
        ("{% if profile.missing %}yes{% else %}no{% endif %}", "no"),
        ("{% if profile.plan == 'gold' %}yes{% else %}no{% endif %}", "no"),
        ("{{ now | date: '%Y-%m-%d %H:%M' }}", "2026-03-01 21:00"),
        ("{{ 'now' | date: '%H:%M', 'UTC' }}", "12:00"),
    ],
)
def test_what_a_template_sees(template: str, expected: str) -> None:
    profile = {
        "first_name": "Ana",
        "address.city": "Lisbon",
        "address.geo.lat": 38.7,
        "tags": ["a", "b"],
        "vip": True,
        "time_zone": "Asia/Tokyo",
    }
    assert render(template, profile, {"type": "purchase", "total": 12}) == expected


@pytest.mark.parametrize(
    ("locale", "template", "expected"),
    [
        ("", "{{ profile.born | date }}", "Aug 21, 2001"),
        ("de-DE", "{{ profile.born | date: 'long' }}", "21. August 2001"),
        ("pt_PT", "{{ profile.born | date: 'd MMMM' }}", "21 agosto"),
        ("xx-YY", "{{ profile.born | date: 'long' }}", "August 21, 2001"),
        ("", "{{ '2026-12-24' | date: '%d.%m.' }}", "24.12."),
        ("en-US", "{{ event.total | money: 'EUR' }}", "€1,234.50"),
        ("de", "{{ event.total | money: 'eur' }}", "1.234,50\xa0€"),
        ("ja", "{{ event.total | money: 'JPY' }}", "¥1,234"),
    ],
)
def test_dates_and_money_are_written_as_the_person_does(locale: str, template: str, expected: str) -> None:
    profile: dict[str, Any] = {"born": datetime(2001, 8, 20, 23, 30, tzinfo=UTC), "time_zone": "Europe/Berlin"}
    if locale:
        profile["locale"] = locale
    assert render(template, profile, {"total": 1234.5}).replace("\uffe5", "¥") == expected


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("one\ntwo {{ profile.first_name }}", "text, line 2: profile.first_name is undefined"),
        ("{{ profile.first_name | upcase }}", "profile.first_name is undefined"),
        ("{{ profile.first_name | money: 'EUR' }}", "profile.first_name is undefined"),
        ("{% for x in profile.list %}{{ x }}{% endfor %}", "profile.list is undefined"),
        ("{{ 'abc' | money: 'EUR' }}", "expected a number"),
        ("{{ 12 | money: 'nope' }}", "is not a currency"),
        ("{{ 'someday' | date: 'long' }}", "not a date"),
        ("{{ now | date: '%H', 'Mars/Base' }}", "not a time zone"),
        ("{% break %}", "break"),
        ("{% for i in (1..100000) %}x{% endfor %}", "loop iteration limit"),
        ("{% assign s = 'xxxxxxxx' %}{% for i in (1..100) %}{% assign s = s | append: s %}{% endfor %}", "limit"),
        ("{{ 1 | divided_by: 0 }}", "divi"),
    ],
)
def test_what_fails_for_one_person(template: str, words: str) -> None:
    with pytest.raises(RenderError) as failed:
        render(template)
    assert words in str(failed.value)


def test_values_are_escaped_in_html_and_only_there() -> None:
    rendered = email("{{ profile.name }}", "{{ profile.name }}", "<p>{{ profile.name }}</p>", name="<b>Ana & co</b>")
    assert rendered.html == "<p>&lt;b&gt;Ana &amp; co&lt;/b&gt;</p>"
    assert rendered.text == rendered.subject == "<b>Ana & co</b>"


@pytest.mark.parametrize("name", ["Ana\r\nBcc: all@example.com", "Ana\nX: y", "Ana\u2028X: y", "Ana\x0bX: y", "A\x85B"])
def test_a_subject_is_one_line(name: str) -> None:
    subject = email("Hi {{ profile.name }}!", name=name).subject
    assert len(subject.splitlines()) == 1


def test_publishing_names_every_field_and_line_at_fault() -> None:
    source = Source(
        "content.email",
        1,
        text="Hi\n{{ user.name }} {{ profile.x | shout }}",
        subject="Hi {{ profile.name",
        html="<p>\n\n{% include 'footer' %}",
        sender="not a mailbox",
    )
    with pytest.raises(InvalidDefinition) as failed:
        COMPILER.compile(source)
    found = {(violation.field, violation.message.split(";")[0]) for violation in failed.value.violations}
    assert ("content.email.text", "line 2: unknown variable 'user'") in found
    assert ("content.email.text", "line 2: unknown filter 'shout'") in found
    assert ("content.email.subject", "line 1: expected '}}', found end of file") in found
    assert ("content.email.html", "line 3: unexpected tag 'include'") in found
    assert "content.email.from" in {field for field, _ in found}


@pytest.mark.parametrize("sender", ["", "hello@example.com", "Ana's Records <hello@example.com>"])
def test_mailboxes(sender: str) -> None:
    assert COMPILER.compile(Source("content.email", 1, "x", "x", "", sender)).sender == sender


@pytest.mark.parametrize("sender", ["Ana", "Ana <>", "a@", "a@b\r\nBcc: c@d"])
def test_what_is_no_mailbox(sender: str) -> None:
    with pytest.raises(InvalidDefinition, match="mailbox"):
        COMPILER.compile(Source("content.email", 1, "x", "x", "", sender))


def test_local_variables_and_conditions_are_no_unknown_variables() -> None:
    template = "{% assign n = profile.points | default: 0 %}{% for t in profile.tags %}{{ t }}{% endfor %}{{ n }}"
    assert render(template, {"tags": ["x"]}) == "x0"


def test_iterating_over_a_profile_yields_everything() -> None:
    template = "{% for pair in profile %}{{ pair[0] }},{% endfor %}{{ profile.size }}"
    assert render(template, {"b": 1, "a.x": 2}) == "id,b,a,3"


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../../etc/passwd", "\0"])
def test_an_unknown_time_zone_is_utc(zone: str) -> None:
    assert render("{{ now | date: '%H:%M' }}", {"time_zone": zone}) == "12:00"
