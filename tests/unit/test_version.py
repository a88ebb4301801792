"""One version, wherever it's said."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from services.chassis.version import VERSION

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("project", ["pyproject.toml", "clients/python/pyproject.toml"])
def test_packages_are_of_the_version_that_services_tell(project: str) -> None:
    assert tomllib.loads((ROOT / project).read_text())["project"]["version"] == VERSION
