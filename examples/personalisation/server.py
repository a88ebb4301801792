"""What a web shop shows to whom: a page's backend that asks Camino, inside the request, who is looking at it.

    camino apply -f examples/personalisation
    python -m examples.personalisation.server
    curl 'http://127.0.0.1:8088/banner?visitor=PROFILE_ID&cart_value=80&country=ES'

`cart_value` and `country` are what only the shop knows, and only now: they're asked with, and not kept. A page must
never wait for its banner, so there's a short deadline, and the plain one when there's no answer in time.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from camino.client import CaminoError
from camino.client.sync import Client, connect
from camino.segment.v1.segment_service_pb2 import CheckMembershipRequest, MembershipQuery
from camino.type.v1.value_pb2 import Value

BANNERS = {"nearly-there": "Free shipping, if you order today", "spanish-speaking": "Bienvenidos"}
"""By segment, the best first."""
PLAIN = "Welcome"
DEADLINE_S = 0.2


def banner(client: Client, workspace_id: str, visitor: str, context: dict[str, Value]) -> str:
    query = MembershipQuery(profile_id=visitor, segment_ids=BANNERS, context=context)
    request = CheckMembershipRequest(workspace_id=workspace_id, queries=[query])
    try:
        [answer] = client.segments.CheckMembership(request, timeout=DEADLINE_S).answers
    except CaminoError:
        return PLAIN
    return BANNERS[answer.member_of[0]] if answer.member_of else PLAIN


def context_of(asked: dict[str, list[str]]) -> dict[str, Value]:
    """Raises ValueError for a cart's value that is no number."""
    context = {}
    if "cart_value" in asked:
        context["cart_value"] = Value(double_value=float(asked["cart_value"][0]))
    if "country" in asked:
        context["country"] = Value(string_value=asked["country"][0])
    return context


def server(client: Client, workspace_id: str = "main", port: int = 8088) -> ThreadingHTTPServer:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            asked = parse_qs(url.query)
            if url.path != "/banner" or "visitor" not in asked:
                self.send_error(404)
                return
            try:
                context = context_of(asked)
            except ValueError:
                self.send_error(400, "cart_value is no number")
                return
            body = json.dumps({"banner": banner(client, workspace_id, asked["visitor"][0], context)}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: the address that is asked for names the visitor."""

    return ThreadingHTTPServer(("127.0.0.1", port), Page)


if __name__ == "__main__":
    with connect() as client, server(client) as serving:
        serving.serve_forever()
