"""What logs show of messages: all but what the schema marks as sensitive."""

from __future__ import annotations

from camino.profile.v1 import profile_service_pb2

from services.chassis.redaction import redacted


def test_what_is_sensitive_is_hidden_wherever_it_is() -> None:
    request = profile_service_pb2.IngestProfilesRequest(workspace_id="shop")
    profile = request.profiles.add(time_zone="Europe/Madrid")
    profile.identities.add(namespace="email", value="ana@example.com")
    profile.attributes["name"].value.string_value = "Ana"
    profile.attributes["name"].observed_at.seconds = 1
    profile.attributes["tags"].value.string_list_value.values.append("secret tag")
    shown = redacted(request)
    assert shown == {
        "workspace_id": "shop",
        "profiles": [
            {
                "identities": [{"namespace": "email", "value": "***"}],
                "attributes": {
                    "name": {"value": "***", "observed_at": "1970-01-01T00:00:01Z"},
                    "tags": {"value": "***"},
                },
                "time_zone": "Europe/Madrid",
            }
        ],
    }


def test_a_sensitive_map_is_hidden_as_a_whole() -> None:
    request = profile_service_pb2.IngestEventsRequest(workspace_id="shop")
    event = request.events.add(event_id="e1", type="purchase")
    event.identity.namespace, event.identity.value = "email", "ana@example.com"
    event.properties["card number"].string_value = "4111"
    shown = redacted(request)
    assert shown["events"] == [
        {
            "event_id": "e1",
            "type": "purchase",
            "identity": {"namespace": "email", "value": "***"},
            "properties": "***",
        }
    ]
    assert "4111" not in str(shown)
    assert "card" not in str(shown)


def test_the_message_itself_stays_as_it_is() -> None:
    request = profile_service_pb2.IngestEventsRequest()
    request.events.add().properties["a"].double_value = 1
    before = request.SerializeToString()
    redacted(request)
    assert request.SerializeToString() == before


def test_an_empty_message_shows_nothing() -> None:
    assert redacted(profile_service_pb2.IngestEventsRequest()) == {}


def test_what_has_no_text_does_not_stop_the_log() -> None:
    request = profile_service_pb2.IngestEventsRequest(workspace_id="shop")
    request.events.add().occurred_at.seconds = 2**62
    assert redacted(request) == {"not shown": "camino.profile.v1.IngestEventsRequest"}
