"""Where the client finds the services, and whose token it sends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from camino.client.connection import Connection, Service
from camino.client.terms import Terms
from camino.client.tokens import GivenToken, TokenFile


def connection(
    given: Mapping[Service, str | None] | None = None,
    *,
    target: str | None = None,
    token: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Connection:
    return Connection.of(
        given or {}, target=target, token=token, credentials=None, timeout_s=10, environment=environment or {}
    )


def sent(connection: Connection) -> str | None:
    return connection.token.current() if connection.token else None


def test_services_are_where_camino_up_has_them():
    assert connection().targets == {
        "profile": "127.0.0.1:50051",
        "segment": "127.0.0.1:50052",
        "orchestrator": "127.0.0.1:50053",
        "channels": "127.0.0.1:50054",
    }


def test_what_is_given_goes_before_the_environment():
    environment = {"CAMINO_PROFILE_TARGET": "p:1", "CAMINO_SEGMENT_TARGET": "s:1"}
    targets = connection({"profile": "dns:///p:2"}, environment=environment).targets
    assert (targets["profile"], targets["segment"], targets["channels"]) == ("dns:///p:2", "s:1", "127.0.0.1:50054")


def test_one_address_may_serve_all():
    environment = {"CAMINO_PROFILE_TARGET": "p:1"}
    targets = connection({"segment": "s:2"}, target="all:1", environment=environment).targets
    assert set(targets.items()) == {
        ("profile", "all:1"),
        ("segment", "s:2"),
        ("orchestrator", "all:1"),
        ("channels", "all:1"),
    }


def test_a_token_is_given_or_in_a_file_or_in_the_environment(tmp_path: Path):
    file = tmp_path / "token"
    file.write_text("from-file\n")
    assert sent(connection()) is None
    assert sent(connection(token="given")) == "given"
    assert sent(connection(token=file)) == "from-file"
    assert sent(connection(environment={"CAMINO_TOKEN": "told"})) == "told"
    assert sent(connection(environment={"CAMINO_TOKEN_FILE": str(file)})) == "from-file"
    assert sent(connection(token="given", environment={"CAMINO_TOKEN": "told"})) == "given"
    assert sent(connection(token="", environment={"CAMINO_TOKEN": "told"})) is None


@pytest.mark.parametrize("text", [" ", "two words", "línea", "a\nb", "a\x00b"])
def test_what_is_no_token_is_not_told(text: str):
    with pytest.raises(ValueError, match="visible ASCII") as raised:
        connection(token=text)
    assert text.strip() == "" or text not in str(raised.value)


def test_a_token_file_must_be_there_and_hold_a_token(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        connection(token=tmp_path / "none")
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="visible ASCII"):
        connection(token=tmp_path / "empty")


def test_a_token_file_is_read_again_when_it_is_replaced(tmp_path: Path):
    """As Kubernetes does it: the file is a link into a directory that is a link, which is swapped."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(f"token-{name}")
    current = tmp_path / "current"
    current.symlink_to(tmp_path / "one")
    (tmp_path / "token").symlink_to(current / "token")
    token = TokenFile(tmp_path / "token")
    assert token.current() == "token-one"
    current.unlink()
    assert token.current() == "token-one", "while it's away, the last one counts"
    current.symlink_to(tmp_path / "two")
    assert token.current() == "token-two"
    (tmp_path / "two" / "token").write_text("")
    assert token.current() == "token-two", "so it does while the file is empty"
    (tmp_path / "two" / "token").write_text("token-three")
    assert token.current() == "token-three"


def test_every_call_has_a_deadline_and_the_token():
    terms = Terms(10, GivenToken("secret"))
    assert (terms.timeout(None), terms.timeout(0.5), terms.timeout(60)) == (10, 0.5, 60)
    assert terms.metadata([("x", "1")]) == [("x", "1"), ("authorization", "Bearer secret")]
    assert Terms(10, None).metadata(None) == []
