"""Telling webhooks of changes: signed, in order, again until they're taken, and never twice without saying so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from camino.ops.v1.personal_data_service_pb2 import ErasePersonalDataRequest
from camino.segment.v1 import membership_webhook_pb2 as wire
from camino.segment.v1 import membership_webhook_service_pb2 as pb
from standardwebhooks import Webhook

from services.chassis.broker import Broker
from services.chassis.clock import DAY, HOUR, MINUTE, SECOND
from services.chassis.errors import FailedPrecondition, InvalidDefinition
from services.chassis.testing import FakeClock, eventually
from services.segment.app import MEMBERSHIPS
from services.segment.config import SegmentConfig
from services.segment.webhooks.courier import Ended
from tests.segments import BUYER, PARTITIONS, profile_stream, purchase, running
from tests.servers import NatsServer, nats_server
from tests.torn import Died, Life, Mortal
from tests.webhooks import WORKSPACE, Posted, Receiver, Telling, answering, receiver, taken, telling

ACTIVE, FAILING, PAUSED = wire.WEBHOOK_STATE_ACTIVE, wire.WEBHOOK_STATE_FAILING, wire.WEBHOOK_STATE_PAUSED


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def broker(nats: NatsServer) -> AsyncIterator[Broker]:
    broker = await Broker.connect(nats.url, "test")
    yield broker
    await broker.close()


@pytest.fixture
async def world(broker: Broker, tmp_path: Path) -> AsyncIterator[Telling]:
    async with telling(broker, tmp_path) as world:
        yield world


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


def told(posted: list[Posted]) -> list[tuple[str, int]]:
    """What a receiver knows that drops what has an id that it knows."""
    by_id = {one.id: one for one in posted}
    return [change for one in by_id.values() for change in one.sequences]


async def test_what_changes_is_told_in_order_and_signed(world: Telling, hook: Receiver) -> None:
    await world.publish(("before", 1))
    put = await world.put(hook.url)
    assert (await world.put(hook.url)).secret == "", "it's shown once"
    changes = [(f"p{number % 7}", number) for number in range(1, 251)]
    await world.publish(*changes)
    async with world.running():
        await hook.come(3)
        await world.publish(("late", 1), segment_id="other")
        await hook.come(4)
        await world.state(ACTIVE)
    assert [len(posted.sequences) for posted in hook.posted] == [100, 100, 50, 1]
    assert told(hook.posted) == [*changes, ("late", 1)]
    for posted in hook.posted:
        Webhook(put.secret).verify(posted.body, dict(posted.headers))
        assert posted.headers["content-type"] == "application/json"
    message = hook.posted[3].told
    assert (message["type"], message["workspaceId"]) == ("camino.segment.membership_changed", WORKSPACE)
    change = message["changes"][0]
    assert (change["segmentId"], change["member"], change["sequence"]) == ("other", True, "1")
    assert hook.posted[0].told["changes"][1]["member"] is False, "what is false is said"
    webhook = await world.webhook()
    assert webhook.deliver_time.seconds == world.clock.now() // SECOND
    assert world.metrics.registry.get_sample_value("camino_segment_webhook_lateness_seconds_count") == 251


async def test_what_is_not_taken_comes_again_and_the_rest_waits(world: Telling, hook: Receiver) -> None:
    await world.put(hook.url)
    hook.answer = answering(500)
    async with world.running():
        await world.publish(("ana", 1))
        failing = await world.state(FAILING)
        assert (failing.failure.attempts, failing.failure.error) == (1, "it answered 500 Internal Server Error")
        await world.publish(("ana", 2))
        for pause in (5, 10, 20):
            world.clock.advance(pause * SECOND - 1)
            seen = len(hook.posted)
            hook.answer = answering(302, location=hook.url)
            world.clock.advance(1)
            await hook.come(seen + 1)
            await world.state(FAILING)
        hook.answer = answering(503, retry_after="1800")
        world.clock.advance(40 * SECOND)
        await hook.come(5)

        async def waits() -> bool:
            failure = (await world.webhook()).failure
            return failure.retry_time.seconds - world.clock.now() // SECOND == 1800

        await eventually(waits)
        [age] = (await world.metrics.readings[_age(world)]()).values()
        assert age == 75
        hook.answer = taken
        world.clock.advance(1800 * SECOND)
        await hook.come(7)
        await world.state(ACTIVE)
    assert [posted.sequences for posted in hook.posted] == [[("ana", 1)]] * 6 + [[("ana", 2)]]
    assert len({(posted.id, posted.body) for posted in hook.posted[:6]}) == 1
    assert len({posted.headers["webhook-timestamp"] for posted in hook.posted[:6]}) == 6
    assert not (await world.webhook()).HasField("failure")


def _age(world: Telling) -> object:
    [metric] = [metric for metric in world.metrics.readings if "failing_age" in metric.name]
    return metric


async def test_one_that_hangs_holds_up_nobody_else(world: Telling, hook: Receiver) -> None:
    release = asyncio.Event()
    async with receiver() as slow:

        async def hang(posted: Posted) -> web.Response:
            await release.wait()
            return await taken(posted)

        slow.answer = hang
        await world.put(slow.url, "slow")
        await world.put(hook.url, segmentIds=[])
        async with world.running():
            for number in range(1, 6):
                await world.publish(("ana", number))
                await hook.come(number)
            assert [posted.sequences for posted in slow.posted] == [[("ana", 1)]], "one at a time"
            release.set()
            await slow.come(2)
        assert told(slow.posted) == told(hook.posted) == [("ana", number) for number in range(1, 6)]
        # Nor do so many that hang again as may be posted to at a time.
        await world.publish(("ana", 6))
        one = {"slots": asyncio.Semaphore(1)}
        slow.answer = answering(500)
        await world.courier("slow", **one).step()
        world.clock.advance(5 * SECOND)
        release.clear()
        slow.answer = hang
        hanging = asyncio.create_task(world.courier("slow", **one).step())
        await slow.come(len(slow.posted) + 1)
        await world.courier(**one).step()
        assert (hook.posted[-1].sequences, hanging.done()) == ([("ana", 6)], False)
        release.set()
        await hanging


async def test_who_hangs_keeps_nobody_from_stopping(world: Telling, hook: Receiver) -> None:
    await world.put(hook.url)
    await world.publish(("ana", 1))
    never = asyncio.Event()

    async def hang(posted: Posted) -> web.Response:
        await never.wait()
        return await taken(posted)

    hook.answer = hang
    async with world.running():
        await hook.come(1)
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 2
    hook.answer = taken
    await world.courier().step()
    first, again = hook.posted
    assert (first.id, first.body) == (again.id, again.body)


async def test_what_comes_again_is_all_of_it_also_from_a_copy_that_is_behind(world: Telling, hook: Receiver) -> None:
    class Behind:
        """A tail whose broker's copy has two more messages each time that it's asked."""

        async def read(self, workspace_id: str, place: Any, _limit: int) -> Any:
            return await world.tail.read(workspace_id, place, 2)

    await world.put(hook.url)
    await world.publish(*(("ana", number) for number in range(1, 6)))
    hook.answer = answering(500)
    await world.courier().step()
    hook.answer = taken
    world.clock.advance(5 * SECOND)
    courier = world.courier(tail=Behind())
    await courier.step()
    await world.publish(("ana", 6))
    hook.answer = answering(500)
    await courier.step()
    first, again, _ = hook.posted
    assert (first.id, first.body) == (again.id, again.body)
    # A stream that has lost its end; then one that has gone on since.
    hook.answer = taken
    for place, number, difference in (("hand", 1, 1), ("place", 3, -1)):
        [document] = (await world.store.webhooks.get([courier.key])).values()
        document.body[place][number] += difference
        await world.store.webhooks.put([document])
        world.clock.advance(5 * SECOND)
        # It notices, says so, and tells what there is.
        for _ in range(3):
            assert await world.courier().step() is None
    kinds = [posted.told["type"].rpartition(".")[2] for posted in hook.posted[3:]]
    assert kinds == ["changes_lost", "membership_changed"] * 2
    assert hook.posted[4].sequences == hook.posted[6].sequences == [("ana", number) for number in range(1, 7)]
    assert hook.posted[4].id != hook.posted[6].id


async def test_who_is_gone_is_told_nothing_until_it_is_put_again(world: Telling, hook: Receiver) -> None:
    await world.put(hook.url)
    hook.answer = answering(410)
    async with world.running():
        await world.publish(("ana", 1))
        gone = await world.state(PAUSED)
        assert (gone.pause, gone.failure.error) == (wire.WEBHOOK_PAUSE_GONE, "it answered 410 Gone")
        await world.publish(("ana", 2))
        world.clock.advance(HOUR)
        hook.answer = taken
        assert (await world.put(hook.url, paused=True)).membership_webhook.pause == wire.WEBHOOK_PAUSE_DEFINITION
        assert len(hook.posted) == 1
        assert (await world.put(hook.url)).membership_webhook.state == FAILING
        await hook.come(3)
        await world.state(ACTIVE)
    assert [posted.sequences for posted in hook.posted] == [[("ana", 1)], [("ana", 1)], [("ana", 2)]]
    assert hook.posted[0].id == hook.posted[1].id


async def test_for_a_day_both_secrets_sign(world: Telling, hook: Receiver) -> None:
    old = (await world.put(hook.url)).secret
    rotate = pb.RotateWebhookSecretRequest(workspace_id=WORKSPACE, membership_webhook_id="hook")
    send = pb.SendTestWebhookRequest(workspace_id=WORKSPACE, membership_webhook_id="hook")
    rotated = await world.servicer.RotateWebhookSecret(rotate, None)
    ends = (await world.webhook()).old_secret_expire_time
    assert ends == rotated.old_secret_expire_time
    assert ends.seconds == (world.clock.now() + DAY) // SECOND
    assert (await world.servicer.SendTestWebhook(send, None)).delivered
    world.clock.advance(DAY)
    hook.answer = answering(401)
    answer = await world.servicer.SendTestWebhook(send, None)
    assert (answer.delivered, answer.status, answer.error) == (False, 401, "it answered 401 Unauthorized")
    both, one = hook.posted
    assert (both.told["type"], both.told["changes"]) == ("camino.segment.test", [])
    assert (both.signed_by(old), both.signed_by(rotated.secret)) == (True, True)
    assert (one.signed_by(old), one.signed_by(rotated.secret)) == (False, True)
    for _ in range(9):
        await world.servicer.RotateWebhookSecret(rotate, None)
    with pytest.raises(FailedPrecondition):
        await world.servicer.RotateWebhookSecret(rotate, None)


async def test_what_was_not_kept_is_told_as_lost_and_the_rest_follows(world: Telling, hook: Receiver) -> None:
    put = await world.put(hook.url, paused=True)
    began = world.clock.now()
    await world.publish(("ana", 1))
    world.clock.advance(8 * DAY)
    await world.put(hook.url)
    hook.answer = answering(500)
    async with world.running():
        await hook.come(1)
        failing = await world.state(FAILING)
        assert failing.loss_count == 1
        assert (failing.lost.after_time.seconds, failing.lost.notice_time.seconds) == (
            began // SECOND,
            world.clock.now() // SECOND,
        )
        hook.answer = taken
        world.clock.advance(10 * MINUTE)
        await hook.come(3)
        await world.publish(("ana", 2))
        await hook.come(4)
        # The stream is deleted and made anew, and counts from 1 again.
        await world.broker.jetstream.delete_stream(MEMBERSHIPS.name)
        await world.broker.declare([MEMBERSHIPS], [])
        world.clock.advance(HOUR)
        await world.publish(("ana", 3))
        await hook.come(6)
        await world.state(ACTIVE)
    kinds = [posted.told["type"].rpartition(".")[2] for posted in hook.posted]
    assert kinds == [*["changes_lost"] * 2, *["membership_changed"] * 2, "changes_lost", "membership_changed"]
    assert hook.posted[0].id == hook.posted[1].id != hook.posted[4].id
    assert "afterTime" in hook.posted[0].told["lost"]
    assert hook.posted[0].signed_by(put.secret)
    assert told([hook.posted[number] for number in (2, 3, 5)]) == [("ana", 1), ("ana", 2), ("ana", 3)]
    assert (await world.webhook()).loss_count == 2
    assert world.metrics.registry.get_sample_value("camino_segment_webhook_losses_total") == 2


async def test_who_was_erased_meanwhile_is_told_of_no_more(world: Telling, hook: Receiver) -> None:
    await world.put(hook.url)
    await world.publish(("ana", 1), ("bo", 1))
    courier = world.courier()
    hook.answer = answering(500)
    await courier.step()
    await world.broker.purge(MEMBERSHIPS, WORKSPACE, "ana")
    hook.answer = taken
    world.clock.advance(5 * SECOND)
    await courier.step()
    await world.publish(("bo", 2))
    hook.answer = answering(500)
    await courier.step()
    await world.broker.purge(MEMBERSHIPS, WORKSPACE, "bo")
    hook.answer = taken
    world.clock.advance(5 * SECOND)
    await courier.step()
    await world.publish(("bo", 3))
    await courier.step()
    assert [posted.sequences for posted in hook.posted] == [
        [("ana", 1), ("bo", 1)],
        [("bo", 1)],
        [("bo", 2)],
        [("bo", 3)],
    ]
    assert (await world.webhook()).state == ACTIVE


async def test_killed_anywhere_it_says_the_same_again_with_the_same_id(world: Telling) -> None:
    deaths = 0
    while True:
        async with receiver() as hook:
            name = f"hook-{deaths}"
            await world.put(hook.url, name)
            life = Life(deaths)
            mortal = Mortal(world.store.webhooks, life)
            for number, webhooks in enumerate((mortal, world.store.webhooks), 1):
                await world.publish(("ana", number), ("bo", number))
                courier = world.courier(name, webhooks=webhooks)
                with suppress(Died):
                    await courier.step()
                    await courier.step()
            while await world.courier(name).step() is None:
                pass
            bodies: dict[str, set[bytes]] = {}
            for posted in hook.posted:
                bodies.setdefault(posted.id, set()).add(posted.body)
            assert {len(each) for each in bodies.values()} == {1}, f"after {deaths} writes"
            assert told(hook.posted) == [("ana", 1), ("bo", 1), ("ana", 2), ("bo", 2)], f"after {deaths} writes"
            if not life.dead:
                break
        deaths += 1
    assert deaths == 2


async def only_loyal(world: Telling) -> None:
    """As if the webhook had been put for one segment, which would have to be published."""
    [document] = (await world.store.webhooks.get([f"{WORKSPACE}/hook"])).values()
    document.body["segments"] = ["loyal"]
    await world.store.webhooks.put([document])


async def test_it_is_told_of_its_segments_and_goes_on_when_they_change(world: Telling, hook: Receiver) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        await world.put("https://user@example.com/#there", segmentIds=["loyal"])
    fields = [violation.field for violation in refused.value.violations]
    assert fields == ["definition.url", "definition.segment_ids[0]"]
    await world.put(hook.url)
    await only_loyal(world)
    courier = world.courier()
    await world.publish(*[("ana", number) for number in range(1, 231)], segment_id="other")
    while await courier.step() is None:
        pass
    world.clock.advance(2 * HOUR)
    await world.publish(("ana", 231))
    hook.answer = answering(500)
    await courier.step()
    await world.publish(("ana", 232), segment_id="other")
    hook.answer = taken
    # Now it's told of all, and of what wasn't taken with a new id.
    await world.put(hook.url)
    await courier.step()
    assert [posted.sequences for posted in hook.posted] == [[("ana", 231)], [("ana", 231), ("ana", 232)]]
    assert hook.posted[0].id != hook.posted[1].id
    await world.servicer.DeleteMembershipWebhook(
        pb.DeleteMembershipWebhookRequest(workspace_id=WORKSPACE, membership_webhook_id="hook"), None
    )
    with pytest.raises(Ended):
        await courier.step()


@pytest.mark.parametrize("segment_id", ["other", "loyal"])
async def test_it_is_told_what_follows_a_change_that_came_while_others_were_read(
    world: Telling, hook: Receiver, segment_id: str
) -> None:
    await world.put(hook.url)
    await only_loyal(world)

    class Slow:
        """A tail that takes so long that the webhook is put for all segments meanwhile."""

        async def read(self, *asked: Any) -> Any:
            if (await world.webhook()).definition.segment_ids:
                await world.put(hook.url)
                await world.publish(("ana", 1), segment_id="other")
                await world.publish(("ana", 2), segment_id=segment_id)
            return await world.tail.read(*asked)

    courier = world.courier(tail=Slow())
    await courier.step()
    await courier.step()
    assert told(hook.posted) == [("ana", 1), ("ana", 2)]


async def test_what_may_not_be_reached_is_not_connected_to(broker: Broker, tmp_path: Path, hook: Receiver) -> None:
    """By the address that it's connected to, whatever the name says."""
    async with telling(broker, tmp_path, ["public"]) as world:
        send = pb.SendTestWebhookRequest(workspace_id=WORKSPACE, membership_webhook_id="hook")
        for url in (hook.url, hook.url.replace("127.0.0.1", "localhost")):
            await world.put(url)
            answer = await world.servicer.SendTestWebhook(send, None)
            assert (answer.delivered, answer.status) == (False, 0)
            assert answer.error == "its address may not be reached: CAMINO_WEBHOOK_NETWORKS doesn't allow it"
    assert hook.posted == []


