"""Fixtures for pytest: `from camino.testing.fixtures import camino_fake` in a conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from camino.testing.fake import FakeCamino


@pytest.fixture
def camino_fake() -> Iterator[FakeCamino]:
    """A fake Camino of the test's own, empty."""
    with FakeCamino() as fake:
        yield fake
