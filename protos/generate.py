"""Generate `gen/` from the protos: message, stub and type modules, and the descriptor set `gen/camino.binpb`."""

from __future__ import annotations

import shutil
import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
GEN = ROOT / "gen"


def main() -> int:
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    fresh = GEN.with_name("gen.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
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
    if status == 0:
        shutil.rmtree(GEN, ignore_errors=True)
        fresh.rename(GEN)
    return status


if __name__ == "__main__":
    sys.exit(main())
