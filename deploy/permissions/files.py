"""The files that are made, by their path, and what is in them."""

from __future__ import annotations

from pathlib import Path

from deploy.permissions import mongodb, nats
from services.channels import app as channels
from services.channels.config import ChannelsConfig
from services.chassis.app import Footing
from services.chassis.permissions import Permissions, migrating, serving
from services.orchestrator import app as orchestrator
from services.profile import app as profile
from services.segment import app as segment

_MADE = "# Made by `make permissions` from what the services declare.\n"


def footings(partitions: int) -> list[Footing]:
    return [
        profile.footing(profile.ProfileConfig(partitions=partitions)),
        segment.footing(segment.SegmentConfig(partitions=partitions)),
        orchestrator.footing(orchestrator.OrchestratorConfig(partitions=partitions)),
        channels.footing(ChannelsConfig(partitions=partitions)),
    ]


def users(partitions: int) -> list[Permissions]:
    """Of the broker, two for each service."""
    return [user(footing) for footing in footings(partitions) for user in (serving, migrating)]


def files(root: Path) -> dict[Path, str]:
    """For so many partitions as the manifests tell the services, since each has a consumer of its own."""
    components = root / "deploy/k8s/components"
    partitions = _partitions(root / "deploy/k8s/base/settings.env")
    return {
        components / "stores-inside/authorization.conf": _MADE + nats.configuration(users(partitions)),
        components / "stores-outside/nats-users.yaml": _MADE + nats.chart_values(users(partitions)),
        root / "deploy/mongodb/roles.json": mongodb.document(footings(partitions)),
    }


def _partitions(settings: Path) -> int:
    [told] = [line for line in settings.read_text().splitlines() if line.startswith("CAMINO_PARTITIONS=")]
    return int(told.partition("=")[2])
