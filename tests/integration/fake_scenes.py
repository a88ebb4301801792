"""Calls that show what the services do, for the fake to do the same. A scene is played in an empty workspace;
`profile 1` is the id of the first profile that a reply has told of, and so on."""

from __future__ import annotations

from typing import Any

Scene = list[tuple[str, dict[str, Any]]]

_AT = "2026-01-01T00:00:00Z"
_EARLIER = "2025-12-31T00:00:00Z"
_LATER = "2026-01-01T00:15:01Z"


def _identity(text: str) -> dict[str, str]:
    namespace, _, value = text.partition(":")
    return {"namespace": namespace, "value": value}


def _person(*identities: str, **more: Any) -> dict[str, Any]:
    return {"identities": [_identity(identity) for identity in identities], **more}


def _attribute(value: dict[str, Any], at: str = "") -> dict[str, Any]:
    return {"value": value, **({"observed_at": at} if at else {})}


def _profiles(*people: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "ProfileService.IngestProfiles", {"profiles": list(people)}


def _event(event_id: str, identity: str = "user:1", **more: Any) -> dict[str, Any]:
    return {"event_id": event_id, "type": "purchase", "identity": _identity(identity), **more}


def _events(*events: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "ProfileService.IngestEvents", {"events": list(events)}


def _template(template_id: str = "hello", etag: str = "", **email: str) -> tuple[str, dict[str, Any]]:
    content = {"email": {"subject": "Hi", "text": "Hello", **email}}
    return "TemplateService.PublishTemplate", {"template_id": template_id, "content": content, "etag": etag}


def _segment(condition: dict[str, Any], etag: str = "", segment_id: str = "loyal") -> tuple[str, dict[str, Any]]:
    definition = {"condition": condition}
    return "SegmentService.PublishSegment", {"segment_id": segment_id, "definition": definition, "etag": etag}


def _count(window: dict[str, Any] | None = None, **count: float) -> dict[str, Any]:
    return {"event": {"event_type": "purchase", "count": count, **({"window": window} if window else {})}}


def _then(*steps: dict[str, Any], within: str) -> dict[str, Any]:
    return {"sequence": {"steps": list(steps), "within": within}}


def _asking(*segment_ids: str) -> dict[str, Any]:
    return {"any": {"conditions": [_CITY, *({"in_segment": segment_id} for segment_id in segment_ids)]}}


def _nested(depth: int) -> dict[str, Any]:
    condition: dict[str, Any] = {"attribute": {"name": "city", "exists": True}}
    for _ in range(depth - 1):
        condition = {"not": condition}
    return condition


def _send(template_id: str = "hello", channel: str = "CHANNEL_EMAIL") -> dict[str, Any]:
    return {"channel": channel, "template_id": template_id, "topic": "news", "purpose": "PURPOSE_MARKETING"}


def _journey(*steps: dict[str, Any], etag: str = "") -> tuple[str, dict[str, Any]]:
    definition = {"entry": {"event_type": "purchase"}, "steps": list(steps)}
    return "JourneyService.PublishJourney", {"journey_id": "thanks", "definition": definition, "etag": etag}


def _campaign(
    name: str = "Autumn", segment_id: str = "loyal", etag: str = "", **send: str
) -> tuple[str, dict[str, Any]]:
    definition = {
        "display_name": name,
        "segment_id": segment_id,
        "send": _send(**send),
        "schedule": {"at": "2100-01-01T00:00:00Z"},
    }
    return "CampaignService.ScheduleCampaign", {"campaign_id": "autumn", "definition": definition, "etag": etag}


def _hook(
    url: str = "https://decisions.example.com/camino", etag: str = "", **definition: Any
) -> tuple[str, dict[str, Any]]:
    request = {"membership_webhook_id": "hook", "definition": {"url": url, **definition}, "etag": etag}
    return "MembershipWebhookService.PutMembershipWebhook", request


def _of_hook(method: str) -> tuple[str, dict[str, Any]]:
    return f"MembershipWebhookService.{method}", {"membership_webhook_id": "hook"}


def _autumn(verb: str) -> tuple[str, dict[str, Any]]:
    return f"CampaignService.{verb}Campaign", {"campaign_id": "autumn"}


_EVERYBODY = ("ProfileService.ListProfiles", {})
_EMPTY = {"above": 2, "at_most": 2}
_CITY = {"attribute": {"name": "city", "equals": {"string_value": "Madrid"}}}

SCENES: dict[str, Scene] = {
    "identities": [
        _profiles(_person("email: Ana@Example.com", "user:1"), _person("user:1", "phone:+34 911 23 45 67")),
        *(
            ("ProfileService.GetProfile", {"identity": _identity(identity)})
            for identity in ("email:ANA@example.com ", "phone:+34911234567", "user:2", "email:nobody", "phone:12")
        ),
        ("ProfileService.GetProfile", {"profile_id": "profile 1"}),
        ("ProfileService.GetProfile", {"profile_id": "nobody"}),
        ("ProfileService.GetProfile", {}),
        _profiles(_person("user:2"), _person("user:1", "user:2"), _person("user:9"), _person("user:9", "user:9")),
        ("ProfileService.BatchGetProfiles", {"profile_ids": ["nobody"]}),
        _EVERYBODY,
    ],
    "the newest wins": [
        _profiles(_person("user:1", attributes={"city": _attribute({"string_value": "Madrid"}, _AT)}, locale="es_ES")),
        _profiles(_person("user:1", attributes={"city": _attribute({"string_value": "Rome"}, _EARLIER)})),
        _EVERYBODY,
        _profiles(_person("user:1", attributes={"city": _attribute({"string_value": "Zagreb"}, _AT)})),
        _profiles(_person("user:1", attributes={"city": _attribute({"string_value": "Madrid"}, _AT)})),
        _profiles(_person("user:1", attributes={"score": _attribute({"double_value": 0.0}, _AT)})),
        _profiles(_person("user:1", attributes={"score": _attribute({"double_value": -0.0}, _AT)})),
        _profiles(
            _person("user:1", attributes={"born": _attribute({"timestamp_value": "1990-01-01T00:00:00.123456789Z"})})
        ),
        _EVERYBODY,
        *(
            _profiles(
                _person(
                    "user:1", consents=[{"channel": "CHANNEL_EMAIL", "topic": "news", "state": state, "changed_at": at}]
                )
            )
            for state, at in (
                ("CONSENT_STATE_OPTED_IN", _AT),
                ("CONSENT_STATE_OPTED_OUT", _EARLIER),
                ("CONSENT_STATE_OPTED_OUT", _AT),
                ("CONSENT_STATE_OPTED_IN", _AT),
            )
        ),
        _profiles(_person("user:1", time_zone="Europe/Madrid"), _person("user:1")),
        _EVERYBODY,
    ],
    "bad items fail alone": [
        _profiles(
            _person("user:1"),
            _person("email:nobody"),
            _person("user:\0"),
            _person("user:a", time_zone="Mars/Olympus"),
            _person("user:a", locale="?"),
            _person("user:a", attributes={"late": _attribute({"string_value": "x"}, _LATER)}),
            _person("user:a", attributes={"a\0b": _attribute({"string_value": "x"})}),
            _person("user:a", attributes={"empty": {}}),
            {},
            _person(*(f"user:{number}" for number in range(100, 151))),
            _person("user:2"),
        ),
        _profiles(_person(*(f"user:{number}" for number in (1, *range(200, 249))))),
        _profiles(_person("user:1", "user:one-too-many"), _person("user:1")),
        ("ProfileService.IngestProfiles", {}),
        _EVERYBODY,
    ],
    "events": [
        _events(_event("e1"), _event("e2", occurred_at=_EARLIER), _event("e1", "user:1", type="refund")),
        _events(_event("e1")),
        _events(
            {"event_id": "lost", "type": "purchase", "profile_id": "nobody"},
            _event("late", occurred_at=_LATER),
            _event("nul\0"),
            _event("who", "email:nobody"),
            _event("ours", type="camino.message.sent"),
            _event("large", properties={f"p{n}": {"string_value": "x" * 4_000} for n in range(20)}),
            _event("a name", properties={"a\0b": {"bool_value": True}}),
            _event("no value", properties={"empty": {}}),
            _event(""),
            _event("taken", properties={"at": {"timestamp_value": "2026-01-01T00:00:00.123456789Z"}}),
        ),
        _events({"event_id": "lost", "type": "purchase", "profile_id": "profile 1"}),
        ("ProfileService.ListEvents", {"profile_id": "profile 1"}),
        ("ProfileService.ListEvents", {"profile_id": "profile 1", "page_token": "?"}),
        ("ProfileService.ListEvents", {"profile_id": "nobody"}),
    ],
    "templates": [
        _template(),
        _template(etag="stale"),
        _template(text="Bye", etag="stale"),
        _template(text="Bye"),
        ("TemplateService.GetTemplate", {"template_id": "hello"}),
        ("TemplateService.GetTemplate", {"template_id": "hello", "version": 1}),
        ("TemplateService.GetTemplate", {"template_id": "hello", "version": 3}),
        ("TemplateService.GetTemplate", {"template_id": "bye"}),
        _template(text="{% if %}"),
        _template(text="\n{{ profile.name | shout }}", html="{{ person }}"),
        _template(text=" ", subject="two\nlines", **{"from": "nobody"}),
        _template(text="{% include 'other' %}"),
        ("TemplateService.ListTemplates", {}),
    ],
    "what templates say": [
        _template(
            subject="{{ profile.name }}\n",
            text="{{ event.total | money: 'EUR' }} on {{ event.at | date: 'long' }}, {{ profile.address.city }}",
            html="<p>{{ profile.name }} {{ event.total }}</p>",
        ),
        (
            "TemplateService.RenderTemplate",
            {
                "template_id": "hello",
                "profile": {
                    "name": {"string_value": "Ana <&\n"},
                    "address.city": {"string_value": "Madrid"},
                    "locale": {"string_value": "es-ES"},
                    "time_zone": {"string_value": "Pacific/Auckland"},
                },
                "event": {"total": {"double_value": 30}, "at": {"timestamp_value": "2026-01-01T23:00:00Z"}},
            },
        ),
        ("TemplateService.RenderTemplate", {"template_id": "bye"}),
        _template(
            "today",
            text="{{ now | date: '%H:%M', 'Europe/Madrid' }} {{ profile.name | default: 'friend' }}",
            html="{{ profile.id }} {{ message.id }} {{ message.topic }}",
        ),
        ("TemplateService.RenderTemplate", {"template_id": "today"}),
    ],
    "segments": [
        _segment(_CITY),
        _segment(_CITY, etag="stale"),
        _segment(_count(at_least=1), etag="stale"),
        _segment(_count(at_least=1)),
        _segment(_count(at_least=3, below=3)),
        _segment(_count(above=1, below=2)),
        _segment(_count(at_least=1, window={"within": "0.000000001s"})),
        _segment(_count(at_least=1, window={"between": {"at_or_after": _AT, "before": _AT}})),
        _segment({"any": {"conditions": [_CITY, {"attribute": {"name": "n", "number": {"above": 2, "at_most": 2}}}]}}),
        _segment(_nested(32)),
        _segment(_nested(33)),
        _segment({"event": {"event_type": "camino.message.opened", "last": {"age": {"below": "86400s"}}}}),
        _segment({"event": {"event_type": "camino.message.lost", "count": {"at_least": 1}}}),
        _segment({"event": {"event_type": "visit", "first": {"age": {"at_least": "60s", "below": "60s"}}}}),
        _segment({"event": {"event_type": "visit", "first": {"property": {"name": "n", "number": _EMPTY}}}}),
        _segment({"event": {"event_type": "visit", "max": {"property": "n", "range": _EMPTY}}}),
        _segment(_then({"event_type": "visit"}, {"event_type": "camino.lost"}, within="0.000000001s")),
        _segment({"date": {"attribute": "born", "time_zone": "No/Where", "in_days": {"at_least": 1, "at_most": 0}}}),
        _segment({"date": {"attribute": "born", "anniversary_in_days": {"at_most": -1}}}),
        _segment({"date": {"attribute": "born", "anniversary_in_days": {"at_least": 366}}}),
        _segment(_asking("nobody", "loyal")),
        _segment({"not": _asking("loyal")}, segment_id="disloyal"),
        _segment(_asking("disloyal")),
        ("SegmentService.GetSegment", {"segment_id": "loyal"}),
        *(_segment(_asking(f"row-{n - 1}") if n else _CITY, segment_id=f"row-{n}") for n in range(18)),
        _segment(_asking("row-16"), segment_id="row-0"),
        _segment(_asking("disloyal"), segment_id="row-0"),
        *(_segment(_asking(*[f"many-{n - 1}"] * 10 if n else ()), segment_id=f"many-{n}") for n in range(4)),
        ("SegmentService.ListMembers", {"segment_id": "nobody"}),
        ("SegmentService.ListMemberships", {"profile_id": "a"}),
        ("SegmentService.ListMemberships", {"profile_id": "a", "page_token": "no"}),
        ("SegmentService.ListTransitions", {"profile_id": "a"}),
        ("SegmentService.ListTransitions", {"profile_id": "a", "page_token": "no"}),
        ("SegmentService.EstimateSegment", {"segment_id": "new", "definition": {"condition": _CITY}}),
        ("SegmentService.EstimateSegment", {"segment_id": "loyal", "definition": {"condition": _asking("nobody")}}),
        ("SegmentService.EstimateSegment", {"segment_id": "loyal", "definition": {"condition": _asking("disloyal")}}),
        ("SegmentService.WatchMemberships", {}),
        ("SegmentService.WatchMemberships", {"segment_ids": ["loyal", "row-3", "loyal"]}),
        ("SegmentService.WatchMemberships", {"segment_ids": ["loyal", "nobody"]}),
        ("SegmentService.WatchMemberships", {"segment_ids": ["nobody"], "cursor": "no"}),
        ("SegmentService.ExplainMembership", {"segment_id": "nobody", "profile_id": "a"}),
        ("SegmentService.ExplainMembership", {"segment_id": "loyal", "profile_id": "a", "context": {"n": {}}}),
        ("SegmentService.CheckMembership", {"queries": [{"profile_id": "a", "segment_ids": ["loyal", "other"]}]}),
        ("SegmentService.CheckMembership", {"queries": [{"profile_id": "a", "segment_ids": ["loyal"]}]}),
        (
            "SegmentService.CheckMembership",
            {"queries": [{"profile_id": "a", "segment_ids": ["loyal"], "after_event_id": "e1"}]},
        ),
        ("SegmentService.GetSegment", {"segment_id": "other"}),
    ],
    "journeys": [
        _template(),
        _journey({"id": "a", "send": _send("other")}),
        _journey({"id": "a", "send": _send(channel="CHANNEL_SMS")}),
        _journey(
            {"id": "a", "next": "b", "wait": {"duration": "1s"}},
            {"id": "a", "next": "nowhere", "wait": {"duration": "1s"}},
            {"id": "c", "exit": {}},
        ),
        _journey({"id": "a", "next": "b", "send": _send()}, {"id": "b", "next": "a", "send": _send()}),
        _journey({"id": "a", "next": "b", "send": _send()}, {"id": "b", "next": "a", "wait": {"duration": "1s"}}),
        _journey(
            {
                "id": "a",
                "condition": {"branches": [{"in_segment": "nobody", "next": "a"}], "otherwise": "nowhere"},
            }
        ),
        _journey({"id": "a", "send": _send()}),
        _journey({"id": "a", "send": _send()}, etag="stale"),
        _journey({"id": "b", "send": _send()}, etag="stale"),
        _template(text="Bye"),
        _journey({"id": "a", "send": _send()}),
        ("JourneyService.SetJourneyState", {"journey_id": "thanks", "state": "JOURNEY_STATE_PAUSED"}),
        ("JourneyService.SetJourneyState", {"journey_id": "other", "state": "JOURNEY_STATE_PAUSED"}),
        ("JourneyService.GetJourney", {"journey_id": "thanks"}),
        ("JourneyService.GetRun", {"run_id": "none"}),
        ("JourneyService.ListRuns", {"journey_id": "other"}),
        ("DecisionService.ListDecisions", {"profile_id": "nobody"}),
    ],
    "campaigns": [
        _campaign(),
        _template(),
        _segment(_CITY),
        _campaign(channel="CHANNEL_SMS"),
        _campaign(),
        _campaign(etag="stale"),
        _campaign("Winter", etag="stale"),
        _campaign("Winter"),
        *(_autumn(verb) for verb in ("Resume", "Pause", "Pause")),
        _campaign("Winter"),
        _campaign("Autumn"),
        *(_autumn(verb) for verb in ("Resume", "Get", "Pause", "Cancel", "Cancel", "Resume", "Pause")),
        ("CampaignService.CancelCampaign", {"campaign_id": "winter"}),
        ("CampaignService.ListCampaigns", {}),
    ],
    "messages": [
        ("MessageService.GetMessage", {"send_id": "none"}),
        ("MessageService.ResolveMessage", {"send_id": "none", "resolution": "RESOLUTION_SENT"}),
        ("MessageService.CountMessages", {}),
        ("MessageService.SuppressEndpoint", {"channel": "CHANNEL_EMAIL", "endpoint": " Ana@example.com"}),
        (
            "MessageService.SuppressEndpoint",
            {"channel": "CHANNEL_EMAIL", "endpoint": "ANA@example.com", "reason": "so"},
        ),
        ("MessageService.SuppressEndpoint", {"channel": "CHANNEL_PUSH", "endpoint": "Token"}),
        ("MessageService.SuppressEndpoint", {"channel": "CHANNEL_PUSH", "endpoint": "two\nlines"}),
        ("MessageService.ListSuppressions", {}),
        ("MessageService.UnsuppressEndpoint", {"channel": "CHANNEL_EMAIL", "endpoint": "ana@example.com"}),
        ("MessageService.UnsuppressEndpoint", {"channel": "CHANNEL_EMAIL", "endpoint": "ana@example.com"}),
        ("MessageService.ListSuppressions", {}),
    ],
    "operations": [
        ("WorkspaceService.DeleteWorkspace", {}),
        ("WorkspaceService.DeleteWorkspace", {"workspace_id": "Shop"}),
        ("WorkspaceService.DeleteWorkspace", {"workspace_id": "test-nothing"}),
        ("DeadLetterService.ListDeadLetters", {}),
        ("DeadLetterService.ListDeadLetters", {"page_token": "?"}),
        ("DeadLetterService.RedriveDeadLetter", {"dead_letter_id": "none"}),
    ],
    "webhooks": [
        _hook("http://decisions.example.com", segment_ids=["nowhere"]),
        _hook("https://user@decisions.example.com/"),
        _hook("https://decisions.example.com/#"),
        _hook("ftp://decisions.example.com/"),
        _hook("https://:80"),
        _of_hook("GetMembershipWebhook"),
        _of_hook("RotateWebhookSecret"),
        _of_hook("SendTestWebhook"),
        _hook(etag="none-yet"),
        _hook(),
        _hook(etag="whatever"),
        _hook(paused=True, etag="stale"),
        _hook("http://localhost:8080", paused=True),
        _of_hook("GetMembershipWebhook"),
        _of_hook("RotateWebhookSecret"),
        ("MembershipWebhookService.ListMembershipWebhooks", {}),
        *[_of_hook("DeleteMembershipWebhook")] * 2,
        _hook(),
        ("MembershipWebhookService.ListMembershipWebhooks", {}),
    ],
}
