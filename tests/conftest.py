"""Fixtures of all tests: a real mongod per test process, and fresh databases in it for each test."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_child import Crasher
from mongod import Mongod, roomy
from pymongo import MongoClient
from pymongo.database import Database
from sweep import short_transactions
from world import World, new_world


def pytest_configure() -> None:
    """Programs that tests start hear Ctrl-C, also where the tests run in the background of a shell that ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings come from the test alone; only the place of real data may be given from outside."""
    for key in list(os.environ):
        if key.startswith("KEYFRAME_") and key != "KEYFRAME_REAL_DATA":
            monkeypatch.delenv(key)


# The files that take longest, from four minutes to one: they are begun first, so that no process is left with one of
# them when the other has nothing more to do. One that does not stand here is begun later.
LONG = (
    "fault_sweep", "browser", "up", "crash", "shared", "crash_recovery", "crash_make", "cli", "instant", "helpers",
    "benchmarks", "copy_beside", "faults_outside", "forged", "reduced", "restore_doc", "records", "pages", "selections",
    "collections", "matching", "forged_dumps", "format", "conflicts",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files; within a file the order stays."""
    places = {f"test_{name}.py": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """The server of this test process; each process of pytest-xdist has its own."""
    with roomy(tmp_path_factory.mktemp("mongod")) as folder:
        server = Mongod(folder)
        try:
            yield server.start()
        finally:
            server.stop()


@pytest.fixture(scope="session")
def mongo_uri(mongod: Mongod) -> str:
    return mongod.uri


@pytest.fixture(scope="session")
def mongo_client(mongo_uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        yield client


@pytest.fixture
def database(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    """The application's database, fresh; its control database has the name that settings give it by default."""
    name = f"test_{secrets.token_hex(6)}"
    yield mongo_client[name]
    mongo_client.drop_database(name)
    mongo_client.drop_database(f"{name}_control")


@pytest.fixture
def control_database(database: Database[dict[str, Any]]) -> Database[dict[str, Any]]:
    """The control database beside `database`, dropped with it."""
    return database.client[f"{database.name}_control"]


@pytest.fixture
def world(mongo_uri: str, tmp_path: Path) -> Iterator[World]:
    """A small site to break, in fresh databases and folders."""
    with new_world(mongo_uri, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def crasher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crasher]:
    """The program that forks the processes which die."""
    program = Crasher(tmp_path_factory.mktemp("traces"))
    yield program
    program.close()


@pytest.fixture(scope="module")
def quick_transactions(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[None]:
    """The server forgets the transaction of a killed process soon; whoever recovers waits for that."""
    with short_transactions(mongo_client):
        yield
