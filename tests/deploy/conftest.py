"""What tests of what is deployed share."""

from __future__ import annotations

import asyncio

import pytest

from tests.deploy.monitored import Monitored, monitored
from tests.servers import nats_server


@pytest.fixture(scope="session")
def there(tmp_path_factory: pytest.TempPathFactory) -> Monitored:
    """What there is to monitor."""
    with nats_server() as nats:
        return asyncio.run(monitored(nats.url, tmp_path_factory.mktemp("data")))
