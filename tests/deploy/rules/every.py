"""All rules that manifests keep to. A rule names what breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.deploy.rendering import Manifests
from tests.deploy.rules import availability, broker, certificates, life, network, pods, scaling, settings

Rule = Callable[[Manifests], Iterator[str]]

EVERY: tuple[Rule, ...] = (
    *pods.RULES,
    *life.RULES,
    *availability.RULES,
    *scaling.RULES,
    *settings.RULES,
    *network.RULES,
    *certificates.RULES,
    *broker.RULES,
)


def complaints(manifests: Manifests) -> Iterator[str]:
    """What is wrong with manifests, by any rule. Something that a rule needs and can't find is wrong, too."""
    for rule in EVERY:
        try:
            yield from rule(manifests)
        except (LookupError, ValueError, ArithmeticError) as error:
            yield f"{rule.__name__}: {error!r}"
