"""A case as a test of pytest's: what can't be proved is skipped, what doesn't hold fails in the contract's words."""

from __future__ import annotations

import pytest
from camino.testing.contract.answers import Broken
from camino.testing.contract.cases import Case
from camino.testing.contract.target import OutOfReach, Target


def prove(case: Case, target: Target) -> None:
    """Run a case."""
    try:
        case.run(target)
    except OutOfReach as reason:
        pytest.skip(str(reason))
    except Broken as broken:
        # How the suite came to see it says nothing to whoever runs it against servers of theirs.
        pytest.fail("\n".join([str(broken), *getattr(broken, "__notes__", ())]), pytrace=False)
