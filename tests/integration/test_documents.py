"""The storage contract, held against every engine: what `documents` promises is tried here, once, for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bson
import pytest

from services.chassis import engine
from services.chassis.documents import Collection, Database, Document, Index, Owner, Schema, Value, change
from services.chassis.errors import Contention, InvalidPageToken, StoreUnavailable
from services.chassis.mongo import MongoDatabase
from services.chassis.sqlite import SqliteDatabase

THINGS = Schema(
    "things",
    (Index("by_size", ("size",)), Index("by_group", ("group", "at")), Index("by_id", ("id", "rev"))),
    owner=Owner.SERVICE,
)
BARE = Schema("bare", owner=Owner.SERVICE)


@pytest.fixture
async def database(empty_database: Database) -> Database:
    await empty_database.migrate([THINGS, BARE])
    return empty_database


@pytest.fixture
def things(database: Database) -> Collection:
    return database.collection(THINGS)


async def added(collection: Collection, **bodies: dict[str, Any]) -> dict[str, Document]:
    """Documents by id, put."""
    documents = [Document(id_, body) for id_, body in bodies.items()]
    assert (await collection.put(documents)).saved == list(bodies)
    return {document.id: document for document in documents}


async def all_of(collection: Collection, index: str, *equal: Value, **options: Any) -> list[str]:
    """The ids of a query, in order."""
    page = await collection.query(index, *equal, limit=1000, **options)
    assert page.next == ""
    return [document.id for document in page.documents]


async def paged(collection: Collection, index: str, *equal: Value, size: int, **options: Any) -> list[str]:
    """The ids of a query that is read page by page."""
    found: list[str] = []
    after = ""
    while True:
        page = await collection.query(index, *equal, limit=size, after=after, **options)
        assert len(page.documents) == size or not page.next
        found += [document.id for document in page.documents]
        after = page.next
        if not after:
            return found


# --- get, put, delete -------------------------------------------------------------------------------------------------


async def test_a_put_is_read_back_at_once(things: Collection) -> None:
    await added(things, a={"n": 1}, b={"n": 2})
    found = await things.get(["a", "b", "missing"])
    assert {id_: document.body for id_, document in found.items()} == {"a": {"n": 1}, "b": {"n": 2}}
    assert all(document.rev > 0 for document in found.values())


async def test_empty_batches_do_nothing(things: Collection) -> None:
    assert await things.get([]) == {}
    assert await things.delete([]) == 0
    assert (await things.put([])).saved == []


async def test_a_new_document_never_replaces_one(things: Collection) -> None:
    await added(things, a={"n": 1})
    late = Document("a", {"n": 2})
    result = await things.put([late])
    assert (result.saved, result.conflicted, result.duplicate) == ([], [], ["a"])
    assert late.rev == 0
    assert (await things.get(["a"]))["a"].body == {"n": 1}


async def test_a_replacement_needs_the_revision_that_is_there(things: Collection) -> None:
    mine = (await added(things, a={"n": 1}))["a"]
    theirs = (await things.get(["a"]))["a"]
    assert mine.rev == theirs.rev
    theirs.body = {"n": 2}
    assert (await things.put([theirs])).saved == ["a"]
    mine.body = {"n": 3}
    before = mine.rev
    assert (await things.put([mine])).conflicted == ["a"]
    assert mine.rev == before
    assert (await things.get(["a"]))["a"] == theirs


async def test_a_document_can_be_put_again_with_the_revision_it_got(things: Collection) -> None:
    document = Document("a", {"n": 0})
    revisions = [0]
    for n in range(5):
        document.body = {"n": n}
        assert (await things.put([document])).saved == ["a"]
        revisions.append(document.rev)
    assert revisions == sorted(set(revisions))
    assert (await things.get(["a"]))["a"] == document


async def test_replacing_what_is_gone_is_a_conflict_and_brings_nothing_back(things: Collection) -> None:
    gone = (await added(things, a={"n": 1}))["a"]
    assert await things.delete(["a"]) == 1
    assert (await things.put([gone])).conflicted == ["a"]
    assert await things.get(["a"]) == {}
    assert (await things.scan(limit=10)).documents == []


async def test_a_document_made_anew_is_not_taken_for_its_old_self(things: Collection) -> None:
    old = (await added(things, a={"n": 1}))["a"]
    await things.delete(["a"])
    await added(things, a={"n": 2})
    assert (await things.put([old])).conflicted == ["a"]
    assert (await things.get(["a"]))["a"].body == {"n": 2}


async def test_each_document_of_a_batch_has_its_own_outcome(things: Collection) -> None:
    existing = await added(things, stale={"n": 0}, current={"n": 0}, taken={"n": 0}, deleted={"n": 0})
    await things.put([Document("stale", {"n": 1}, existing["stale"].rev)])
    await things.delete(["deleted"])
    batch = [
        Document("new", {"n": 9}),
        Document("stale", {"n": 9}, existing["stale"].rev),
        Document("taken", {"n": 9}),
        Document("current", {"n": 9}, existing["current"].rev),
        Document("deleted", {"n": 9}, existing["deleted"].rev),
    ]
    result = await things.put(batch)
    assert sorted(result.saved) == ["current", "new"]
    assert sorted(result.conflicted) == ["deleted", "stale"]
    assert result.duplicate == ["taken"]
    stored = await things.get([document.id for document in batch])
    assert {id_: found.body["n"] for id_, found in stored.items()} == {"new": 9, "stale": 1, "taken": 0, "current": 9}
    assert {document.id: document.rev for document in batch if document.id in result.saved} == {
        id_: stored[id_].rev for id_ in result.saved
    }


async def test_the_ids_of_a_batch_are_distinct(things: Collection) -> None:
    with pytest.raises(ValueError, match="distinct"):
        await things.put([Document("a", {"n": 1}), Document("a", {"n": 2})])
    assert await things.get(["a"]) == {}


@pytest.mark.parametrize(
    "body",
    [{"x": object()}, {"x": 1 << 64}, {"x": "\ud800"}, {"size": [1]}, {"size": {"a": 1}}, {"size": float("nan")}],
)
async def test_what_cannot_be_stored_fails_its_own_call_whole(things: Collection, body: dict[str, Any]) -> None:
    bad = things.put([Document("good", {"n": 1}), Document("bad", body)])
    others = [things.put([Document(f"other{n}", {"n": n})]) for n in range(20)]
    failure, *outcomes = await asyncio.gather(bad, *others, return_exceptions=True)
    assert isinstance(failure, Exception)
    assert not isinstance(failure, StoreUnavailable)
    assert [outcome.saved for outcome in outcomes] == [[f"other{n}"] for n in range(20)]
    assert await things.get(["good", "bad"]) == {}


async def test_big_batches(things: Collection) -> None:
    documents = [Document(f"{n:05}", {"size": n, "text": "x" * 200}) for n in range(2500)]
    assert len((await things.put(documents)).saved) == 2500
    for document in documents:
        document.body["size"] += 1
    stale = [Document(document.id, {}, 1) for document in documents[:10]]
    result = await things.put([*stale, *documents[10:]])
    assert (len(result.saved), len(result.conflicted)) == (2490, 10)
    assert len(await things.get([document.id for document in documents])) == 2500
    assert await things.count("by_size", at_least=11) == 2490
    assert await things.delete([document.id for document in documents]) == 2500


async def test_delete_tells_how_many_there_were(things: Collection) -> None:
    await added(things, a={"size": 1}, b={"size": 2}, c={"size": 3})
    assert await things.delete(["a", "c", "missing"]) == 2
    assert await things.delete(["a"]) == 0
    assert await all_of(things, "by_size") == ["b"]


async def test_collections_are_apart(database: Database) -> None:
    await added(database.collection(THINGS), a={"n": 1})
    await added(database.collection(BARE), a={"n": 2})
    assert (await database.collection(THINGS).get(["a"]))["a"].body == {"n": 1}
    assert (await database.collection(BARE).get(["a"]))["a"].body == {"n": 2}


ODD_IDS = ["plain", "with space", "a/b.c$d", "ünïcødé", "日本", "😀", "'quoted'", '"double"', "\\", "\x01\n", "123", ""]


async def test_ids_are_any_text(things: Collection) -> None:
    documents = [Document(id_, {"size": n}) for n, id_ in enumerate(ODD_IDS)]
    assert (await things.put(documents)).saved == ODD_IDS
    assert {id_: found.body["size"] for id_, found in (await things.get(ODD_IDS)).items()} == {
        id_: n for n, id_ in enumerate(ODD_IDS)
    }
    assert (await things.put(documents)).saved == ODD_IDS
    assert [document.id for document in (await things.scan(limit=100)).documents] == sorted(ODD_IDS)
    assert await things.delete(ODD_IDS) == len(ODD_IDS)


@pytest.mark.parametrize("id_", ["a\0b", "\ud800"])
async def test_but_not_what_no_engine_can_hold(things: Collection, id_: str) -> None:
    with pytest.raises(ValueError):
        await things.put([Document(id_, {})])
    with pytest.raises(ValueError):
        await things.get([id_])
    with pytest.raises(ValueError):
        await things.delete([id_])


BODIES: dict[str, dict[str, Any]] = {
    "empty": {},
    "none": {"x": None},
    "booleans": {"x": [True, False]},
    "integers": {"x": [0, -1, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63)]},
    "floats": {"x": [0.0, 0.1, -1.5e300, 5e-324, 0.1 + 0.2, float("inf")]},
    "text": {"x": ["", "ünï", "😀", "nul\0inside", "x" * 100_000]},
    "bytes": {"x": [b"", b"\0\xff\xfe", bytes(range(256))]},
    "nested": {"x": {"y": [{"z": {"deep": [[], {}, [None]]}}]}},
    "keys": {"_id": "other", "rev": 7, "id": "third", "a.b": 1, "$set": 2, "": 3, "ключ": 4},
    "indexed": {"size": 3, "group": "g", "at": 2**40},
}


@pytest.mark.parametrize("kind", BODIES)
async def test_a_body_comes_back_as_it_was(things: Collection, kind: str) -> None:
    await added(things, **{kind: BODIES[kind]})
    found = (await things.get([kind]))[kind].body
    assert found == BODIES[kind]
    assert list(found) == list(BODIES[kind])
    assert repr(found) == repr(BODIES[kind])
    assert bson.encode(found) == bson.encode(BODIES[kind])


# --- indexes ----------------------------------------------------------------------------------------------------------


async def test_an_index_has_the_documents_with_a_value_in_all_its_fields(things: Collection) -> None:
    await added(things, both={"group": "g", "at": 1}, one={"group": "g"}, none={}, null={"group": "g", "at": None})
    assert await all_of(things, "by_group") == ["both"]
    assert await all_of(things, "by_group", "g") == ["both"]
    assert await things.count("by_group", "g") == 1


async def test_a_document_leaves_and_enters_an_index_with_its_field(things: Collection) -> None:
    documents = await added(things, absent={"size": 1}, null={"size": 2}, stays={"size": 3}, enters={})
    documents["absent"].body = {}
    documents["null"].body = {"size": None}
    documents["enters"].body = {"size": 0}
    await things.put(list(documents.values()))
    assert await all_of(things, "by_size") == ["enters", "stays"]
    assert await things.count("by_size") == 2
    assert (await things.get(["null"]))["null"].body == {"size": None}


async def test_a_document_moves_within_an_index(things: Collection) -> None:
    documents = await added(things, a={"size": 1}, b={"size": 2})
    documents["a"].body = {"size": 3}
    await things.put([documents["a"]])
    assert await all_of(things, "by_size") == ["b", "a"]


async def test_fields_may_have_any_name(things: Collection) -> None:
    await added(things, a={"id": "x", "rev": 2}, b={"id": "x", "rev": 1})
    assert await all_of(things, "by_id", "x") == ["b", "a"]


async def test_order_is_by_fields_then_id(things: Collection) -> None:
    sizes = {"d": 1, "a": 2, "c": 2, "b": 2, "e": 0}
    await added(things, **{id_: {"size": size} for id_, size in sizes.items()})
    assert await all_of(things, "by_size") == ["e", "d", "a", "b", "c"]
    assert await all_of(things, "by_size", descending=True) == ["c", "b", "a", "d", "e"]


async def test_ranges_have_their_lower_end_and_not_their_upper(things: Collection) -> None:
    await added(things, **{f"n{n}": {"size": n} for n in range(6)})
    assert await all_of(things, "by_size", at_least=2) == ["n2", "n3", "n4", "n5"]
    assert await all_of(things, "by_size", below=2) == ["n0", "n1"]
    assert await all_of(things, "by_size", at_least=2, below=4) == ["n2", "n3"]
    assert await all_of(things, "by_size", at_least=2, below=4, descending=True) == ["n3", "n2"]
    assert await all_of(things, "by_size", at_least=4, below=2) == []
    assert await all_of(things, "by_size", 3) == ["n3"]
    assert await things.count("by_size", at_least=2, below=4) == 2


async def test_a_prefix_of_fields_is_fixed_and_the_next_one_bounded(things: Collection) -> None:
    await added(things, **{f"{group}{at}": {"group": group, "at": at} for group in ("g", "h", "i") for at in (3, 1, 2)})
    assert await all_of(things, "by_group", "h") == ["h1", "h2", "h3"]
    assert await all_of(things, "by_group", "h", at_least=2) == ["h2", "h3"]
    assert await all_of(things, "by_group", "h", 2) == ["h2"]
    assert await all_of(things, "by_group", "h", below=3, descending=True) == ["h2", "h1"]
    assert await all_of(things, "by_group", at_least="h", below="i") == ["h1", "h2", "h3"]
    assert await all_of(things, "by_group", descending=True) == ["i3", "i2", "i1", "h3", "h2", "h1", "g3", "g2", "g1"]
    assert await things.count("by_group", "h", at_least=2) == 2
    assert await things.count("by_group", at_least="h") == 6


VALUES: dict[str, list[Value]] = {
    "int": [-(2**63), -1, 0, 1, 2**31, 2**40, 2**63 - 1],
    "float": [float("-inf"), -1.5, 0.0, 1e-9, 0.1, 0.1 + 0.2, 0.5, float("inf")],
    "str": ["", "\x01", "A", "B", "a", "aa", "nul\0", "nul\0a", "z", "é", "日", "\ufffd", "😀"],
    "bool": [False, True],
    "bytes": [b"\x00\x00", b"\x00\xff", b"a\x00", b"\xff\xff"],
}


@pytest.mark.parametrize("kind", VALUES)
async def test_values_of_each_type_have_their_order(things: Collection, kind: str) -> None:
    values = VALUES[kind]
    shuffled = random.Random(1).sample(list(enumerate(values)), len(values))
    await added(things, **{f"v{n:02}": {"size": value} for n, value in shuffled})
    ids = [f"v{n:02}" for n in range(len(values))]
    assert await all_of(things, "by_size") == ids
    for n, value in enumerate(values):
        assert await all_of(things, "by_size", value) == [ids[n]]
        assert await all_of(things, "by_size", at_least=value) == ids[n:]
        assert await all_of(things, "by_size", below=value) == ids[:n]
    assert await paged(things, "by_size", size=1) == ids
    assert await paged(things, "by_size", size=1, descending=True) == ids[::-1]


async def test_asking_what_an_index_cannot_answer_is_a_mistake(things: Collection) -> None:
    with pytest.raises(ValueError, match="no index"):
        await things.query("unknown", limit=1)
    with pytest.raises(ValueError, match="fields"):
        await things.query("by_size", 1, at_least=2, limit=1)
    with pytest.raises(ValueError, match="fields"):
        await things.count("by_size", 1, 2)
    with pytest.raises(ValueError, match="room"):
        await things.query("by_size", limit=0)
    with pytest.raises(ValueError, match="room"):
        await things.scan(limit=0)


# --- pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("size", [1, 3, 7, 30])
async def test_pages_make_the_whole_without_gap_or_repetition(things: Collection, size: int, descending: bool) -> None:
    await added(things, **{f"d{n:02}": {"group": f"g{n % 3}", "at": n % 4} for n in range(30)})
    for equal, bounds in [((), {}), (("g1",), {}), (("g1",), {"at_least": 1, "below": 3}), (("g1", 2), {})]:
        whole = await all_of(things, "by_group", *equal, descending=descending, **bounds)
        assert await paged(things, "by_group", *equal, size=size, descending=descending, **bounds) == whole
    assert await paged(things, "by_group", size=size, at_least="g1", descending=descending) == await all_of(
        things, "by_group", at_least="g1", descending=descending
    )


async def test_the_last_page_says_so(things: Collection) -> None:
    await added(things, a={"size": 1}, b={"size": 2})
    assert (await things.query("by_size", limit=2)).next == ""
    assert (await things.query("by_size", limit=1)).next != ""
    assert (await things.scan(limit=2)).next == ""
    assert (await things.scan(limit=1)).next != ""
    assert (await things.query("by_size", 99, limit=1)).next == ""


async def test_paging_sees_what_was_there_however_much_is_added_meanwhile(things: Collection) -> None:
    await added(things, **{f"old{n:03}": {"size": n} for n in range(60)})
    adding = True

    async def add() -> None:
        for round_ in range(1000):
            if not adding:
                return
            await things.put([Document(f"new{round_}-{n}", {"size": n * 7 % 60}) for n in range(5)])

    writer = asyncio.create_task(add())
    by_size = await paged(things, "by_size", size=7)
    by_id: list[str] = []
    page = await things.scan(limit=7, prefix="old")
    while True:
        by_id += [document.id for document in page.documents]
        if not page.next:
            break
        page = await things.scan(limit=7, prefix="old", after=page.next)
    adding = False
    await writer
    expected = [f"old{n:03}" for n in range(60)]
    assert [id_ for id_ in by_size if id_.startswith("old")] == expected
    assert len(set(by_size)) == len(by_size)
    assert by_id == expected


async def test_a_page_goes_on_where_its_last_document_was_even_if_that_is_gone(things: Collection) -> None:
    await added(things, a={"size": 1}, b={"size": 2}, c={"size": 3})
    page = await things.query("by_size", limit=2)
    await things.delete(["b"])
    rest = await things.query("by_size", limit=2, after=page.next)
    assert [document.id for document in rest.documents] == ["c"]


async def test_a_cursor_travels_in_urls_and_cannot_widen_a_range(things: Collection) -> None:
    await added(things, **{f"d{n}": {"size": n} for n in range(9)})
    early = (await things.query("by_size", limit=2)).next
    assert early.replace("-", "").replace("_", "").isalnum()
    assert await all_of(things, "by_size", at_least=5, below=7, after=early) == ["d5", "d6"]
    assert await all_of(things, "by_size", at_least=5, below=7, after=early, descending=True) == []


async def test_only_a_cursor_of_the_same_list_will_do(things: Collection) -> None:
    await added(things, **{f"d{n}": {"size": n, "group": "g", "at": n} for n in range(9)})
    by_size = (await things.query("by_size", limit=2)).next
    by_group = (await things.query("by_group", limit=2)).next
    by_id = (await things.scan(limit=2)).next
    garbage = ["x", "!", "ü", "AAAA", by_size[:-4], by_size + "AAAA", "=" + by_size, "\ud800", " ", "a" * 10_000]
    for after in [*garbage, by_group, by_id]:
        with pytest.raises(InvalidPageToken):
            await things.query("by_size", limit=2, after=after)
    for after in [*garbage, by_size]:
        with pytest.raises(InvalidPageToken):
            await things.scan(limit=2, after=after)
    with pytest.raises(InvalidPageToken):
        await things.query("by_group", "g", limit=2, after=by_group)


async def test_scan_is_by_id_and_by_prefix(things: Collection) -> None:
    ids = ["a", "a/", "a/1", "a/2", "a/\U0010ffff", "a0", "b", "b/1", "\ud7ff", "\ud7ffx", "\ue000", "\U0010ffff"]
    await things.put([Document(id_, {}) for id_ in random.Random(2).sample(ids, len(ids))])
    for prefix in ["", "a", "a/", "a/1", "b", "c", "\ud7ff", "\U0010ffff", "a/\U0010ffff"]:
        expected = sorted(id_ for id_ in ids if id_.startswith(prefix))
        assert [document.id for document in (await things.scan(limit=100, prefix=prefix)).documents] == expected
        found: list[str] = []
        page = await things.scan(limit=2, prefix=prefix)
        while page.next:
            found += [document.id for document in page.documents]
            page = await things.scan(limit=2, prefix=prefix, after=page.next)
        assert found + [document.id for document in page.documents] == expected
        for last in ["", "a", "a/1", "a/1x", "a1", "\U0010ffff"]:
            page = await things.scan(limit=100, prefix=prefix, after=engine.scan_token("things", prefix, last))
            assert [document.id for document in page.documents] == [id_ for id_ in expected if id_ > last]


# --- many at once -----------------------------------------------------------------------------------------------------


async def test_no_update_is_lost(things: Collection) -> None:
    """Sixteen writers, each of whom counts to five in three documents with compare-and-set."""
    ids = ["x", "y", "z"]

    def increment(id_: str, found: Document | None) -> dict[str, Any]:
        return {"n": found.body["n"] + 1 if found else 1}

    async def write() -> None:
        done = dict.fromkeys(ids, 0)
        while pending := [id_ for id_ in ids if done[id_] < 5]:
            current = await things.get(pending)
            writes = [
                Document(id_, increment(id_, current.get(id_)), current[id_].rev if id_ in current else 0)
                for id_ in pending
            ]
            for id_ in (await things.put(writes)).saved:
                done[id_] += 1

    await asyncio.gather(*(write() for _ in range(16)))
    assert {id_: found.body["n"] for id_, found in (await things.get(ids)).items()} == dict.fromkeys(ids, 80)


async def test_change_loses_no_update(things: Collection) -> None:
    def increment(_: str, found: Document | None) -> dict[str, Any]:
        return {"n": found.body["n"] + 1 if found else 1}

    async def write() -> None:
        done = 0
        while done < 5:
            # It gives up after twelve lost races in a row, which one of sixteen may meet with; and has written nothing.
            with contextlib.suppress(Contention):
                await change(things, ["counter"], increment)
                done += 1

    await asyncio.gather(*(write() for _ in range(16)))
    assert (await things.get(["counter"]))["counter"].body == {"n": 80}


async def test_of_many_who_insert_one_id_one_does(things: Collection) -> None:
    results = await asyncio.gather(*(things.put([Document("a", {"n": n}), Document(f"b{n}", {})]) for n in range(16)))
    assert sorted(len(result.saved) for result in results) == [1] * 15 + [2]
    winner = next(n for n, result in enumerate(results) if "a" in result.saved)
    assert (await things.get(["a"]))["a"].body == {"n": winner}


async def test_a_caller_who_gives_up_disturbs_nobody(things: Collection) -> None:
    tasks = [asyncio.create_task(things.put([Document(f"d{n}", {"size": n})])) for n in range(40)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
    assert [outcome.saved for outcome in outcomes[1::2]] == [[f"d{n}"] for n in range(1, 40, 2)]


# --- the database -----------------------------------------------------------------------------------------------------


async def test_migrating_again_changes_nothing(database: Database, things: Collection) -> None:
    await added(things, a={"size": 1})
    await database.migrate([THINGS, BARE])
    await database.migrate([THINGS])
    await database.migrate([])
    assert await all_of(things, "by_size") == ["a"]


async def test_migrating_beside_writers_harms_nobody(database: Database, things: Collection) -> None:
    async def write(n: int) -> None:
        assert (await things.put([Document(f"d{n:02}", {"size": n})])).saved

    await asyncio.gather(*(write(n) for n in range(20)), database.migrate([THINGS]), database.migrate([THINGS, BARE]))
    assert await things.count("by_size") == 20


async def test_a_new_index_has_the_documents_that_were_there(database: Database) -> None:
    bare = database.collection(BARE)
    await added(bare, **{f"d{n:04}": {"rank": -n if n % 2 else None, "kind": "k"} for n in range(1500)})
    ranked = replace(BARE, indexes=(Index("by_rank", ("rank",)), Index("by_kind", ("kind", "rank"))))
    await database.migrate([ranked])
    collection = database.collection(ranked)
    assert await collection.count("by_rank") == 750
    assert (await all_of(collection, "by_kind", "k", below=-1490)) == [f"d{n}" for n in (1499, 1497, 1495, 1493, 1491)]


async def test_a_new_index_has_the_documents_that_are_put_meanwhile(database: Database) -> None:
    bare = database.collection(BARE)
    ranked = replace(BARE, indexes=(Index("by_rank", ("rank",)),))

    async def write(n: int) -> None:
        assert (await bare.put([Document(f"d{n:02}", {"rank": n})])).saved

    await asyncio.gather(*(write(n) for n in range(20)), database.migrate([ranked]), *(write(n) for n in range(20, 40)))
    assert await all_of(database.collection(ranked), "by_rank") == [f"d{n:02}" for n in range(40)]


async def test_versions_that_declare_different_indexes_keep_each_others(database: Database) -> None:
    """While a deployment rolls, or after it was rolled back, the old version writes what the new one reads."""
    ranked = replace(BARE, indexes=(Index("by_rank", ("rank",)),))
    graded = replace(BARE, indexes=(Index("by_rank", ("grade", "rank")),))
    await database.migrate([ranked])
    await database.migrate([graded])
    await added(database.collection(ranked), a={"rank": 2, "grade": 1})
    await added(database.collection(graded), b={"rank": 1, "grade": 2})
    assert await all_of(database.collection(ranked), "by_rank") == ["b", "a"]
    assert await all_of(database.collection(graded), "by_rank") == ["a", "b"]


async def test_a_database_answers_until_it_is_closed(database: Database, things: Collection) -> None:
    await database.ping()
    await database.close()
    await database.close()
    with pytest.raises(StoreUnavailable):
        await database.ping()
    with pytest.raises(StoreUnavailable):
        await things.get(["a"])
    with pytest.raises(StoreUnavailable):
        await things.put([Document("a", {})])


async def test_what_was_put_is_there_after_closing_and_opening(tmp_path: Path) -> None:
    for n in range(3):
        database = await SqliteDatabase.open(tmp_path / "documents.db")
        await database.migrate([THINGS])
        await added(database.collection(THINGS), **{f"d{n}": {"size": n}})
        assert await all_of(database.collection(THINGS), "by_size") == [f"d{m}" for m in range(n + 1)]
        await database.close()


async def test_a_mongodb_that_does_not_answer_is_unavailable(free_port: int) -> None:
    database = MongoDatabase(f"mongodb://127.0.0.1:{free_port}/", "nowhere", reach_seconds=0.1)
    collection = database.collection(THINGS)
    with pytest.raises(StoreUnavailable):
        await database.ping()
    with pytest.raises(StoreUnavailable):
        await collection.put([Document("a", {})])
    with pytest.raises(StoreUnavailable):
        await collection.query("by_size", limit=1)
    await database.close()


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port that is bound and never listened to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
