"""The contract suite's target here: the four services, watched from outside and from within."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from camino.testing.contract.target import Target

from tests.contract.observed import Observed
from tests.contract.services import services


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, Observed]]:
    with services(tmp_path_factory.mktemp("contract")) as found:
        yield found


@pytest.fixture(scope="session")
def camino_target(watched: tuple[Target, Observed]) -> Target:
    return watched[0]
