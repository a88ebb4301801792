"""Who may call: what tokens, scopes and workspaces mean, and what a file of callers may hold."""

from __future__ import annotations

import stat
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from cli.main import app
from services.chassis.callers import Allowed, Caller, identify
from services.chassis.callers_file import CallersError, parse
from services.chassis.callers_watch import WatchedCallers
from services.chassis.errors import PermissionDenied, Unauthenticated
from services.chassis.testing import FakeClock

TOKEN = "camino_correct-horse"


def digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def entry(**changed: object) -> dict[str, object]:
    return {"name": "shop", "token_sha256": digest(TOKEN), "scopes": ["*"], "workspaces": ["*"], **changed}


def content(*entries: dict[str, object]) -> bytes:
    return yaml.safe_dump({"callers": list(entries)}).encode()


def problems(text: bytes) -> list[str]:
    with pytest.raises(CallersError) as raised:
        parse(text)
    return raised.value.problems


@pytest.mark.parametrize(
    ("written", "allowed", "refused"),
    [
        (["profiles.write"], ["profiles.write"], ["profiles.read", "profiles.writer", "profiles", "", "events.write"]),
        (["profiles.*"], ["profiles.read", "profiles.write"], ["profile.read", "profilesx.read", "events.write", ""]),
        (["contract-*"], ["contract-", "contract-1"], ["contract", "my-contract-1", ""]),
        (["a", "b-*"], ["a", "b-1"], ["ab", "c"]),
        (["*"], ["profiles.write", "anything", ""], []),
        ([], [], ["profiles.write", ""]),
    ],
)
def test_names_are_allowed_exactly_by_their_beginning_or_all(
    written: list[str], allowed: list[str], refused: list[str]
) -> None:
    names = Allowed.of(written)
    assert [name for name in [*allowed, *refused] if name in names] == allowed
    assert names.everything == (written == ["*"])


def test_a_caller_is_told_which_scope_it_takes() -> None:
    caller = Caller("shop-backend", Allowed.of(["events.write", "segments.*"]), Allowed.of([]))
    caller.must_have("segments.read")
    with pytest.raises(
        PermissionDenied, match=r"needs scope profiles\.write; caller shop-backend has events\.write, s"
    ):
        caller.must_have("profiles.write")


def test_what_concerns_all_workspaces_is_for_those_who_have_all() -> None:
    Caller("ops", Allowed.of([]), Allowed.of(["shop", "*"])).must_reach_everything()
    with pytest.raises(PermissionDenied, match="all workspaces"):
        Caller("shop", Allowed.of([]), Allowed.of(["shop", "contract-*"])).must_reach_everything()


@pytest.mark.parametrize("value", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN} "])
def test_a_token_says_who_calls(value: str) -> None:
    metadata = [("user-agent", "x"), ("authorization", value)]
    assert identify(parse(content(entry())), metadata).name == "shop"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "has no token: send the metadata"),
        (["Bearer"], "malformed"),
        (["Bearer "], "malformed"),
        ([TOKEN], "malformed"),
        ([f"Basic {TOKEN}"], "malformed"),
        ([f"Bearer {TOKEN} more"], "malformed"),
        ([f"Bearer {TOKEN}", f"Bearer {TOKEN}"], "malformed"),
        ([f"Bearer {TOKEN}x"], "nobody has this token"),
        ([f"Bearer {digest(TOKEN)}"], "nobody has this token"),
    ],
)
def test_who_is_not_known_is_told_what_to_send_and_not_what_was_sent(values: list[str], words: str) -> None:
    callers = parse(content(entry()))
    with pytest.raises(Unauthenticated, match=words) as raised:
        identify(callers, [("authorization", value) for value in values])
    assert TOKEN not in str(raised.value)


def test_a_caller_may_have_several_tokens_with_rights_of_their_own() -> None:
    callers = parse(content(entry(), entry(token_sha256=digest("new").upper(), scopes=["events.write"])))
    old, new = callers.find(TOKEN), callers.find("new")
    assert old is not None
    assert new is not None
    assert (old.name, new.name) == ("shop", "shop")
    assert "profiles.write" in old.scopes
    assert "profiles.write" not in new.scopes
    assert callers.find("other") is None


def test_all_that_is_wrong_with_a_file_is_named_with_its_place() -> None:
    found = problems(
        content(
            entry(name="two words", scopes=["profile", "profiles.*", "*.read"]),
            entry(token_sha256="abc", workspaces=["Shop", "a*b"]),
            entry(token=TOKEN, scopes="*", workspaces=[7]),
            {"name": "x"},
        )
    )
    assert {problem.split(": ")[0] for problem in found} == {
        "callers[0].name",
        "callers[0].scopes[0]",
        "callers[0].scopes[2]",
        "callers[1].token_sha256",
        "callers[1].workspaces[0]",
        "callers[1].workspaces[1]",
        "callers[2].token",
        "callers[2].scopes",
        "callers[2].workspaces[0]",
        "callers[3].token_sha256",
        "callers[3].scopes",
        "callers[3].workspaces",
    }


