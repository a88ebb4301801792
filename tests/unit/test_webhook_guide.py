"""The receiver that `docs/segments.md` shows takes what is posted, and nothing else."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from services.chassis.clock import SECOND
from services.chassis.tail import Place
from services.segment.webhooks import messages
from services.segment.webhooks.signing import headers, new_secret
from services.segment.webhooks.webhook import Definition, Loss, Webhook
from tests.webhooks import changed

PAGE = Path(__file__).parents[2] / "docs/segments.md"


def test_the_receiver_in_the_guide() -> None:
    fences = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    [code] = [fence for fence in fences if "standardwebhooks" in fence]
    names: dict[str, Any] = {}
    exec(code, names)
    now = time.time_ns() // 1_000
    secret, read_anew = new_secret(), list[int]()
    audience = names["Audience"](secret, lambda: read_anew.append(1))
    webhook = Webhook.new(Definition("https://decisions.example.com"), secret, Place(1, 1, now, now), now)

    def post(message: messages.Outgoing, key: str = secret, at: int = now) -> int:
        status: int = audience.take(headers(message.id, at, message.body, [new_secret(), key]), message.body)
        return status

    def change(*sequences: int) -> messages.Outgoing:
        told = [changed("ana", sequence) for sequence in sequences]
        return messages.changed("shop/hook", webhook, Place(1, 9, now, now), told)

    assert post(change(1, 2, 3)) == 204
    assert audience.is_member("loyal", "ana")
    assert post(change(2)) == 204
    assert audience.is_member("loyal", "ana"), "what came late changes nothing"
    assert post(change(4), key=new_secret()) == 401
    assert post(change(4), at=now - 3600 * SECOND) == 401
    assert audience.is_member("loyal", "ana")
    assert post(change(4)) == 204
    assert not audience.is_member("loyal", "ana")
    assert post(messages.test("shop/hook")) == 204
    assert read_anew == []
    assert post(messages.lost("shop/hook", webhook, Loss(now, now))) == 204
    assert read_anew == [1]
