"""Calls that show who is who by the services, and what becomes of people: as `fake_scenes`. The last one lets time
pass."""

from __future__ import annotations

from typing import Any

from tests.integration.fake_scenes import Scene

_DAYS = [f"2025-12-{day:02}T00:00:00Z" for day in range(1, 31)]


def _identity(text: str) -> dict[str, str]:
    namespace, _, value = text.partition(":")
    return {"namespace": namespace, "value": value}


def _identities(text: str) -> list[dict[str, str]]:
    return [_identity(one) for one in text.split()]


def seen(identities: str, day: int, **more: Any) -> tuple[str, dict[str, Any]]:
    """A profile that was seen on a day of December."""
    item = {"identities": _identities(identities), "observed_at": _DAYS[day - 1], **more}
    return "ProfileService.IngestProfiles", {"profiles": [item]}


def _city(name: str, **more: Any) -> dict[str, Any]:
    return {"attributes": {"city": {"value": {"string_value": name}, **more}}}


def consent(state: str, day: int, **more: Any) -> dict[str, Any]:
    said = {
        "channel": "CHANNEL_EMAIL",
        "topic": "news",
        "state": f"CONSENT_STATE_{state}",
        "changed_at": _DAYS[day - 1],
    }
    return {"consents": [{**said, **more}]}


def recorded(subject: dict[str, Any], state: str, day: int, **more: Any) -> tuple[str, dict[str, Any]]:
    return "ProfileService.RecordConsents", {**subject, **consent(state, day, **more)}


def linked(identities: str, day: int) -> tuple[str, dict[str, Any]]:
    return "ProfileService.LinkIdentities", {"identities": _identities(identities), "observed_at": _DAYS[day - 1]}


def _unlinked(profile: int, identity: str, day: int) -> tuple[str, dict[str, Any]]:
    request = {"profile_id": f"profile {profile}", "identity": _identity(identity), "observed_at": _DAYS[day - 1]}
    return "ProfileService.UnlinkIdentity", request


def event(event_id: str, day: int, **subject: Any) -> tuple[str, dict[str, Any]]:
    taken = {"event_id": event_id, "type": "purchase", "occurred_at": _DAYS[day - 1], **subject}
    return "ProfileService.IngestEvents", {"events": [taken]}


