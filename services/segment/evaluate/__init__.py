"""What a condition says of a profile's facts at an instant, and until when it says so by itself. Pure, and fast.

A condition is compiled once into closures. Each yields a verdict: true, false or unknown (None), by Kleene's logic, and
the earliest later instant at which that can change by time alone. The instant may come too early (asked again then, the
answer may be the same), but never too late: nothing changes before it unless the facts do.

Every verdict is worked out from the facts as they are, none from the verdict before: so streaming, batch and edge can't
drift apart. Membership of another segment is worked out in the same way, from that segment's rule and at the same
instant, and not looked up.
"""

from services.segment.domain import NEVER
from services.segment.evaluate.answers import Answer, Compiled, Decided
from services.segment.evaluate.compiling import Memberships, Verdict, compiled, evaluate, membership
from services.segment.evaluate.dependencies import Dependencies, depends_on
from services.segment.evaluate.explaining import Explained, explain

__all__ = [
    "NEVER",
    "Answer",
    "Compiled",
    "Decided",
    "Dependencies",
    "Explained",
    "Memberships",
    "Verdict",
    "compiled",
    "depends_on",
    "evaluate",
    "explain",
    "membership",
]
