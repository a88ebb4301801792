"""A decision engine for the web that asks nobody: it follows who is in which segment, and decides on its own copy.

camino apply -f examples/cdnow/segments
python -m examples.audience.engine audience.db
curl 'http://127.0.0.1:8089/offer?visitor=PROFILE_ID'
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from camino.client.sync import Client, connect

from examples.audience.audience import Audience

OFFERS = {"loyal": "Yours for ten years: a box set", "lapsed": "We kept your seat: 20 % off"}
"""By segment, the best first."""
NONE = "New this week"


def follow(client: Client, audience: Audience, workspace_id: str = "main") -> None:
    """Until an error that doesn't pass, such as a segment that isn't there: that's raised."""
    for anew, response in client.watch_memberships(workspace_id, OFFERS, cursor=audience.cursor):
        audience.take(anew, response)


def offer(audience: Audience, visitor: str) -> str:
    segment_ids = audience.segments_of(visitor)
    return next((text for segment_id, text in OFFERS.items() if segment_id in segment_ids), NONE)


def server(audience: Audience, port: int = 8089) -> ThreadingHTTPServer:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            asked = parse_qs(url.query)
            if url.path != "/offer" or "visitor" not in asked:
                self.send_error(404)
                return
            body = json.dumps({"offer": offer(audience, asked["visitor"][0])}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: the address that is asked for names the visitor."""

    return ThreadingHTTPServer(("127.0.0.1", port), Page)


if __name__ == "__main__":
    with closing(Audience(sys.argv[1])) as audience, connect() as client, server(audience) as serving:
        Thread(target=serving.serve_forever, daemon=True).start()
        follow(client, audience)
