"""How methods are declared: what the other checks, and every generated client, build upon."""

from __future__ import annotations

from camino.testing.contract.cases import Case, Cases, Point
from camino.testing.contract.examples import example
from camino.testing.rpcs import Rpc


def cases(point: Point) -> Cases:
    if point.place == 0:
        yield Case(str(point), "is declared whole", lambda _target: declared_whole(point.rpc))


def declared_whole(rpc: Rpc) -> None:
    """It has a scope and an example; a list has pages (AIP-158); what can answer no failure of its own says so; what
    streams requests answers each, and tells them apart; what tells can go on where it was broken off."""
    assert not rpc.one_way, f"{rpc.full_name} streams its requests only: this suite proves what answers each of them"
    cursors = [message.DESCRIPTOR.fields_by_name.get("cursor") for message in (rpc.request, rpc.reply)]
    assert not rpc.telling or all(cursors), f"{rpc.full_name}: what tells has a `cursor`, there and back"
    assert not rpc.telling or rpc.read_only, f"{rpc.full_name}: what tells has no side effects"
    sequences = [message.DESCRIPTOR.fields_by_name.get("sequence") for message in (rpc.request, rpc.reply)]
    assert not rpc.streaming or all(sequences), f"{rpc.full_name}: what streams has a `sequence`, there and back"
    assert not rpc.streaming or rpc.items_field, f"{rpc.full_name}: what streams has items that fail alone"
    assert rpc.scope, f"{rpc.full_name} declares no required_scope"
    assert example(rpc.full_name)
    listing = rpc.method.startswith("List")
    assert listing == rpc.pages, f"{rpc.full_name}: a List method has page_size, page_token and next_page_token"
    assert not listing or rpc.read_only, f"{rpc.full_name}: a List method has no side effects"
    assert not rpc.method.startswith(("Get", "BatchGet")) or rpc.read_only, f"{rpc.full_name} must be read only"
    assert not rpc.has("etag") or not rpc.read_only, f"{rpc.full_name}: reading takes no etag"
