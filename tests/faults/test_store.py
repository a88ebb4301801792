"""The embedded engine in its worst moments: what it acknowledged is there, what it refused isn't, and it goes on."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from services.chassis.documents import Collection, Document, Index, Owner, PutResult, Schema
from services.chassis.errors import StoreUnavailable
from services.chassis.sqlite import SqliteDatabase

THINGS = Schema("things", (Index("by_n", ("n",)),), owner=Owner.SERVICE)
MIB = 1 << 20
TEXT = "x" * 1000


@asynccontextmanager
async def things(path: Path, max_bytes: int | None = None) -> AsyncIterator[Collection]:
    database = await SqliteDatabase.open(path, max_bytes=max_bytes)
    try:
        await database.migrate([THINGS])
        yield database.collection(THINGS)
    finally:
        await database.close()


async def everything(collection: Collection) -> dict[str, Document]:
    return {document.id: document for document in (await collection.scan(limit=1_000_000)).documents}


async def whole(collection: Collection) -> dict[str, Document]:
    """All documents, having seen that the index agrees with them."""
    found = await everything(collection)
    indexed = (await collection.query("by_n", limit=1_000_000)).documents
    assert {document.id: document for document in indexed} == found
    return found


# --- kill -9 ----------------------------------------------------------------------------------------------------------

WRITER = """
import asyncio, sys
from pathlib import Path
from services.chassis.documents import Document, Index, Owner, Schema
from services.chassis.sqlite import SqliteDatabase