async def test_a_receiver_may_close_its_connections_without_saying_so(world: Telling) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        _, port = server.sockets[0].getsockname()
        outcomes = [await world.poster.post(f"http://127.0.0.1:{port}/", b"{}", {}) for _ in range(10)]
    assert [outcome.error for outcome in outcomes] == [""] * 10


async def test_the_service_tells_what_its_own_segments_bring_about(
    nats: NatsServer, tmp_path: Path, hook: Receiver
) -> None:
    config = SegmentConfig(
        nats_url=nats.url, data_dir=tmp_path, partitions=PARTITIONS, migrate_on_start=True, mongodb_uri=""
    )
    async with profile_stream(nats) as broker, running(config, FakeClock(), broker) as service:
        await service.publish("buyers", BUYER)
        request = pb.PutMembershipWebhookRequest(workspace_id=WORKSPACE, membership_webhook_id="hook")
        request.definition.url = hook.url
        request.definition.segment_ids.append("buyers")
        await service.webhooks.PutMembershipWebhook(request)
        await service.tell(purchase("ana", "e1", service.clock.now()))
        [posted] = await hook.come(1)
        erase = ErasePersonalDataRequest(workspace_id=WORKSPACE, profile_ids=["ana"])
        await service.personal_data.ErasePersonalData(erase)
        await hook.come(2)
    assert posted.sequences == [("ana", 1)]
    [exit_] = hook.posted[1].told["changes"]
    assert (exit_["profileId"], exit_["member"], exit_["cause"]) == ("ana", False, "MEMBERSHIP_CAUSE_ERASURE")
