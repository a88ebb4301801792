"""Rules of the schema in words, as the API reference tells them."""

from __future__ import annotations

import pytest
from buf.validate import validate_pb2
from google.protobuf import duration_pb2, json_format

from docs.generate import rules


def field_rules(text: str) -> validate_pb2.FieldRules:
    return json_format.Parse(text, validate_pb2.FieldRules())


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('{"required": true}', ["required"]),
        ('{"string": {"minBytes": 1, "maxBytes": 64}}', ["1 to 64 bytes"]),
        ('{"string": {"minBytes": 1}}', ["at least 1 byte"]),
        ('{"string": {"maxBytes": 4096}}', ["at most 4,096 bytes"]),
        ('{"string": {"pattern": "^[a-z]+$"}}', ["matches `^[a-z]+$`"]),
        ('{"int32": {"gte": 0, "lte": 1000}}', ["0 to 1,000"]),
        ('{"double": {"gte": 0, "finite": true}}', ["at least 0", "a finite number"]),
        ('{"enum": {"definedOnly": true, "notIn": [0]}}', ["a declared value", "not `NONE`"]),
        ('{"bool": {"const": true}}', ["`true`"]),
        ('{"bool": {"const": false}}', ["`false`"]),
        ('{"repeated": {"minItems": 1, "maxItems": 500}}', ["1 to 500 entries"]),
        ('{"repeated": {"items": {"enum": {"notIn": [0]}}}}', ["each entry not `NONE`"]),
        ('{"repeated": {"maxItems": 1}}', ["at most 1 entry"]),
        ('{"repeated": {"items": {"string": {"maxBytes": 9}}}}', ["each entry at most 9 bytes"]),
        (
            '{"map": {"maxPairs": 5, "keys": {"string": {"maxBytes": 9}}}}',
            ["at most 5 entries", "each key at most 9 bytes"],
        ),
        ('{"duration": {"gte": "1s", "lte": "2592000s"}}', ["1 second to 30 days"]),
        ('{"duration": {"gt": "0s", "lte": "5400s"}}', ["more than 0", "at most 90 minutes"]),
        ('{"cel": [{"id": "x", "message": "must be even"}]}', ["must be even"]),
    ],
)
def test_a_rule_is_told_in_words(rule: str, words: list[str]) -> None:
    assert sorted(rules.of_field(field_rules(rule), {0: "NONE"})) == sorted(words)


@pytest.mark.parametrize(
    "rule",
    [
        '{"string": {"email": true}}',
        '{"repeated": {"unique": true}}',
        '{"uint32": {"gte": 1}}',
        '{"repeated": {"items": {"string": {"uuid": true}}}}',
    ],
)
def test_a_rule_without_words_is_not_passed_over(rule: str) -> None:
    with pytest.raises(rules.UnknownRule):
        rules.of_field(field_rules(rule), {})


def test_a_duration_is_told_in_whole_units() -> None:
    for seconds, words in (
        (0, "0"),
        (1, "1 second"),
        (90, "90 seconds"),
        (60, "1 minute"),
        (7200, "2 hours"),
        (86400, "1 day"),
    ):
        bound = validate_pb2.FieldRules(duration=validate_pb2.DurationRules(lte=duration_pb2.Duration(seconds=seconds)))
        assert rules.of_field(bound, {}) == [f"at most {words}"]