def test_problems_hold_no_tokens() -> None:
    found = problems(content(entry(token_sha256=TOKEN), entry(token=TOKEN), entry(name=f"{TOKEN} {TOKEN}")))
    assert len(found) == 3
    assert TOKEN not in "".join(found)
    assert TOKEN not in "".join(problems(f"callers: [{{name: {TOKEN}: *}}]".encode()))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "the file must be a mapping"),
        (b"- a", "the file must be a mapping"),
        (b"{}", "callers: is missing"),
        (b"callers: []", "callers: must not be empty"),
        (b"callers: 7", "callers: must be a list"),
        (b"callers: [7]", r"callers\[0\]: must be a mapping"),
        (b"tokens: []", "tokens: is not known here"),
        (b"callers:\n  - scopes: [*]", "line 2: not YAML: .* wants quotes"),
        (b"callers: \xff", "not YAML"),
        (b"callers: 2024-99-99", "not YAML"),
        (content(entry()) + content(entry(token_sha256=digest("b"))), "line 8: `callers` is here a second time"),
        (content(entry()) + b"  name: twice", "line 8: `name` is here a second time"),
        (content(entry(), entry(name="b")), r"callers\[1\].token_sha256: the same token as callers\[0\]"),
    ],
)
def test_a_file_that_is_none_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(CallersError, match=words):
        parse(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CallersError, match=r"nowhere\.yaml: No such file"):
        WatchedCallers.open(tmp_path / "nowhere.yaml", FakeClock())


def tokens(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["tokens", *map(str, arguments)])


def test_a_new_token_is_printed_with_its_entry() -> None:
    result = tokens("new", "shop-backend", "--scope", "events.*", "--scope", "*", "--workspace", "shop")
    assert result.exit_code == 0, result.output
    token, _, text = result.stdout.partition("\n")
    caller = parse(text.encode()).find(token)
    assert caller == Caller("shop-backend", Allowed.of(["events.*", "*"]), Allowed.of(["shop"]))
    assert token not in text


def test_new_tokens_are_added_to_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    file = tmp_path / "callers.yaml"
    made = [
        tokens("new", name, "--scope", "*", "--workspace", "*", "--file", file).stdout.strip() for name in ("a", "b")
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    callers = parse(file.read_bytes())
    assert [caller and caller.name for caller in map(callers.find, made)] == ["a", "b"]
    assert not [token for token in made if token in file.read_text()]
    assert tokens("check", file).exit_code == 0


def test_what_is_in_the_file_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "callers.yaml"
    before = b"# Ours\n" + content(entry()).rstrip()
    file.write_bytes(before)
    result = tokens("new", "b", "--scope", "*", "--workspace", "*", "--file", file)
    assert result.exit_code == 0, result.output
    assert file.read_bytes().startswith(before)
    assert len(parse(file.read_bytes())) == 2


@pytest.mark.parametrize("before", [b"callers: [7]", b"callers: []", yaml.safe_dump([entry()]).encode()])
def test_nothing_is_added_to_a_file_that_is_none(tmp_path: Path, before: bytes) -> None:
    file = tmp_path / "callers.yaml"
    file.write_bytes(before)
    result = tokens("new", "b", "--scope", "*", "--workspace", "*", "--file", file)
    assert result.exit_code == 1
    assert file.read_bytes() == before
    assert "callers.yaml: " in result.stderr
    assert not result.stdout


def test_nothing_is_added_where_it_does_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "callers.yaml"
    before = yaml.safe_dump({"callers": [entry()]}, default_flow_style=True).encode()
    file.write_bytes(before)
    result = tokens("new", "b", "--scope", "*", "--workspace", "*", "--file", file)
    assert (result.exit_code, file.read_bytes()) == (1, before)
    assert "by hand" in result.stderr


def test_an_entry_that_cannot_be_is_not_made() -> None:
    result = tokens("new", "two words", "--scope", "everything", "--workspace", "Shop")
    assert result.exit_code == 1
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["name", "scopes[0]", "workspaces[0]"]


def test_check_shows_who_may_what_and_complains_of_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "callers.yaml"
    file.write_bytes(content(entry(name="shop-backend", scopes=["events.write"])))
    result = tokens("check", file)
    assert result.exit_code == 0
    assert "shop-backend" in result.stdout
    assert "events.write" in result.stdout
    file.write_bytes(content(entry(name="")))
    result = tokens("check", file)
    assert result.exit_code == 1
    assert "callers[0].name" in result.stderr
    assert tokens("check", tmp_path / "nowhere").exit_code == 1
