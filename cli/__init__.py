"""The `camino` command: a client of the gRPC APIs, and nothing more."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_GENERATED = Path(__file__).resolve().parent.parent / "gen"

# In a checkout the generated contract lies beside this package; where it's installed, it's importable already.
if importlib.util.find_spec("camino") is None and _GENERATED.is_dir():
    sys.path.insert(0, str(_GENERATED))
