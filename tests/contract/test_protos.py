"""The contracts: in one style, explained, declared, and never broken for those who use them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from camino.options.v1 import options_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto

ROOT = Path(__file__).parents[2]
PROTOS = ROOT / "protos"
BUF = Path(sys.executable).with_name("buf")
BASELINE = PROTOS / "baseline.binpb"

_SERVICE, _METHOD = 6, 2
"""The field numbers of services in a file, and of methods in a service, as source locations name them."""


def buf(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BUF, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)


def breaking(protos: Path) -> subprocess.CompletedProcess[str]:
    return buf("breaking", protos, "--against", BASELINE, "--exclude-imports")


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> FileDescriptorSet:
    """What the protos declare, with their comments."""
    image = tmp_path_factory.mktemp("image") / "now.binpb"
    built = buf("build", PROTOS, "--as-file-descriptor-set", "-o", image)
    assert built.returncode == 0, built.stderr
    return FileDescriptorSet.FromString(image.read_bytes())


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    """A copy of the protos, to be changed."""
    return Path(shutil.copytree(PROTOS, tmp_path / "protos"))


def change(draft: Path, file: str, before: str, after: str) -> None:
    path = draft / "camino" / file
    text = path.read_text()
    assert text.count(before) == 1, f"{file} has changed: adapt this test"
    path.write_text(text.replace(before, after))


def test_they_keep_to_the_rules_of_style() -> None:
    result = buf("lint", PROTOS)
    assert result.returncode == 0, result.stdout


def test_they_are_formatted() -> None:
    result = buf("format", "-d", "--exit-code", PROTOS, "--path", PROTOS / "camino")
    assert result.returncode == 0, result.stdout


def test_they_break_nothing_of_the_baseline() -> None:
    result = breaking(PROTOS)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("profile/v1/profile.proto", "  string time_zone = 9;\n", ""),
        ("profile/v1/profile.proto", "  string time_zone = 9;\n", "  string time_zone = 99;\n"),
        ("profile/v1/profile.proto", "  string time_zone = 9;\n", "  int64 time_zone = 9;\n"),
        ("profile/v1/profile.proto", "  string time_zone = 9;\n", "  string zone = 9;\n"),
        ("profile/v1/profile.proto", "  CONSENT_STATE_OPTED_OUT = 2;\n", ""),
        ("profile/v1/profile_service.proto", "rpc GetProfile(", "rpc ReadProfile("),
    ],
    ids=["removed", "renumbered", "retyped", "renamed", "value removed", "method renamed"],
)
def test_the_check_finds_what_would_break_a_caller(draft: Path, file: str, before: str, after: str) -> None:
    assert breaking(draft).returncode == 0
    change(draft, file, before, after)
    result = breaking(draft)
    assert result.returncode != 0
    assert file in result.stdout


def test_what_is_only_added_breaks_nothing(draft: Path) -> None:
    zone = "  string time_zone = 9;\n"
    change(draft, "profile/v1/profile.proto", zone, f"{zone}  string nickname = 1000;\n")
    result = breaking(draft)
    assert result.returncode == 0, result.stdout


def test_every_rpc_is_explained(described: FileDescriptorSet) -> None:
    silent = []
    for file in described.file:
        comments = {tuple(found.path): found.leading_comments.strip() for found in file.source_code_info.location}
        for number, service in enumerate(file.service):
            if not comments.get((_SERVICE, number)):
                silent.append(service.name)
            for place, method in enumerate(service.method):
                if not comments.get((_SERVICE, number, _METHOD, place)):
                    silent.append(f"{service.name}.{method.name}")
    assert silent == []


def test_every_rpc_declares_its_scope_and_whether_it_may_be_repeated(described: FileDescriptorSet) -> None:
    methods = [
        (f"{file.package}.{service.name}.{method.name}", method)
        for file in described.file
        for service in file.service
        for method in service.method
    ]
    assert len(methods) > 20
    assert [name for name, method in methods if not _declares(method)] == []


def _declares(method: MethodDescriptorProto) -> bool:
    scope = method.options.Extensions[options_pb2.required_scope]
    return method.options.HasField("idempotency_level") and "." in scope


def test_a_field_of_items_is_one_of_the_request(described: FileDescriptorSet) -> None:
    messages = {f".{file.package}.{message.name}": message for file in described.file for message in file.message_type}
    named = 0
    for file in described.file:
        for service in file.service:
            for method in service.method:
                if field := method.options.Extensions[options_pb2.items_field]:
                    named += 1
                    assert field in {found.name for found in messages[method.input_type].field if found.label == 3}
    assert named >= 2
