"""The suite as tests, of the servers that the plugin's options name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from camino.testing.contract.cases import Case
from camino.testing.contract.proving import prove
from camino.testing.contract.suite import cases
from camino.testing.contract.target import Target


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    places = len(metafunc.config.getoption("--camino-target"))
    metafunc.parametrize("case", cases(places or 1), ids=str)


def test_contract(case: Case, camino_target: Target, record_property: Callable[[str, object], None]) -> None:
    record_property("subject", case.subject)
    prove(case, camino_target)
