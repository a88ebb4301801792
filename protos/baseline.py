"""Fix the contract of a release, which later ones may add to and not break: `baseline.binpb`, the descriptors that `buf
breaking` compares with, and `golden.jsonl`, a message of each type as bytes and as text."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from camino.testing.rpcs import files
from camino.testing.schema.full import full
from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass

PROTOS = Path(__file__).resolve().parent
BASELINE = PROTOS / "baseline.binpb"
GOLDEN = PROTOS / "golden.jsonl"


def golden() -> Iterator[dict[str, str]]:
    """Of each type of ours a message in which every field is set: its type, its bytes in base64, its text."""
    for kind in types():
        message = full(GetMessageClass(kind))
        yield {
            "type": kind.full_name,
            "bytes": base64.b64encode(message.SerializeToString(deterministic=True)).decode(),
            "text": text_format.MessageToString(message),
        }


def types() -> Iterator[Descriptor]:
    for file in files():
        yield from file.message_types_by_name.values()


def main() -> int:
    buf = Path(sys.executable).with_name("buf")
    subprocess.run([buf, "build", PROTOS, "-o", BASELINE], check=True)
    GOLDEN.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in golden()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
