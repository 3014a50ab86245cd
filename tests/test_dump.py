"""Dumps: what did not change is taken over from the newest snapshot, and never what is damaged there."""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import ObjectId
from keyframe.backup.make import Make
from keyframe.errors import CancelledError, UnavailableError
from keyframe.model import CollectionEntry, OutcomeStatus, Reason, Scope, Snapshot
from keyframe.stores import json_file, json_pool
from keyframe.stores.blocks import Block, batch_of, blocks_of, whole_documents
from keyframe.stores.collection_info import CollectionInfo
from keyframe.stores.dump import CollectionWriter, Means
from keyframe.stores.json_file import JsonFile
from keyframe.stores.json_lines import lines_of
from keyframe.stores.json_pool import JsonPool
from keyframe.stores.older_dump import OlderDump
from keyframe.stores.raw import NotBsonError
from keyframe.stores.written import Written
from test_records import IDS, ODD, fill
from whole import documents, put, require_whole
from world import PROJECT, SITE, World

DONE, PARTIAL = OutcomeStatus.DONE, OutcomeStatus.PARTIAL
INFO = CollectionInfo("c", "collection", "{}", "[]", "")


@pytest.fixture
def no_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """All JSON is made by the helpers."""
    monkeypatch.setattr(json_pool, "_SMALL", 0)


def block(raws: list[bytes]) -> Block:
    raw = b"".join(raws)
    return Block(raw, whole_documents(raw))


def dump(folder: Path, raws: list[bytes], older: OlderDump | None = None, size: int = 7) -> CollectionEntry:
    """Dump these documents in blocks of `size`, as a snapshot's folder."""
    for name in ("bson", "json"):
        (folder / "db" / name).mkdir(parents=True)
    with JsonPool(2) as pool:
        writer = CollectionWriter(folder / "db", INFO, Means(pool, lambda _: older, lambda: None))
        for at in range(0, len(raws), size):
            writer.add(block(raws[at : at + size]))
        entry = writer.close()
    (folder / "snapshot.json").touch()
    return entry


def files(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "db/bson/c.bson").read_bytes(), (folder / "db/json/c.json").read_bytes()


def older_of(folder: Path, entry: CollectionEntry) -> OlderDump:
    older = OlderDump.of(folder, entry, with_json=True)
    assert older is not None
    return older


def inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in (folder / "db").rglob("c.*son") if "metadata" not in path.name}


# --- one dump after another


def changed(raws: list[bytes], chance: random.Random) -> list[bytes]:
    """Some documents gone, some altered, some new, at any place; whole stretches, too."""
    result: list[bytes] = []
    at = 0
    while at < len(raws):
        act = chance.choice(["keep"] * 6 + ["alter", "drop", "add", "drop many", "add many"])
        count = chance.randint(2, 40) if act.endswith("many") else chance.randint(1, 30) if act == "keep" else 1
        if act.startswith("add"):
            result += [bson.encode({"_id": ObjectId(chance.randbytes(12)), "new": n}) for n in range(count)]
            continue
        stretch = raws[at : at + count]
        at += count
        if act == "keep":
            result += stretch
        elif act == "alter":
            result += [bson.encode({**bson.decode(one), "altered": "x" * chance.randint(0, 99)}) for one in stretch]
    return result


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_a_dump_after_another_is_the_same_as_one_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, is_late: bool
) -> None:
    chance = random.Random(seed)
    if is_late:  # JSON cannot keep up, at whatever block
        rooms = random.Random(seed)
        monkeypatch.setattr(JsonFile, "has_room", lambda *_: rooms.random() < 0.9)
    kinds: list[Callable[[int], Any]] = [
        lambda n: n, lambda n: f"id {n:05}", lambda n: {"a": n}, lambda n: n / 7,
        lambda n: chance.choice(IDS[:9]) if n % 50 == 0 else ObjectId(f"{n:024x}"),
    ]  # fmt: skip
    kind = kinds[seed % len(kinds)]
    first = [bson.encode({"_id": kind(number), "n": number, "t": "y" * (number % 90)}) for number in range(400)]
    first = first + ODD if seed % 2 else ODD + first
    second = changed([one for one in first if one not in ODD], chance) + ODD[:: 1 + seed % 3]

    before = dump(tmp_path / "first", first)
    after = dump(tmp_path / "second", second, older_of(tmp_path / "first", before))
    anew = dump(tmp_path / "anew", second, size=33)

    assert files(tmp_path / "second") == files(tmp_path / "anew")
    assert after == anew
    assert after.json_inexact == len(after.json_named) > 0
    text = files(tmp_path / "second")[1].splitlines()
    for one in after.json_named:
        assert json.loads(text[one.line - 1])["_id"] == json.loads(one.id)


