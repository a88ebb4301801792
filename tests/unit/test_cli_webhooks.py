"""Webhooks on the command line, against the fake."""

from __future__ import annotations

from camino.segment.v1.membership_webhook_pb2 import MembershipWebhook
from camino.testing.fake import FakeCamino
from typer.testing import CliRunner, Result

from cli.main import app

FILE = """\
kind: MembershipWebhook
id: decisions
spec:
  url: https://decisions.example.com/camino
  segmentIds: [{segment}]
---
kind: Segment
id: loyal
spec:
  condition: {{attribute: {{name: city, exists: true}}}}
"""


def test_a_webhook_is_put_looked_at_and_given_another_secret() -> None:
    with FakeCamino() as fake:

        def camino(*arguments: str, text: str | None = None) -> Result:
            services = ("PROFILE", "SEGMENT", "ORCHESTRATOR", "CHANNELS")
            environment = {f"CAMINO_{name}_TARGET": fake.target for name in services}
            return CliRunner().invoke(app, list(arguments), env=environment, input=text)

        refused = camino("apply", "-f", "-", text=FILE.format(segment="nowhere"))
        assert refused.exit_code == 1
        assert "spec.segmentIds[0]: there is no segment 'nowhere'" in refused.stderr
        put = camino("apply", "-f", "-", text=FILE.format(segment="loyal"))
        assert put.exit_code == 0, put.stderr
        [secret] = [line for line in put.stdout.splitlines() if "shown this once: whsec_" in line]
        again = camino("apply", "-f", "-", text=FILE.format(segment="loyal"))
        assert "unchanged" in again.stdout
        assert "whsec_" not in again.stdout
        shown = camino("get", "webhooks").stdout
        assert all(word in shown for word in ("decisions", "active", "loyal", "https://decisions.example.com/camino"))
        assert "whsec_" not in camino("get", "webhooks", "decisions", "-o", "yaml").stdout
        rotated = camino("webhooks", "rotate", "decisions")
        assert rotated.stdout.startswith("whsec_")
        assert rotated.stdout.strip() not in secret
        assert camino("webhooks", "test", "decisions").stdout == "it answered 204 in 0 ms\n"
        assert camino("webhooks", "delete", "decisions").exit_code == 0
        assert fake.resources(MembershipWebhook, "main") == []