def _told(profile: int, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    """All that there is to read of a profile."""
    request = {"profile_id": f"profile {profile}"}
    return [
        ("ProfileService.GetProfile", request),
        ("ProfileService.GetIdentityGraph", request),
        ("ProfileService.ListEvents", request),
        ("ProfileService.ListTimeline", {**request, **more}),
    ]


def _rules(*namespaces: dict[str, Any], etag: str = "", **sources: int) -> tuple[str, dict[str, Any]]:
    declared = [{"name": name, "priority": priority} for name, priority in sources.items()]
    definition = {"namespaces": list(namespaces), "sources": declared}
    return "ProfileRulesService.PublishProfileRules", {"definition": definition, "etag": etag}


_EVERYBODY = ("ProfileService.ListProfiles", {})
_RULES = ("ProfileRulesService.GetProfileRules", {})
_MEMBER = {"name": "member", "priority": 900, "unique": True}

PEOPLE: dict[str, Scene] = {
    "two profiles become one": [
        seen("email:ana@example.com", 1, time_zone="Europe/Madrid", source="shop", **_city("Madrid")),
        seen("phone:+34911234567", 2, time_zone="Europe/Rome", locale="it-IT", **_city("Rome")),
        event("e1", 3, identity=_identity("email:ana@example.com")),
        event("e2", 4, profile_id="profile 2"),
        seen("phone:+34911234567 email:ana@example.com", 5),
        *_told(1),
        *_told(2),
        ("ProfileService.BatchGetProfiles", {"profile_ids": ["profile 2", "profile 1", "nobody"]}),
        (
            "ProfileService.BatchGetProfiles",
            {"identities": _identities("phone:+34911234567 email:ANA@example.com x:y")},
        ),
        ("ProfileService.BatchGetProfiles", {"identities": _identities("phone:12")}),
        ("ProfileService.BatchGetProfiles", {}),
        event("e2", 4, profile_id="profile 2"),
        event("e3", 6, profile_id="profile 2"),
        recorded({"profile_id": "profile 2"}, "OPTED_IN", 7),
        ("ProfileService.ListTimeline", {"profile_id": "profile 1", "kinds": ["TIMELINE_KIND_EVENT"]}),
        (
            "ProfileService.ListTimeline",
            {"profile_id": "profile 2", "kinds": ["TIMELINE_KIND_CONSENT", "TIMELINE_KIND_IDENTITY"]},
        ),
        ("ProfileService.ListTimeline", {"profile_id": "profile 1", "event_types": ["refund"]}),
        ("ProfileService.ListTimeline", {"profile_id": "profile 1", "page_token": "?"}),
        ("ProfileService.ListTimeline", {"profile_id": "nobody"}),
        ("ProfileService.GetIdentityGraph", {"identity": _identity("phone:+34 911 23 45 67")}),
        ("ProfileService.GetIdentityGraph", {"identity": _identity("x:y")}),
        _EVERYBODY,
    ],
    "a shared device": [
        seen("user_id:ana device_id:tablet", 1, **_city("Madrid")),
        seen("user_id:bea device_id:phone", 2),
        seen("user_id:bea device_id:tablet", 3, **_city("Rome")),
        *_told(1),
        *_told(2),
        seen("device_id:tablet", 4, **_city("Lima")),
        seen("user_id:ana device_id:tablet", 2),
        seen("user_id:ana device_id:tablet", 5),
        seen("user_id:cho device_id:tablet", 4, **_city("Oslo")),
        event("e1", 6, identity=_identity("device_id:tablet")),
        *_told(1),
        *_told(2),
        *_told(3),
        seen("user_id:ana user_id:bea", 6),
        linked("user_id:ana user_id:bea", 6),
        linked("user_id:cho device_id:tablet email:cho@example.com", 7),
        *_told(1),
        *_told(3),
        _EVERYBODY,
    ],
    "people are split": [
        seen("user_id:ana email:home@example.com", 1),
        seen("email:home@example.com device_id:a device_id:b", 2, **_city("Madrid")),
        seen("user_id:bea device_id:c", 3),
        seen("user_id:bea email:home@example.com", 4),
        *_told(1),
        *_told(2),
        seen("device_id:a phone:+34911234567", 5),
        seen("user_id:ana phone:+34911234567", 6),
        *_told(1),
        *_told(2),
        _EVERYBODY,
    ],
    "consents": [
        seen("email:ana@example.com", 1, **consent("OPTED_IN", 1, proof="ticked", source="form")),
        seen("phone:+34911234567", 1, **consent("OPTED_OUT", 2)),
        linked("email:ana@example.com phone:+34911234567", 5),
        recorded({"identity": _identity("email:ana@example.com")}, "OPTED_IN", 4),
        recorded({"identity": _identity("email:ana@example.com")}, "OPTED_IN", 6),
        recorded({"profile_id": "profile 1"}, "OPTED_OUT", 6, proof="a call"),
        recorded({"identity": _identity("phone:+34911234567")}, "OPTED_IN", 7),
        recorded({"identity": _identity("phone:+34611234567")}, "OPTED_IN", 7),
        recorded({"identity": _identity("phone:12")}, "OPTED_IN", 7),
        recorded({"profile_id": "nobody"}, "OPTED_IN", 7),
        ("ProfileService.RecordConsents", {"profile_id": "profile 1"}),
        ("ProfileService.RecordConsents", {"profile_id": "profile 1", "consents": [{"channel": "CHANNEL_EMAIL"}]}),
        *_told(1),
        linked("email:ana@example.com phone:+34911234567", 1),
        *_told(1),
    ],
    "attributes": [
        _rules(crm=10, shop=5),
        seen("user:1", 1, source="shop", **_city("Madrid")),
        seen("user:1", 1, source="crm", **_city("Lima")),
        seen("user:1", 1, source="shop", **_city("Zagreb")),
        seen("user:1", 1, source="unknown", **_city("Zagreb")),
        seen("user:1", 2, attributes={"city": {"unset": True}}),
        seen("user:1", 1, source="crm", **_city("Oslo")),
        seen("user:1", 2, attributes={"gone": {"unset": True}}),
        _EVERYBODY,
        seen("user:1", 3, source="crm", **_city("Rome", source="erp")),
        seen("user:1", 2, time_zone="Europe/Madrid", locale="es-ES"),
        seen("user:1", 1, time_zone="Europe/Rome", locale="it-IT"),
        seen("user:1", 2, time_zone="Europe/Rome", source="crm"),
        seen("user:1", 2, attributes={"both": {}}),
        seen("user:1", 2, attributes={"off": {"unset": False}}),
        seen("user:1", 2, source="Not a name"),
        seen("user:1", 2, observed_at="2026-01-01T00:15:01Z"),
        seen("user:1", 2, observed_at="2026-01-01T00:14:59Z", locale="fr-FR"),
        _EVERYBODY,
    ],
    "identities are unlinked": [
        seen("user_id:ana email:ana@example.com device_id:tablet", 1, **_city("Madrid")),
        _unlinked(1, "device_id:tablet", 2),
        _unlinked(1, "device_id:tablet", 2),
        _unlinked(1, "device_id:laptop", 2),
        ("ProfileService.GetProfile", {"identity": _identity("device_id:tablet")}),
        seen("user_id:ana device_id:tablet", 2),
        ("ProfileService.GetProfile", {"identity": _identity("device_id:tablet")}),
        seen("device_id:tablet", 1, **_city("Rome")),
        seen("user_id:ana device_id:tablet", 3),
        _unlinked(1, "device_id:tablet", 2),
        *_told(1),
        _unlinked(1, "user_id:ana", 4),
        *_told(1),
        _unlinked(1, "email:ana@example.com", 4),
        _unlinked(1, "device_id:tablet", 4),
        _unlinked(1, "email:nobody", 4),
        _unlinked(9, "device_id:tablet", 4),
        ("ProfileService.UnlinkIdentity", {"profile_id": "profile 1"}),
        *_told(1),
        _EVERYBODY,
    ],
    "rules": [
        _RULES,
        _rules(),
        _rules(_MEMBER, {"name": "email", "priority": 100}, etag="stale"),
        _rules(_MEMBER, _MEMBER),
        _rules({"name": "email", "priority": 1, "normaliser": "NORMALISER_PHONE"}, {"name": "user_id", "priority": 1}),
        _rules({"name": "phone", "priority": 1, "normaliser": "NORMALISER_EXACT"}, {"name": "no name"}),
        (
            "ProfileRulesService.PublishProfileRules",
            {"definition": {"sources": [{"name": "crm", "priority": 1}, {"name": "crm", "priority": 2}]}},
        ),
        ("ProfileRulesService.PublishProfileRules", {}),
        _rules(_MEMBER, {"name": "login", "priority": 300, "normaliser": "NORMALISER_EMAIL"}, crm=5),
        _rules({"name": "login", "priority": 300, "normaliser": "NORMALISER_EMAIL"}, _MEMBER, crm=5),
        _RULES,
        seen("login:ANA@example.com member:1", 1),
        seen("login:nobody", 1),
        seen("member:1 member:2", 1),
        _rules(_MEMBER, crm=5),
        _rules(_MEMBER, {"name": "login", "priority": 300, "normaliser": "NORMALISER_EMAIL"}, crm=7, shop=1),
        _rules({"name": "member", "priority": 900, "unique": False}, {"name": "new", "priority": 1}),
        _EVERYBODY,
        _RULES,
    ],
    "rights": [
        seen("email:ana@example.com device_id:tablet", 1, **consent("OPTED_IN", 1, proof="ticked"), **_city("Rome")),
        seen("phone:+34911234567", 2),
        linked("phone:+34911234567 email:ana@example.com", 3),
        event("e1", 4, profile_id="profile 1"),
        ("OperationService.EraseProfile", {"profile_id": "nobody"}),
        ("OperationService.EraseProfile", {"identity": _identity("email:nobody")}),
        ("OperationService.EraseProfile", {"identity": _identity("x:y")}),
        ("OperationService.EraseProfile", {}),
        ("OperationService.ExportProfile", {"profile_id": "nobody", "request_id": "r0"}),
        ("OperationService.ExportProfile", {"profile_id": "profile 2", "request_id": "r1"}),
        ("OperationService.ExportProfile", {"profile_id": "profile 1", "request_id": "r1"}),
        ("OperationService.GetOperation", {"operation_id": "operation 1"}),
        ("OperationService.GetOperation", {"operation_id": "none"}),
        ("OperationService.ReadExport", {"operation_id": "none"}),
        ("OperationService.ReadExport", {"operation_id": "operation 1", "page_token": "?"}),
        ("OperationService.ReadExport", {"operation_id": "operation 1"}),
        ("OperationService.EraseProfile", {"identity": _identity("phone:+34911234567")}),
        ("OperationService.GetOperation", {"operation_id": "operation 2"}),
        ("OperationService.EraseProfile", {"profile_id": "profile 1"}),
        ("OperationService.EraseProfile", {"profile_id": "profile 2"}),
        ("OperationService.ReadExport", {"operation_id": "operation 1"}),
        ("OperationService.ReadExport", {"operation_id": "operation 2"}),
        ("OperationService.ExportProfile", {"profile_id": "profile 1", "request_id": "r2"}),
        ("OperationService.ListOperations", {}),
        ("OperationService.ListOperations", {"page_token": "?"}),
        *_told(1),
        *_told(2),
        ("ProfileService.GetProfile", {"identity": _identity("email:ana@example.com")}),
        event("e2", 4, profile_id="profile 1"),
        recorded({"profile_id": "profile 1"}, "OPTED_IN", 4),
    ],
}
