"""A case as a test of pytest's: what can't be proved is skipped, what doesn't hold fails in the contract's words."""

from __future__ import annotations

from collections.abc import Container

import pytest
from camino.testing.contract.answers import Broken
from camino.testing.contract.cases import Case
from camino.testing.contract.target import OutOfReach, Target


def prove(case: Case, target: Target, out_of_reach: Container[str] | None = None) -> None:
    """Run a case. `out_of_reach` are the only reasons for which it may go unproved; any will do without."""
    try:
        case.run(target)
    except OutOfReach as reason:
        if out_of_reach is not None and str(reason) not in out_of_reach:
            pytest.fail(f"{case} isn't proved: {reason}", pytrace=False)
        pytest.skip(str(reason))
    except Broken as broken:
        # How the suite came to see it says nothing to whoever runs it against servers of theirs.
        pytest.fail("\n".join([str(broken), *getattr(broken, "__notes__", ())]), pytrace=False)
