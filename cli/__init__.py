"""The `camino` command: a client of the gRPC APIs, and nothing more."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent

# In a checkout the generated contract and its client lie beside this package; where it's installed, they're importable
# already.
sys.path += [str(path) for path in (_ROOT / "gen", _ROOT / "clients/python") if path.is_dir()]
