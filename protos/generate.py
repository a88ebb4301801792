"""Generate `gen/`, or another directory, from the protos: message, stub and type modules, the descriptor set
`camino.binpb`, and the examples beside them."""

from __future__ import annotations

import shutil
import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
GEN = ROOT / "gen"


def generate(into: Path) -> int:
    """Put everything into a directory, in the place of what was there. Returns protoc's exit status."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    fresh = into.with_name(f"{into.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    status: int = protoc.main(
        [
            "protoc",
            f"-I{PROTOS}",
            f"-I{files('grpc_tools') / '_proto'}",
            f"--python_out={fresh}",
            f"--grpc_python_out={fresh}",
            f"--pyi_out={fresh}",
            # Stubs with types, of the synchronous and of the asyncio flavour.
            f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).with_name('protoc-gen-mypy_grpc')}",
            f"--mypy_grpc_out=quiet:{fresh}",
            f"--descriptor_set_out={fresh / 'camino.binpb'}",
            "--include_imports",
            "--include_source_info",
            *sources,
        ]
    )
    for path in PROTOS.rglob("examples.yaml"):
        shutil.copy(path, fresh / path.relative_to(PROTOS))
    if status == 0:
        shutil.rmtree(into, ignore_errors=True)
        fresh.rename(into)
    return status


if __name__ == "__main__":
    sys.exit(generate(Path(sys.argv[1]) if len(sys.argv) > 1 else GEN))
