"""The fake keeps the contract that the services keep: `camino.testing.contract`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from camino.testing.contract.cases import Case
from camino.testing.contract.proving import prove
from camino.testing.contract.suite import cases
from camino.testing.contract.target import Target

from tests.contract.fake import fake_target


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with fake_target() as target:
        yield target


@pytest.mark.parametrize("case", cases(), ids=str)
def test_the_contract_is_kept(case: Case, target: Target) -> None:
    prove(case, target, {"the fake publishes nothing"})