def test_nobody_who_reads_the_server_waits_for_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_file, "_MOST_WAITING", 10_000)
    raws = [bson.encode({"_id": number, "t": "y" * 90}) for number in range(3000)] + ODD
    wanted = dump(tmp_path / "wanted", raws)
    go_on, told = threading.Event(), []
    make = JsonPool.make

    def slow(pool: JsonPool, raw: bytes) -> Any:
        found: Future[Any] = Future()
        threading.Thread(target=lambda: (go_on.wait(30), found.set_result(make(pool, raw).result()))).start()
        return found

    monkeypatch.setattr(JsonPool, "make", slow)
    for name in ("bson", "json"):
        (tmp_path / "late/db" / name).mkdir(parents=True)
    with JsonPool(1) as pool:
        writer = CollectionWriter(tmp_path / "late/db", INFO, Means(pool, lambda _: None, lambda: None))
        for at in range(0, len(raws), 7):
            writer.add(block(raws[at : at + 7]))
        writer.end()
        assert writer.is_late
        assert files(tmp_path / "late")[0] == files(tmp_path / "wanted")[0]
        go_on.set()
        assert writer.close(told=told.append) == wanted
    assert files(tmp_path / "late") == files(tmp_path / "wanted")
    assert told == sorted(told) and told[-1] == len(raws)


def test_what_did_not_change_is_shared_and_no_json_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raws = [bson.encode({"_id": number}) for number in range(100)] + ODD
    before = dump(tmp_path / "first", raws)
    monkeypatch.setattr(JsonPool, "make", lambda *_: pytest.fail("JSON was made"))

    after = dump(tmp_path / "second", raws, older_of(tmp_path / "first", before))

    assert after == before
    assert inodes(tmp_path / "first") == inodes(tmp_path / "second")
    assert len(inodes(tmp_path / "second")) == 2


def test_of_what_changed_only_that_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raws = [bson.encode({"_id": number, "n": 0}) for number in range(300)]
    before = dump(tmp_path / "first", raws)
    made: list[bytes] = []
    make = JsonPool.make
    monkeypatch.setattr(JsonPool, "make", lambda pool, raw: (made.append(raw), make(pool, raw))[1])
    new = bson.encode({"_id": 150, "n": 1})

    dump(tmp_path / "second", [*raws[:40], *raws[45:150], new, *raws[151:]], older_of(tmp_path / "first", before))

    assert b"".join(made) == new


@pytest.mark.parametrize("grown", ["longer", "shorter", "empty"])
def test_a_dump_that_only_grew_or_shrank_is_no_other(tmp_path: Path, grown: str) -> None:
    raws = [bson.encode({"_id": number}) for number in range(50)]
    before = dump(tmp_path / "first", raws)
    now = {"longer": [*raws, bson.encode({"_id": 99})], "shorter": raws[:21], "empty": []}[grown]

    after = dump(tmp_path / "second", now, older_of(tmp_path / "first", before))
    anew = dump(tmp_path / "anew", now)

    assert after == anew
    assert files(tmp_path / "second") == files(tmp_path / "anew")