async def main(path, generation):
    things = Schema("things", (Index("by_n", ("n",)),), owner=Owner.SERVICE)
    database = await SqliteDatabase.open(Path(path))
    await database.migrate([things])
    collection = database.collection(things)

    async def write(writer):
        document = Document(f"{generation}/{writer}/counter", {"n": 0})
        for batch in range(1_000_000):
            document.body = {"n": batch}
            new = [Document(f"{generation}/{writer}/{batch}/{n}", {"n": batch, "text": "x" * 200}) for n in range(20)]
            result = await collection.put([document, *new])
            assert len(result.saved) == 21, result
            print(writer, batch, flush=True)

    await asyncio.gather(*(write(writer) for writer in range(4)))

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def writing(path: Path, generation: int) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """A child that writes, and the lines it prints; killed at the end, if it wasn't before."""
    command = [sys.executable, "-c", WRITER, str(path), str(generation)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as child:
        assert child.stdout is not None
        try:
            yield child, child.stdout
        finally:
            child.kill()


def written_until_killed(path: Path, generation: int, batches: int) -> dict[int, int]:
    """Let a child write until it has acknowledged so many batches, kill it, and tell the last batch of each writer."""
    acknowledged: dict[int, int] = {}
    with writing(path, generation) as (child, lines):
        for count, line in enumerate(lines):
            if count == batches:
                child.kill()  # and read on: what it has said until then counts
            writer, _, batch = line.rstrip("\n").partition(" ")
            if batch and line.endswith("\n"):
                acknowledged[int(writer)] = int(batch)
    assert child.returncode == -signal.SIGKILL
    return acknowledged


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "documents.db"
    acknowledged: dict[int, dict[int, int]] = {}
    for generation, batches in enumerate([5, 40, 150, 77]):
        acknowledged[generation] = written_until_killed(path, generation, batches)
        async with things(path) as collection:
            found = await whole(collection)
        for past, writers in acknowledged.items():
            for writer, last in writers.items():
                for batch in range(last + 1):
                    assert all(f"{past}/{writer}/{batch}/{n}" in found for n in range(20))
                assert found[f"{past}/{writer}/counter"].body["n"] >= last


async def test_a_killed_process_leaves_no_lock_and_a_living_one_does(tmp_path: Path) -> None:
    path = tmp_path / "documents.db"
    with writing(path, 0) as (child, lines):
        next(lines)
        with pytest.raises(StoreUnavailable, match=rf"open in another process \(pid {child.pid}\)"):
            await SqliteDatabase.open(path)
    async with things(path) as collection:
        assert await whole(collection)


async def test_one_process_opens_a_file_once(tmp_path: Path) -> None:
    path = tmp_path / "documents.db"
    async with things(path):
        with pytest.raises(StoreUnavailable, match=str(os.getpid())):
            await SqliteDatabase.open(path)
    async with things(path) as collection:
        assert await everything(collection) == {}


# --- no space ---------------------------------------------------------------------------------------------------------


async def fill(collection: Collection) -> list[str]:
    """Put batches until the store is full. The ids of what was acknowledged."""
    kept: list[str] = []
    for batch in range(10_000):
        documents = [Document(f"{batch:04}/{n}", {"n": n, "text": TEXT}) for n in range(50)]
        try:
            kept += (await collection.put(documents)).saved
        except StoreUnavailable:
            assert all(document.rev == 0 for document in documents)
            return kept
    raise AssertionError("it never got full")


async def test_a_full_store_refuses_whole_batches_and_keeps_the_rest(tmp_path: Path) -> None:
    async with things(tmp_path / "documents.db", MIB) as collection:
        kept = await fill(collection)
        assert len(kept) > 100
        assert sorted(await whole(collection)) == sorted(kept)


async def test_a_full_store_takes_writes_again_when_something_is_deleted(tmp_path: Path) -> None:
    async with things(tmp_path / "documents.db", MIB) as collection:
        kept = await fill(collection)
        assert await collection.delete(kept[:200]) == 200
        assert len((await collection.put([Document(f"new{n}", {"n": n}) for n in range(100)])).saved) == 100
        assert len(await whole(collection)) == len(kept) - 100


async def test_a_full_store_takes_writes_again_when_its_bound_is_raised(tmp_path: Path) -> None:
    async with things(tmp_path / "documents.db", MIB) as collection:
        kept = await fill(collection)
    async with things(tmp_path / "documents.db", 2 * MIB) as collection:
        assert len((await collection.put([Document(f"new{n}", {"n": n}) for n in range(100)])).saved) == 100
        assert len(await whole(collection)) == len(kept) + 100


async def test_a_write_too_big_for_the_space_left_fails_alone(tmp_path: Path) -> None:
    async with things(tmp_path / "documents.db", MIB) as collection:
        await collection.put([Document("old", {"n": 0})])
        big = collection.put([Document(f"big{n}", {"n": n, "text": TEXT}) for n in range(2000)])
        small = [collection.put([Document(f"small{n}", {"n": n})]) for n in range(10)]
        failure, deleted, *outcomes = await asyncio.gather(
            big, collection.delete(["old"]), *small, return_exceptions=True
        )
        assert isinstance(failure, StoreUnavailable)
        assert deleted == 1
        assert all(isinstance(outcome, PutResult) and outcome.saved for outcome in outcomes)
        assert sorted(await whole(collection)) == [f"small{n}" for n in range(10)]


@contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """What a full disk does: writes fail in the midst of a commit. A soft limit, so that it can be lifted again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_commit_that_fails_undoes_all_and_the_next_one_is_well(tmp_path: Path) -> None:
    path = tmp_path / "documents.db"
    async with things(path) as collection:
        kept = [Document(f"kept{n}", {"n": n, "text": TEXT}) for n in range(100)]
        await collection.put(kept)
        for attempt in range(3):
            log_bytes = path.with_name(path.name + "-wal").stat().st_size
            with no_file_grows_beyond(log_bytes + 10_000):
                for document in kept:
                    document.body["n"] += 1
                with pytest.raises(StoreUnavailable):
                    await collection.put([*kept, *(Document(f"lost{n}", {"n": n, "text": TEXT}) for n in range(100))])
                assert {found.body["n"] - int(id_[4:]) for id_, found in (await whole(collection)).items()} == {attempt}
            assert len((await collection.put(kept)).saved) == 100
            assert {found.body["n"] - int(id_[4:]) for id_, found in (await whole(collection)).items()} == {attempt + 1}
    async with things(path) as collection:
        assert len(await whole(collection)) == 100


async def test_a_ping_tells_whether_it_can_be_written(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(tmp_path / "documents.db")
    await database.ping()
    with no_file_grows_beyond(100), pytest.raises(StoreUnavailable):
        await database.ping()
    await database.ping()
    await database.close()


async def test_a_mistake_is_shown_as_one(tmp_path: Path) -> None:
    """And not as an outage, which would be retried for ever."""
    database = await SqliteDatabase.open(tmp_path / "documents.db")
    with pytest.raises(LookupError, match="migrate"):
        await database.collection(THINGS).put([Document("a", {})])
    with pytest.raises(Exception, match="no such table") as caught:
        await database.collection(THINGS).get(["a"])
    assert not isinstance(caught.value, StoreUnavailable)
    await database.close()
