"""What the last release has written is still read as it was meant."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from camino.testing.rpcs import files
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message_factory import GetMessageClass

ROOT = Path(__file__).parents[2]
PROTOS = ROOT / "protos"
BUF = Path(sys.executable).with_name("buf")


def misread(protos: Path) -> list[str]:
    """The types of which, read by these protos, a message of the last release no longer says what it said."""
    image = subprocess.run(
        [BUF, "build", protos, "--as-file-descriptor-set", "-o", "-#format=binpb"], cwd=ROOT, capture_output=True
    )
    assert image.returncode == 0, image.stderr
    pool = descriptor_pool.DescriptorPool()
    for file in FileDescriptorSet.FromString(image.stdout).file:
        pool.Add(file)
    changed = []
    for line in (PROTOS / "golden.jsonl").read_text().splitlines():
        golden = json.loads(line)
        kind = GetMessageClass(pool.FindMessageTypeByName(golden["type"]))
        message = kind.FromString(base64.b64decode(golden["bytes"]))
        if text_format.MessageToString(message) != golden["text"]:
            changed.append(golden["type"])
    return changed


def test_the_last_release_is_read_as_it_was_meant() -> None:
    assert misread(PROTOS) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  string time_zone = 9;", "  string time_zone = 99;"),
        ("  string time_zone = 9;", "  string zone = 9;"),
        ("  CONSENT_STATE_OPTED_IN = 1;", "  CONSENT_STATE_JOINED = 1;"),
    ],
    ids=["renumbered", "renamed", "value renamed"],
)
def test_what_changes_its_meaning_is_seen(tmp_path: Path, before: str, after: str) -> None:
    draft = Path(shutil.copytree(PROTOS, tmp_path / "protos"))
    file = draft / "camino/profile/v1/profile.proto"
    text = file.read_text()
    assert text.count(before) == 1
    file.write_text(text.replace(before, after))
    assert "camino.profile.v1.Profile" in misread(draft)


def test_every_type_of_the_release_is_there() -> None:
    """A baseline holds every type there was: with `make baseline` a release fixes them all."""
    written = {json.loads(line)["type"] for line in (PROTOS / "golden.jsonl").read_text().splitlines()}
    declared = {message.full_name for file in files() for message in file.message_types_by_name.values()}
    assert len(written) > 50
    assert written <= declared