def flip(path: Path, at: int, *, keep_time: bool = True) -> None:
    """Alter one byte; the time as it was, as a bad disk leaves it."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [False, True], ids=["unchanged", "changed"])
@pytest.mark.parametrize("name", ["bson", "json"])
@pytest.mark.parametrize("where", [0, 1000, -1])
def test_damage_of_an_older_dump_is_not_inherited(tmp_path: Path, name: str, where: int, change: bool) -> None:
    raws = [bson.encode({"_id": number, "t": "text"}) for number in range(200)]
    before = dump(tmp_path / "first", raws)
    flip(tmp_path / f"first/db/{name}/c.{name}", where)
    new = [*raws[:100], bson.encode({"_id": 100, "t": "other"}), *raws[101:]] if change else raws

    after = dump(tmp_path / "second", new, older_of(tmp_path / "first", before))
    anew = dump(tmp_path / "anew", new)

    assert after == anew
    assert files(tmp_path / "second")[0] == files(tmp_path / "anew")[0]
    if change or name == "bson":  # an unchanged JSON file is not read
        assert files(tmp_path / "second")[1] == files(tmp_path / "anew")[1]


@pytest.mark.parametrize("name", ["bson", "json"])
@pytest.mark.parametrize("how", ["altered", "cut", "gone"])
def test_an_older_file_that_is_not_as_it_was_written_is_not_used(tmp_path: Path, name: str, how: str) -> None:
    before = dump(tmp_path / "first", [bson.encode({"_id": number}) for number in range(9)])
    path = tmp_path / f"first/db/{name}/c.{name}"
    if how == "altered":
        time.sleep(0.01)
        flip(path, 5, keep_time=False)
    elif how == "cut":
        os.truncate(path, 20)
    else:
        path.unlink()

    assert OlderDump.of(tmp_path / "first", before, with_json=True) is None


# --- helpers


def test_what_no_driver_can_decode_has_a_line_all_the_same() -> None:
    text = struct.pack("<i", 2) + b"a\0"
    empty = b"\x05b\0" + struct.pack("<i", 0) + b"\2"  # a binary of the old subtype, without the length inside
    body = b"\x02_id\0" + text + empty + b"\x02c\0" + text
    inside = b"\x03d\0" + struct.pack("<i", len(empty) + 5) + empty + b"\0"
    raws = [struct.pack("<i", len(one) + 5) + one + b"\0" for one in (body, body + inside)]
    raws.append(b"\x0d\0\0\0\x02a\0\xff\xff\xff\x7f\0")  # lengths that cannot be

    made = lines_of(b"".join(raws))

    first, second, third = (json.loads(line) for line in made.text.splitlines())
    assert first["_id"] == first["c"] == second["c"] == "a"
    assert "$binary" in first["b"] and "$binary" in second["d"] and "$binary" in third[""]
    assert [(line, ident) for line, ident, _ in made.inexact] == [(1, '"a"'), (2, '"a"'), (3, "null")]


def test_helpers_make_the_same_as_we_do(no_small: None) -> None:
    raws = [block([bson.encode({"_id": number, "t": "ü"}), *ODD]).raw for number in range(20)]

    with JsonPool(2) as pool:
        found = [one.result(30) for one in [pool.make(raw) for raw in raws]]

    assert found == [lines_of(raw) for raw in raws]


def test_helpers_end_with_the_pool_and_hold_nothing_of_ours(no_small: None, tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as file, JsonPool(1) as pool:
        os.set_inheritable(file.fileno(), False)
        pool.make(bson.encode({"_id": 1})).result(30)
        program = pool.programs.running[0]
        held = {os.readlink(one) for one in Path(f"/proc/{program.pid}/fd").iterdir()}
        nice = os.getpriority(os.PRIO_PROCESS, program.pid)
        name = file.name

    assert not any(name in one or "socket" in one for one in held)
    assert nice == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    assert program.poll() is not None


def test_a_lost_helper_is_an_error_and_no_hole(no_small: None) -> None:
    with JsonPool(1) as pool:
        pool.make(bson.encode({"_id": 1})).result(30)
        helper = pool.programs.running[0]
        time.sleep(0.5)  # it is done with that
        helper.send_signal(signal.SIGSTOP)
        asked = pool.make(bson.encode({"_id": 2}))
        time.sleep(0.5)  # the work is with it
        helper.kill()

        with pytest.raises(UnavailableError):
            asked.result(30)
        assert pool.make(bson.encode({"_id": 3})).result(30).text.count(b"\n") == 1


def test_helpers_die_with_their_parent() -> None:
    code = (
        "from keyframe.stores import json_pool; import bson, os, signal\n"
        "json_pool._SMALL = 0; pool = json_pool.JsonPool(1); pool.make(bson.encode({'_id': 1})).result(30)\n"
        "print(pool.programs.running[0].pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )

    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).stdout)

    until = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "(zombie)" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < until, "it lives on"
        time.sleep(0.05)


# --- whole snapshots


def linked(world: World, snapshot: Snapshot) -> dict[str, int]:
    return {
        path.name: path.stat().st_nlink for path in world.stored(snapshot).glob("db/*/*") if "metadata" not in path.name
    }


def test_a_second_snapshot_shares_the_collections_that_did_not_change(world: World, no_small: None) -> None:
    fill(world)
    first = world.make(SITE)
    world.db.edition.update_one({}, {"$set": {"title": "other"}})

    second = world.make(SITE)

    require_whole(world.stored(second), second)
    alone = {name for name, count in linked(world, second).items() if count == 1}
    assert alone == {"edition.bson", "edition.json"}
    world.db.odd.delete_many({})
    assert world.restore(first, SITE).status is DONE
    assert world.restore(second, SITE).status is DONE


@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
def test_without_json_there_is_none_and_everything_else_is_as_ever(world: World, scope: Scope) -> None:
    with_json = world.make(scope)
    engine = world.settings.engine.model_copy(update={"write_json": False})
    object.__setattr__(world.settings, "engine", engine)
    before = documents(world.db, "edition")

    snapshot = world.make(scope)
    world.db.edition.delete_many({})

    assert with_json.manifest_sha256 != snapshot.manifest_sha256
    assert not (world.stored(snapshot) / "db/json").exists()
    sums = ["sha256sum", "--quiet", "--strict", "-c", "manifest-sha256.txt"]
    assert subprocess.run(sums, cwd=world.stored(snapshot)).returncode == 0
    assert all(path.stat().st_nlink > 1 for path in world.stored(snapshot).glob("db/bson/*.bson"))
    assert world.restore(snapshot, scope).status is DONE
    if scope is SITE:
        assert documents(world.db, "edition") == before


def test_what_json_cannot_hold_exactly_is_named_in_the_manifest(world: World) -> None:
    put(world.db, "odd", *ODD)

    snapshot = world.make(SITE)

    rows = [json.loads(line) for line in (world.stored(snapshot) / "manifest.jsonl").read_bytes().splitlines()]
    odd = next(one for one in rows if one.get("collection") == "odd")
    reasons = {one["_id"]: one["reason"] for one in odd["json_named"]}
    assert reasons['"bad text"'] == "holds text that is not UTF-8"
    assert odd["json_inexact"] == len(odd["json_named"]) == len(reasons) < len(ODD)


class Stopping:
    """A watch that stops the work once `after` records were read."""

    def __init__(self, after: int) -> None:
        self._after = after
        self.asked = 0.0

    def progress(self, progress: Any) -> None:
        if progress.unit == "records" and progress.done > self._after:
            self.asked = self.asked or time.monotonic()
        self.check()

    def check(self) -> None:
        if self.asked:
            raise CancelledError("stopped")

    def confirm(self) -> None:
        """It is always ours."""

    @property
    def fence(self) -> None:
        return None


def test_a_dump_that_is_stopped_ends_at_once_and_leaves_nothing(world: World, no_small: None) -> None:
    for start in range(0, 20_000, 2000):
        world.db.many.insert_many([{"_id": number, "t": "x" * 400} for number in range(start, start + 2000)])
    watch = Stopping(5000)
    stores = world.office.work._backup._stores

    with pytest.raises(CancelledError):
        Make(stores, SITE, watch).run("x", Reason.MANUAL, "", "job")

    assert time.monotonic() - watch.asked < 1.0
    assert not {one.name for one in threading.enumerate()} & {"json", "json file", "read ahead"}
    assert not list((world.settings.repository / ".drafts").glob("*"))
    cursors = world.client.admin.aggregate([{"$currentOp": {"idleCursors": True}}, {"$match": {"type": "idleCursor"}}])
    assert not [one for one in cursors if one["ns"].startswith(world.db.name)]


# --- blocks


def test_a_reply_becomes_a_block_whatever_its_length() -> None:
    for count in (0, 1, 9, 10, 11, 99, 101, 1234):
        rows = [{"_id": number} for number in range(count)]
        found, number = batch_of(bson.encode({"ok": 1, "cursor": {"id": bson.Int64(7), "nextBatch": rows}}))

        assert (list(found.documents()), number) == ([bson.encode(one) for one in rows], 7)


@pytest.mark.parametrize("raw", [b"\5\0\0\0\0\5\0", b"\4\0\0\0\0\0\0\0", b"\xff\xff\xff\x7f\0"])
def test_a_file_that_is_not_documents_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "x.bson").write_bytes(raw)

    with pytest.raises(NotBsonError):
        list(blocks_of(tmp_path / "x.bson"))


def test_lines_are_taken_over_in_pieces_whatever_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raws = [bson.encode({"_id": number, "t": "x" * 2000}) for number in range(4000)]
    before = dump(tmp_path / "first", raws, size=500)
    written: list[int] = []
    write = Written.write
    monkeypatch.setattr(Written, "write", lambda out, raw: (written.append(len(raw)), write(out, raw))[1])
    raws.append(bson.encode({"_id": 5000}))

    after = dump(tmp_path / "second", raws, older_of(tmp_path / "first", before), size=500)

    assert after.documents == 4001
    assert sum(written) == after.bytes + after.json_bytes > 15_000_000
    assert max(written) < 3_000_000
