"""`camino import` against the profile service as it runs: on a real broker and the embedded store."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import re
import shlex
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from camino.client import sync
from camino.profile.v1 import profile_pb2
from camino.profile.v1 import profile_service_pb2 as wire
from google.protobuf.json_format import MessageToDict
from typer.testing import CliRunner, Result

from cli.main import app
from services.chassis.callers import Callers, KnowsCallers
from services.chassis.loops import Running
from services.chassis.server import Server
from services.chassis.testing import FakeClock
from services.profile.app import ProfileConfig, build
from tests.servers import NatsServer, nats_server

ROOT = Path(__file__).parents[2]
CDNOW = ROOT / "examples/cdnow"
GUIDE = ROOT / "docs/importing.md"
PURCHASES = ["--identity", "customer_id=who", "--type", "purchase", "--event-id", "order", "--property", "value:number"]
BOM = b"\xef\xbb\xbf"


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@contextmanager
def profile_service(nats: NatsServer, directory: Path, callers: KnowsCallers | None = None) -> Iterator[str]:
    """Where it listens. It has a thread of its own: the command, as its users run it, has the main one."""
    targets: SimpleQueue[str] = SimpleQueue()
    stopping: SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = SimpleQueue()

    async def serve() -> None:
        stop = asyncio.Event()
        config = ProfileConfig(nats_url=nats.url, data_dir=directory, partitions=2, migrate_on_start=True)
        async with build(config, FakeClock()) as built:
            server = Server(built.mounted, callers)
            port = await server.start("127.0.0.1:0")
            running = Running(built.loops)
            stopping.put((asyncio.get_running_loop(), stop))
            targets.put(f"127.0.0.1:{port}")
            await stop.wait()
            await server.stop(0)
            await running.stop(5)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield targets.get(timeout=30)
    finally:
        loop, stop = stopping.get(timeout=30)
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@dataclass
class Shop:
    """A workspace of its own, what is in it, and the command."""

    target: str
    workspace: str
    client: sync.Client

    def run(self, kind: str, file: Path | str, *options: str, stdin: bytes | None = None) -> Result:
        environment = {"CAMINO_PROFILE_TARGET": self.target, "CAMINO_WORKSPACE": self.workspace}
        result = CliRunner().invoke(app, ["import", kind, str(file), *options], env=environment, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        return result

    def events(self, customer: str) -> list[profile_pb2.Event]:
        identity = profile_pb2.Identity(namespace="customer_id", value=customer)
        person = self.client.profiles.GetProfile(wire.GetProfileRequest(workspace_id=self.workspace, identity=identity))
        request = wire.ListEventsRequest(workspace_id=self.workspace, profile_id=person.profile.profile_id)
        return list(sync.pages(self.client.profiles.ListEvents, request))

    def people(self) -> list[profile_pb2.Profile]:
        request = wire.ListProfilesRequest(workspace_id=self.workspace, page_size=1000)
        return list(sync.pages(self.client.profiles.ListProfiles, request))


_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def target(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with profile_service(nats, tmp_path_factory.mktemp("profile")) as target:
        yield target


@pytest.fixture
def shop(target: str) -> Iterator[Shop]:
    with sync.connect(profile=target) as client:
        yield Shop(target, f"shop-{next(_NUMBERS)}", client)


def rejects(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def left_behind(file: Path) -> set[str]:
    """What lies beside the file."""
    return {each.name.removeprefix(file.name) for each in file.parent.iterdir() if each != file}


def test_cdnow_comes_in_whole_and_once(shop: Shop, tmp_path: Path):
    file = tmp_path / "purchases.csv.gz"
    content = (CDNOW / "purchases.csv").read_bytes()
    file.write_bytes(gzip.compress(content))
    options = ["--mapping", str(CDNOW / "purchases.yaml")]
    result = shop.run("events", file, *options)
    assert result.exit_code == 0, result.output
    assert "6,937 taken, 0 duplicates, 0 rejected" in result.stdout
    assert len(shop.people()) == 2357
    assert [
        (MessageToDict(each)["occurredAt"], each.properties["cds"].double_value, each.properties["value"].double_value)
        for each in shop.events("00011")
    ][-2:] == [("1997-01-28T05:00:00Z", 1, 19.3), ("1997-01-01T05:00:00Z", 1, 13.49)]
    # Lines that are alike are purchases of their own.
    lines = content.decode().splitlines()[1:]
    alike = next(line for line in lines if lines.count(line) > 1)
    customer, day, cds, value = alike.split(",")
    bought = [
        each
        for each in shop.events(customer)
        if (each.occurred_at.ToDatetime().date().isoformat(), each.properties["cds"].double_value) == (day, float(cds))
        and each.properties["value"].double_value == float(value)
    ]
    assert len(bought) == lines.count(alike)
    again = shop.run("events", file, *options)
    assert (again.exit_code, "0 taken, 6,937 duplicates, 0 rejected" in again.stdout) == (0, True)
    assert left_behind(file) == set()


def test_what_is_wrong_is_rejected_with_its_line_and_the_rest_is_taken(shop: Shop, tmp_path: Path):
    file = tmp_path / "orders.csv"
    file.write_bytes(
        BOM
        + b"who,order,value\n"
        + b"1,o-1,11.5\n"
        + b"2,o-2,eleven\n"
        + b"3,o-3\n"
        + b'4,"o-4\ncontinued",1\n'
        + b",o-5,1\n"
        + "5,o-6,1\n".encode("latin-1")
        + b"\xe9,o-7,1\n"
        + b"6,"
        + b"x" * 129
        + b",1\n"
    )
    result = shop.run("events", file, *PURCHASES)
    assert result.exit_code == 1
    assert "3 taken, 0 duplicates, 5 rejected" in result.stdout
    found = rejects(tmp_path / "orders.csv.rejects.ndjson")
    assert [(each["line"], each["reason"], each["field"]) for each in found] == [
        (3, "UNMAPPABLE", "properties.value"),
        (4, "UNREADABLE", ""),
        (7, "UNMAPPABLE", "identity"),
        (9, "UNREADABLE", ""),
        (10, "INVALID_FIELD", "event_id"),
    ]
    assert found[0]["message"] == "column 'value': 'eleven' is no number"
    assert found[0]["row"] == "2,o-2,eleven"
    assert stat.S_IMODE((tmp_path / "orders.csv.rejects.ndjson").stat().st_mode) == 0o600
    assert [each.event_id for each in shop.events("4")] == ["o-4\ncontinued"]
    # What was rejected is mended by hand, and imported by itself.
    mended = "who,order,value\n" + "".join(f"{each['row']}\n" for each in found[:1]).replace("eleven", "11")
    (tmp_path / "mended.csv").write_text(mended)
    assert shop.run("events", tmp_path / "mended.csv", *PURCHASES).exit_code == 0
    assert len(shop.events("2")) == 1


def test_an_event_that_is_too_large_is_refused_alone(shop: Shop, tmp_path: Path):
    columns = [f"c{number}" for number in range(17)]
    file = tmp_path / "large.csv"
    cells = ",".join("x" * 4000 for _ in columns)
    file.write_text(f"who,{','.join(columns)}\n1,{cells}\n2,{',' * 16}\n")
    options = [argument for column in columns for argument in ("--property", column)]
    result = shop.run("events", file, "--identity", "customer_id=who", "--type", "purchase", *options)
    assert result.exit_code == 1
    [found] = rejects(tmp_path / "large.csv.rejects.ndjson")
    assert (found["line"], found["reason"], found["field"]) == (2, "EVENT_TOO_LARGE", "properties")
    assert len(shop.events("2")) == 1


def test_thousands_of_rejects_stop_nothing(shop: Shop, tmp_path: Path):
    file = tmp_path / "orders.csv"
    rows = [f"{number},{'x' * 129 if number % 2 else 'o'}-{number},1" for number in range(6000)]
    file.write_text("\n".join(["who,order,value", *rows]))
    result = shop.run("events", file, *PURCHASES)
    assert "3,000 taken, 0 duplicates, 3,000 rejected" in result.stdout, result.stderr
    found = rejects(tmp_path / "orders.csv.rejects.ndjson")
    assert [each["line"] for each in found] == list(range(3, 6002, 2))


def test_too_many_rejects_stop_it_until_more_are_allowed(shop: Shop, tmp_path: Path):
    file = tmp_path / "orders.csv"
    file.write_text(
        "who,order,value\n" + "".join(f"{number},o-{number},{'x' * (number < 5)}1\n" for number in range(9000))
    )
    stopped = shop.run("events", file, *PURCHASES, "--max-rejects", "3")
    assert stopped.exit_code == 3
    assert "more than 3 rows were rejected" in stopped.stderr
    assert len(shop.people()) < 8995
    again = shop.run("events", file, *PURCHASES, "--max-rejects", "5")
    assert again.exit_code == 1
    assert "going on at line" in again.stdout
    assert "5 rejected" in again.stdout
    assert len(shop.people()) == 8995
    assert [each["line"] for each in rejects(tmp_path / "orders.csv.rejects.ndjson")] == [2, 3, 4, 5, 6]
    assert left_behind(file) == {".rejects.ndjson"}


def test_it_goes_on_only_with_what_it_began(shop: Shop, tmp_path: Path):
    file = tmp_path / "orders.csv"
    file.write_text("who,order,value\n1,o-1,x\n2,o-2,1\n")
    options = [*PURCHASES, "--max-rejects", "0"]
    assert shop.run("events", file, *options).exit_code == 3
    other = shop.run("events", file, *options, "--property", "order")
    assert other.exit_code == 2
    assert "the mapping is not what it was" in " ".join(other.stderr.replace("│", "").split())
    elsewhere = shop.run("events", file, *options, "--workspace", "elsewhere")
    assert (elsewhere.exit_code, "the workspace is" in " ".join(elsewhere.stderr.split())) == (2, True)
    file.write_text("who,order,value\n1,o-1,1\n2,o-2,1\n")
    changed = shop.run("events", file, *options)
    assert changed.exit_code == 2
    assert "the file is not what it was" in " ".join(changed.stderr.replace("│", "").split())
    assert rejects(tmp_path / "orders.csv.rejects.ndjson")
    anew = shop.run("events", file, *options, "--restart")
    assert anew.exit_code == 0
    assert left_behind(file) == set()
    assert len(shop.people()) == 2


def test_profiles_with_attributes_and_consents(shop: Shop, tmp_path: Path):
    file = tmp_path / "people.csv"
    file.write_text(
        "mail,tel,name,news,zone\nANA@example.com ,+34600000001,Ana,yes,Europe/Madrid\nben@example.com,,Ben,no,\n"
    )
    mapping = tmp_path / "people.yaml"
    mapping.write_text(
        "identity: {email: mail, phone: tel}\n"
        "attributes: {first_name: name}\n"
        "consents: {email/news: news}\n"
        "consent_source: crm\n"
        "as_of: 2020-01-01T00:00:00Z\n"
        "time_zone: zone\n"
    )
    result = shop.run("profiles", file, "--mapping", str(mapping))
    assert result.exit_code == 0, result.output
    first, second = sorted(shop.people(), key=lambda person: person.identities[0].value)
    assert [each.value for each in first.identities] == ["ana@example.com", "+34600000001"]
    assert first.attributes["first_name"].value.string_value == "Ana"
    assert first.attributes["first_name"].observed_at.ToJsonString() == "2020-01-01T00:00:00Z"
    assert first.time_zone == "Europe/Madrid"
    assert [each.state for each in (*first.consents, *second.consents)] == [
        profile_pb2.CONSENT_STATE_OPTED_IN,
        profile_pb2.CONSENT_STATE_OPTED_OUT,
    ]
    assert shop.run("profiles", file, "--mapping", str(mapping)).exit_code == 0
    assert shop.people() == sorted([first, second], key=lambda person: person.profile_id)


def test_ndjson_as_the_api_has_it_and_flat(shop: Shop, tmp_path: Path):
    whole = tmp_path / "whole.jsonl"
    person = {"namespace": "customer_id", "value": "1"}
    good = {"eventId": "e-1", "type": "purchase", "identity": person, "properties": {"v": {"doubleValue": 1.5}}}
    whole.write_text("\n".join([json.dumps(good), "", '{"type": 1}', json.dumps({**good, "eventId": ""})]))
    result = shop.run("events", whole)
    assert (result.exit_code, "2 taken, 0 duplicates, 1 rejected" in result.stdout) == (1, True)
    assert [each["line"] for each in rejects(tmp_path / "whole.jsonl.rejects.ndjson")] == [3]
    flat = tmp_path / "flat.ndjson"
    flat.write_text(json.dumps({"who": 2, "order": "o-1", "value": 2.5, "deep": {"ignored": True}}) + "\n")
    assert shop.run("events", flat, *PURCHASES).exit_code == 0
    assert [each.properties["value"].double_value for each in shop.events("2")] == [2.5]
    people = json.dumps({"identities": [person], "locale": "es-ES"}).encode()
    assert shop.run("profiles", "-", "--format", "ndjson", stdin=people).exit_code == 0
    assert "es-ES" in {each.locale for each in shop.people()}


def test_standard_input(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    content = b"who;order;value\n1;o-1;1\n2;o-2;x\n"
    result = shop.run("events", "-", "--format", "csv", "--delimiter", ";", *PURCHASES, stdin=content)
    assert (result.exit_code, "1 taken, 0 duplicates, 1 rejected" in result.stdout) == (1, True)
    assert [each.name for each in tmp_path.iterdir()] == ["stdin.rejects.ndjson"]
    unclear = shop.run("events", "-", *PURCHASES, stdin=content)
    assert (unclear.exit_code, "--format" in unclear.stderr) == (2, True)
    kept = shop.run("events", "-", "--format", "csv", "--state", "x", *PURCHASES, stdin=content)
    assert (kept.exit_code, "pipe" in kept.stderr) == (2, True)


def test_a_dry_run_sends_nothing_and_leaves_nothing(shop: Shop, tmp_path: Path):
    file = tmp_path / "orders.csv"
    file.write_text("who,order,value\n1,o-1,1\n2,o-2,x\n3,,1\n4," + "x" * 129 + ",1\n")
    result = shop.run("events", file, *PURCHASES, "--dry-run")
    assert result.exit_code == 1
    assert '"eventId": "o-1"' in result.stdout
    assert "1 rows would be sent, 3 rejected; nothing was sent" in result.stdout
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == [
        "line 3 (UNMAPPABLE)",
        "line 4 (UNMAPPABLE)",
        "line 5 (INVALID_FIELD)",
    ]
    assert shop.people() == []
    assert left_behind(file) == set()


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ([], "say what the columns mean"),
        (["--identity", "email=mail", "--type", "x"], "there is no column 'mail'"),
        (["--identity", "customer_id=who"], "say the events' type"),
        (["--mapping", "none.yaml"], "can't be read"),
        (["--mapping", "none.yaml", "--type", "x"], "leave out type"),
        ([*PURCHASES, "--delimiter", ";;"], "one character"),
        ([*PURCHASES, "--property", "=x"], "NAME=COLUMN"),
    ],
)
def test_what_must_be_mended_first(shop: Shop, tmp_path: Path, options: list[str], wrong: str):
    file = tmp_path / "orders.csv"
    file.write_text("who,order,value\n1,o-1,1\n")
    result = shop.run("events", file, *options)
    assert result.exit_code == 2
    assert wrong in " ".join(result.stderr.replace("│", "").split())
    assert left_behind(file) == set()


def test_a_file_that_ends_in_the_middle_stops_it(shop: Shop, tmp_path: Path):
    file = tmp_path / "purchases.csv.gz"
    file.write_bytes(gzip.compress((CDNOW / "purchases.csv").read_bytes())[:-1000])
    result = shop.run("events", file, "--mapping", str(CDNOW / "purchases.yaml"))
    assert result.exit_code == 3
    assert "stopped" in result.stderr
    assert left_behind(file) == {".camino-import"}
    assert shop.run("events", tmp_path / "none.csv", *PURCHASES).exit_code == 3


def test_a_caller_who_may_not_is_told_and_rejects_nothing(nats: NatsServer, tmp_path: Path):
    (tmp_path / "profile").mkdir()
    file = tmp_path / "orders.csv"
    file.write_text("who,order,value\n1,o-1,1\n")
    with profile_service(nats, tmp_path / "profile", Callers({})) as target, sync.connect(profile=target) as client:
        result = Shop(target, "shop", client).run("events", file, *PURCHASES, "--quiet")
    assert result.exit_code == 3
    assert "UNAUTHENTICATED" in result.stderr
    assert (tmp_path / "orders.csv.camino-import").exists()
    assert not (tmp_path / "orders.csv.rejects.ndjson").exists()


def test_the_guide_tells_the_truth(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    [mapping] = [text for language, text in blocks if language == "yaml"]
    assert mapping.splitlines() == (CDNOW / "purchases.yaml").read_text().splitlines()[1:]
    people = "mail,tel,name,since,tags,wants_offers\nana@example.com,,Ana,24/11/2019,a;b,yes\n"
    (tmp_path / "people.csv").write_text(people)
    shutil.copytree(CDNOW, tmp_path / "examples/cdnow")
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(text.replace("\\\n", "")) for language, text in blocks if language == "sh"]
    assert len(commands) == 4
    for camino, import_, kind, file, *options in commands:
        assert (camino, import_) == ("camino", "import")
        result = shop.run(kind, file, *options)
        assert result.exit_code == 0, (options, result.output)
    item, reject = [text for language, text in blocks if language == "json"]
    (tmp_path / "item.ndjson").write_text(item)
    assert shop.run("events", "item.ndjson").exit_code == 0
    row = json.loads(reject)["row"]
    (tmp_path / "rows.csv").write_text(f"customer,date,cds,value\n00001,1997-01-01,1,11.77\n{row}\n")
    assert shop.run("events", "rows.csv", *commands[1][4:]).exit_code == 1
    assert (tmp_path / "rows.csv.rejects.ndjson").read_text() == reject
