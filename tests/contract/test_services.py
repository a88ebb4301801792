"""The services keep the contract that is generated from the protos: `camino.testing.contract`."""

from __future__ import annotations

import pytest
from camino.testing.contract.cases import Case
from camino.testing.contract.clearing import clear
from camino.testing.contract.proving import prove
from camino.testing.contract.suite import cases
from camino.testing.contract.target import Target

from tests.contract.observed import Observed
from tests.contract.services import SERVICES


@pytest.mark.parametrize("case", cases(len(SERVICES)), ids=str)
def test_the_contract_is_kept(case: Case, camino_target: Target) -> None:
    prove(case, camino_target, {"the profile service listens to nothing, so it has no dead letters"})


def test_nothing_is_left_behind(watched: tuple[Target, Observed]) -> None:
    target, observed = watched
    assert clear(target) == []
    mentioned = [
        where for where, body in observed.kept().items() if b"contract-" in body or any("contract-" in w for w in where)
    ]
    assert mentioned == []
