"""The proof of the instant: people change records and files of a site while snapshots of it are made.

Rules:

- A snapshot is judged past the product: its files and its BSON are read as they lie on the disk.
- Record *i* is there exactly when file *i* is; of each client a snapshot holds the changes up to one number, all of
  them and nothing of a later one; and no change is missing that had been answered before one that is there was asked.

>>> proof = prove(site, snapshots=30)       # doctest: +SKIP
>>> proof.wrong, proof.refused              # doctest: +SKIP
([], [])
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bson
from host import TOP, expected
from running import Answer, Running, ask


@dataclass(frozen=True, slots=True)
class Sent:
    """One change that a client asked for; times by the clock of this machine."""

    client: int
    number: int
    began: float
    ended: float
    answer: Answer

    @property
    def process(self) -> str:
        return self.answer.text.partition(" ")[0]

    @property
    def waited(self) -> float:
        """Seconds at the gate, as the host tells; 0 where it did not get that far."""
        return float(self.answer.text.partition(" ")[2]) if self.answer.status == 200 else 0.0


class Clients:
    """Threads that change the site, each one change after the other, at `rate` changes a second in all."""

    def __init__(self, port: int, clients: int = 8, rate: float = 100.0, first: int = 0) -> None:
        self._port = port
        self._pause = clients / rate
        self._stop = threading.Event()
        names = range(first, first + clients)
        self._sent: dict[int, list[Sent]] = {one: [] for one in names}
        self._threads = [threading.Thread(target=self._change, args=(one,)) for one in names]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _change(self, client: int) -> None:
        number, due = 0, time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._pause, time.monotonic() - 1.0)  # who had to wait catches up, but not for ever
            began = time.monotonic()
            answer = ask(self._port, "POST", f"/change/{client}/{number}")
            self._sent[client].append(Sent(client, number, began, time.monotonic(), answer))
            if answer.status != 200:
                return  # it is not known what of it was done
            number += 1

    def sent(self) -> list[Sent]:
        """All that was asked for and answered so far."""
        return [one for of_client in self._sent.values() for one in of_client]


@dataclass
class Proof:
    """What was seen: `wrong` says of snapshots what must not be, `refused` which requests failed."""

    wrong: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    headers: list[dict[str, Any]] = field(default_factory=list)
    changes: int = 0
    seconds: float = 0.0
    longest_wait: float = 0.0  # at the gate
    longest_answer: float = 0.0
    processes: int = 0

    @property
    def longest_closed(self) -> float:
        return max(float(header["gate"]["closed_seconds"]) for header in self.headers)


def prove(site: Running, snapshots: int, *, clients: int = 8, rate: float = 100.0) -> Proof:
    """Make snapshots while clients change the site; look at every one of them."""
    proof = Proof()
    began = time.monotonic()
    with Clients(site.port, clients, rate) as changing:
        made = []
        for number in range(snapshots):
            time.sleep(0.05 + 0.1 * (number % 4))
            asked = time.monotonic()
            job = site.make()
            made.append((job, asked, time.monotonic()))
        time.sleep(0.3)
    sent = changing.sent()
    proof.seconds = time.monotonic() - began
    for job, asked, answered in made:
        if job.outcome is None or job.outcome.status.value != "done":
            proof.wrong.append(f"job {job.id}: {job.outcome}")
            continue
        folder = site.folder(job)
        proof.headers.append(site.header(job))
        heads, wrong = torn(folder)
        wrong += holes(sent, heads, asked, answered)
        proof.wrong += [f"{folder.name}: {one}" for one in wrong]
    proof.refused = [f"{one.client}-{one.number}: {one.answer}" for one in sent if one.answer.status != 200]
    proof.changes = len(sent)
    proof.longest_wait = max(one.waited for one in sent)
    proof.longest_answer = max(one.answer.seconds for one in sent)
    proof.processes = len({one.process for one in sent if one.answer.status == 200})
    return proof


def torn(folder: Path) -> tuple[dict[int, int], list[str]]:
    """The last change of each client that a stored snapshot holds, and what does not fit to it."""
    wrong = []
    records = _records(folder)
    files = _files(folder)
    heads = {int(one["_id"]): int(one["last"]) for one in _documents(folder, "heads")}
    for client in sorted(heads.keys() | records.keys() | files.keys()):
        last, want = heads.get(client, -1), expected(heads.get(client, -1))
        numbers, stored = records.get(client, set()), files.get(client, {})
        if numbers != want:
            wrong.append(f"client {client} at {last}: records {_apart(numbers, want)}")
        if set(stored) != want | {-1}:
            wrong.append(f"client {client} at {last}: files {_apart(set(stored), want | {-1})}")
        texts = {number: f"change {number}\n" * (1 + number % 7) for number in want} | {-1: str(last)}
        for number in sorted(set(stored) & set(texts)):
            if stored[number] != texts[number]:
                wrong.append(f"client {client} at {last}: file {number} holds {stored[number][:40]!r}")
    return heads, wrong


def holes(sent: list[Sent], heads: dict[int, int], asked: float, answered: float) -> list[str]:
    """Where the order of changes has a hole below the instant.

    Parameters
    ----------
    asked, answered: when the snapshot was ordered and when it was there.
    """
    wrong = []
    held = [one for one in sent if one.number <= heads.get(one.client, -1)]
    missing = [one for one in sent if one.number > heads.get(one.client, -1)]
    newest = max((one.began for one in held), default=0.0)
    for one in missing:
        if one.answer.status == 200 and one.ended < max(newest, asked):
            wrong.append(f"{one.client}-{one.number} is missing, which was answered before the instant")
    wrong += [f"{one.client}-{one.number} is there, which came later" for one in held if one.began > answered]
    return wrong


def _apart(found: set[int], want: set[int]) -> str:
    return f"lack {sorted(want - found)}, have too many {sorted(found - want)}"


def _documents(folder: Path, collection: str) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError), (folder / f"db/bson/{collection}.bson").open("rb") as file:
        yield from bson.decode_file_iter(file)


def _records(folder: Path) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for one in _documents(folder, TOP):
        found[one["client"]].add(one["number"])
    return found


def _files(folder: Path) -> dict[int, dict[int, str]]:
    """Per client the texts of its changes by number; -1 is the number of its last change."""
    found: dict[int, dict[int, str]] = defaultdict(dict)
    for path in sorted((folder / "files" / TOP).glob("*/*")):
        number = -1 if path.name == "last" else int(path.stem) if path.suffix == ".txt" else -2
        found[int(path.parent.name)][number] = path.read_text()
    return found
