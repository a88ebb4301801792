"""Write what is generated of the documentation, references of API, metrics and settings: `python -m docs.generate`."""

from __future__ import annotations

from pathlib import Path

from camino.testing.contract.examples import examples
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from docs.generate import metrics, settings
from docs.generate.pages import pages
from docs.generate.reading import read

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    described = FileDescriptorSet.FromString((ROOT / "gen" / "camino.binpb").read_bytes())
    target = ROOT / "docs" / "api"
    target.mkdir(exist_ok=True)
    fresh = pages(read(described), examples())
    for name, text in fresh.items():
        (target / name).write_text(text)
    for old in target.glob("*.md"):
        if old.name not in fresh:
            old.unlink()
    (ROOT / "docs" / "metrics.md").write_text(metrics.page())
    (ROOT / "docs" / "settings.md").write_text(settings.page())


if __name__ == "__main__":
    main()
