"""`keyframe up` and the embedded database, with real processes: start, end, kill, and what it says when it cannot."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import mongod as server
import pytest
from keyframe.embedded import EmbeddedMongo, require_replica_set
from keyframe.errors import BusyError, SettingsError, UnavailableError
from keyframe.processes import Held, holder_of, is_alive, lock
from keyframe.run import running
from program import Up, call, free_port, until, up
from pymongo import MongoClient

# Of a machine that does nothing else; several test processes share two cores here.
SLOWER = 4


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Up]:
    with up(tmp_path / "var") as found:
        yield found


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that several tests look at, and none of them ends."""
    with up(tmp_path_factory.mktemp("steady") / "var") as found:
        found.start(KEYFRAME_SAMPLE__SIGN_IN="true").wait_until_healthy()
        yield found


def gone(one: Up) -> bool:
    return not one.processes()


def test_it_runs_database_worker_and_web_and_says_what_runs_in_a_file(steady: Up) -> None:
    run = steady.run

    assert run["pid"] == steady.pid
    assert run["address"] == f"http://127.0.0.1:{steady.port}"
    assert (run["database"], run["control_database"], run["run_mode"]) == ("keyframe", "keyframe_control", "pilot")
    assert run["working_dir"] == str(steady.var / "working")
    assert run["data_dir"] == str(steady.var / "data")
    assert stat.S_IMODE((steady.var / "run.json").stat().st_mode) == 0o600
    assert set(steady.parts()) == {"database", "worker", "web", "web.0", "web.1"}
    with MongoClient(run["mongo_uri"]) as client:
        assert client["keyframe"]["project"].count_documents({}) == 3


def test_it_says_on_one_screen_where_who_and_how(steady: Up) -> None:
    until(lambda: "Ctrl-C" in steady.said, 5, "the screen")

    said = steady.said

    assert len(said.splitlines()) <= 24
    for word in (f":{steady.port}", "organiser2", "curl -H", " make --site", str(steady.var / "working"), "a button"):
        assert word in said
    assert "token create --user admin)" in said
    shown = [line.split()[0] for line in said.partition("Who can sign in")[2].splitlines()[1:8]]
    assert shown == ["root", "admin", "organiser", "organiser2", "editor", "reader", "user"]


def test_parts_have_sessions_of_their_own_so_that_ctrl_c_reaches_the_parent_only(steady: Up) -> None:
    parts = steady.parts()

    assert len({os.getsid(pid) for pid in (steady.pid, parts["database"], parts["worker"], parts["web"])}) == 4


def test_a_second_start_says_which_process_holds_the_data(steady: Up) -> None:
    second = call(steady.var, "up", KEYFRAME_PORT=str(free_port()))

    assert second.returncode == 5
    assert f"process {steady.pid} (keyframe up)" in second.stderr
    assert "Traceback" not in second.stderr
    assert steady.health() == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_ends_everything_soon(one: Up, number: int) -> None:
    one.start()
    one.wait_until_healthy()

    code, seconds = one.stop(number)

    assert code == 0
    assert seconds < 10
    assert gone(one)
    assert not (one.var / "run.json").exists()


def test_the_end_comes_in_the_order_web_worker_database_and_a_second_ctrl_c_ends_it_at_once(one: Up) -> None:
    one.start()
    one.wait_until_healthy()
    parts = one.parts()
    os.kill(parts["worker"], signal.SIGSTOP)  # as a worker that is busy with a job

    os.kill(one.pid, signal.SIGINT)
    until(lambda: not is_alive(parts["web"]) and not is_alive(parts["web.0"]), 10, "the web server's end")
    until(lambda: "Ctrl-C ends it at once" in one.said, 10, "the reason for the wait")
    assert "A job" not in one.said, "none runs"
    assert is_alive(parts["worker"])
    assert is_alive(parts["database"])
    assert not (one.var / "run.json").exists()

    os.kill(one.pid, signal.SIGINT)
    began = time.monotonic()
    one.wait()
    assert time.monotonic() - began < 3
    assert gone(one)


def test_after_a_kill_of_the_parent_nothing_is_left_and_the_next_start_is_quick(one: Up) -> None:
    one.start()
    one.wait_until_healthy()

    os.kill(one.pid, signal.SIGKILL)
    one.wait()

    until(lambda: gone(one), 3, "the end of the orphans")
    assert running(one.var) is None, "what a killed run left behind says nothing"
    one.start()
    assert one.wait_until_healthy() < 4 * SLOWER


