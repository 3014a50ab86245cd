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
from mongod import Mongod
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


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """The server of this test process; each process of pytest-xdist has its own."""
    server = Mongod(tmp_path_factory.mktemp("mongod"))
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