def test_after_a_kill_of_everything_the_next_start_just_works(one: Up) -> None:
    one.start()
    one.wait_until_healthy()
    before = one.run["mongo_uri"]

    for pid in (one.pid, *one.processes()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    one.wait()

    one.start()
    one.wait_until_healthy()
    assert one.run["mongo_uri"] == before


@pytest.mark.parametrize("part", ["worker", "web", "database"])
def test_a_part_that_dies_ends_everything_with_its_name(one: Up, part: str) -> None:
    one.start()
    one.wait_until_healthy()

    os.kill(one.parts()[part], signal.SIGKILL)

    assert one.wait(40) == 8
    name = {"web": "web server"}.get(part, part)
    assert f"The {name} was killed (signal 9)" in one.said
    assert one.said.index("was killed") < one.said.index("Ending.")
    assert "A job" not in one.said, "none runs"
    until(lambda: gone(one), 3, "the end of its processes")


def test_a_taken_port_is_said_in_one_sentence_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ended = call(tmp_path / "var", "up", KEYFRAME_PORT=str(port))

    assert ended.returncode == 8
    assert f"Port {port} is in use by another program" in ended.stderr
    assert not (tmp_path / "var" / "mongo").exists()


def test_a_host_that_is_not_of_this_machine_is_a_mistake_of_the_settings(tmp_path: Path) -> None:
    ended = call(tmp_path / "var", "up", KEYFRAME_HOST="192.0.2.1")

    assert ended.returncode == 2
    assert "192.0.2.1" in ended.stderr


def test_with_a_configured_database_none_is_embedded_and_no_sample_is_made(one: Up, mongo_uri: str) -> None:
    name = f"up_{secrets.token_hex(6)}"
    one.start(KEYFRAME_MONGO__URI=mongo_uri, KEYFRAME_MONGO__DATABASE=name)
    try:
        one.wait_until_healthy()

        assert "database" not in one.parts()
        assert one.run["mongo_uri"] == mongo_uri
        with MongoClient(mongo_uri) as client:
            assert client[name].list_collection_names() == []
        assert one.stop()[0] == 0
    finally:
        with MongoClient(mongo_uri) as client:
            client.drop_database(name)
            client.drop_database(f"{name}_control")


def test_in_prod_no_sample_is_made(one: Up) -> None:
    one.start(KEYFRAME_RUN_MODE="prod", KEYFRAME_SAMPLE__SIGN_IN="true")
    one.wait_until_healthy()

    with MongoClient(one.run["mongo_uri"]) as client:
        assert client["keyframe"].list_collection_names() == []
    assert "Who can sign in" not in one.said


# The embedded database


def test_the_database_keeps_its_port_and_moves_when_it_is_taken(tmp_path: Path) -> None:
    with EmbeddedMongo(tmp_path, "a test") as mongo:
        port = mongo.port
        with MongoClient(mongo.uri) as client:
            client.site.things.insert_one({"_id": 1})
    with EmbeddedMongo(tmp_path, "a test") as mongo:
        assert mongo.port == port

    # Another server there, of the same name even: ours must neither join nor reach it.
    with EmbeddedMongo(tmp_path / "other", "a test") as other:
        other_port = other.port
        (tmp_path / "mongo" / "port").write_text(f"{other_port}\n")
        with EmbeddedMongo(tmp_path, "a test") as mongo, MongoClient(mongo.uri) as client:
            assert mongo.port not in (port, other_port)
            assert client.nodes <= {("127.0.0.1", mongo.port)}
            assert client.site.things.count_documents({}) == 1
            client.site.things.insert_one({"_id": 2})
        with MongoClient(other.uri) as client:
            assert client.site.things.count_documents({}) == 0


def test_the_database_recovers_from_a_kill(tmp_path: Path) -> None:
    with EmbeddedMongo(tmp_path, "a test") as mongo:
        with MongoClient(mongo.uri) as client:
            client.site.things.insert_one({"_id": 1})
        assert mongo.process is not None
        mongo.process.kill()

    with EmbeddedMongo(tmp_path, "a test") as mongo, MongoClient(mongo.uri) as client:
        assert client.site.things.count_documents({}) == 1


def test_a_second_database_on_the_same_data_names_the_process_that_has_it(tmp_path: Path) -> None:
    with EmbeddedMongo(tmp_path, "a test"), pytest.raises(BusyError) as caught:
        EmbeddedMongo(tmp_path, "another").start()

    assert f"process {os.getpid()} (a test)" in caught.value.what


def test_a_machine_that_cannot_run_it_is_asked_for_mongo_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "mongod"
    monkeypatch.setattr("keyframe.embedded._binary", lambda: broken)
    said = {
        "#!/bin/sh\necho 'mongod: error while loading shared libraries: libcurl.so.4: cannot open' >&2; exit 127\n": (
            "apt-get install libcurl4"
        ),
        "#!/bin/sh\necho \"mongod: version 'GLIBC_2.35' not found\" >&2; exit 1\n": "GLIBC_2.35",
        "not a program": "does not run on this machine",
        "#!/bin/sh\nkill -ILL $$\n": "AVX",
        "#!/bin/sh\nexit 62\n": "exit 62",
    }

    for text, expected in said.items():
        broken.write_text(text)
        broken.chmod(0o755)
        with pytest.raises(UnavailableError) as caught:
            EmbeddedMongo(tmp_path, "a test").start()
        assert expected in str(caught.value)
        assert "mongo.uri" in caught.value.hint
    assert holder_of(tmp_path / "mongo" / "lock") is None


def test_a_standalone_server_is_refused_with_the_command_that_makes_it_a_replica_set(tmp_path: Path) -> None:
    port = free_port()
    argv = [server.binary(), "--dbpath", tmp_path, "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
    process = subprocess.Popen([str(word) for word in argv], stdout=subprocess.DEVNULL)
    uri = f"mongodb://127.0.0.1:{port}/"
    try:
        with MongoClient(uri) as client:
            client.admin.command("ping")

        with pytest.raises(SettingsError) as caught:
            require_replica_set(uri)

        assert "standalone" in caught.value.what
        assert "rs.initiate()" in caught.value.hint
        ended = call(tmp_path / "var", "up", KEYFRAME_MONGO__URI=uri, KEYFRAME_PORT=str(free_port()))
        assert ended.returncode == 2
        assert "rs.initiate()" in ended.stderr
        with pytest.raises(SettingsError) as caught:
            require_replica_set(f"{uri}?replicaSet=mine", timeout=0.5)
        assert "standalone" in caught.value.what
        assert "--replSet mine" in caught.value.hint
    finally:
        process.kill()
        process.wait()


def test_a_set_that_was_never_initiated_and_one_of_another_name_are_refused_with_what_to_do(tmp_path: Path) -> None:
    port = free_port()
    argv = [server.binary(), "--dbpath", tmp_path, "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
    process = subprocess.Popen([str(word) for word in [*argv, "--replSet", "mine"]], stdout=subprocess.DEVNULL)
    uri = f"mongodb://127.0.0.1:{port}/"
    try:
        with MongoClient(uri, directConnection=True) as client:
            client.admin.command("ping")

            for address in (uri, f"{uri}?replicaSet=mine"):
                with pytest.raises(SettingsError) as caught:
                    require_replica_set(address, timeout=0.5)
                assert "never initiated" in caught.value.what
                assert f"mongosh 127.0.0.1:{port} --eval 'rs.initiate()'" in caught.value.hint

            client.admin.command(
                "replSetInitiate", {"_id": "mine", "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]}
            )
        with pytest.raises(SettingsError) as caught:
            require_replica_set(f"{uri}?replicaSet=other", timeout=0.5)
        assert "replica set mine" in caught.value.what
        require_replica_set(f"{uri}?replicaSet=mine", timeout=20)
    finally:
        process.kill()
        process.wait()


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    for hosts in (f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"):
        with pytest.raises(UnavailableError, match=r"0\.2 s"):
            require_replica_set(f"mongodb://{hosts}/?replicaSet=rs", timeout=0.2)


def test_an_address_with_a_mistake_is_a_mistake_of_the_settings_and_no_password_is_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        require_replica_set("mongodb://u:hunter2@127.0.0.1:port/")

    assert "hunter2" not in str(caught.value)


# Locks


def test_a_lock_says_who_holds_it_and_is_free_after_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock(path, "a test"):
        holder = holder_of(path)
        assert holder is not None
        assert (holder.pid, holder.what) == (os.getpid(), "a test")
        with pytest.raises(Held), lock(path, "another", wait=0):
            pass

    assert holder_of(path) is None
    assert holder_of(tmp_path / "absent") is None
