"""The benchmarks of snapshots and previews: ours as the job in the worker, and what a user would pick, in turn.

Rules:

- Ours is timed from the moment in which the worker takes the job to the one in which its end is noted, by the server's
  clock; the peer's command line as it is.
- Each repetition has fresh folders; nothing is deleted between runs. What was changed is older than two seconds.
- Before each run everything is written to the disk, and everything that is read lies in the page cache.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import peers
from keyframe.model import Job
from keyframe.settings import Settings
from measure import Measured, Sampler, cpu_seconds, disk_bytes, run_measured, settle
from pymongo import MongoClient
from pymongo.database import Database
from report import Part
from running import SITE, Running, fill_people
from workloads import Workload

_OLD_ENOUGH = 2.5  # seconds after a change; a small run does not wait
TEN_TIMES = ("F2x10", "D1x10")  # whose memory is of interest
_LONG = 30  # seconds
_HISTORY = 3600  # seconds
_AGAIN = 1000  # the number of the first change that is only previewed
_PREVIEW = "Keyframe, preview, 1 % changed"


@dataclass
class Bench:
    """Where things lie and how much is done. `server` is MongoDB's process id."""

    folder: Path
    uri: str
    server: int
    runs: int
    share: float
    closed: list[float] = field(default_factory=list)  # seconds that the gate was closed, of all snapshots made

    def settings(self, name: str, data: str) -> Settings:
        """Of the site of a workload, with a data directory of its own."""
        return Settings(
            var=self.folder / name / "var",
            working_dir=self.folder / name / "live",
            data_dir=self.folder / name / data,
            run_mode="test",
            mongo={"uri": self.uri, "database": f"bench_{name}"},  # type: ignore[arg-type]
            gate={"wait": 30, "closed_at_most": _LONG if name in TEN_TIMES else 5},  # type: ignore[arg-type]
        )

    def wait(self) -> None:
        """Until what was changed last is old enough for its stamps to be trusted."""
        if self.share == 1.0:
            time.sleep(_OLD_ENOUGH)

    def elsewhere(self, name: str, machine: str) -> Settings:
        """Of a machine that has nothing of a site but its data directory."""
        mongo = {"uri": self.uri, "database": f"bench_{name}_{machine}"}
        folder = self.folder / name / machine
        settings = self.settings(name, "data").model_copy(
            update={"var": folder / "var", "working_dir": folder / "live"}
        )
        return settings.model_copy(update={"mongo": settings.mongo.model_copy(update=mongo)})


def filled(bench: Bench, workload: Workload) -> Database[Any]:
    """The workload's database, filled, its files beside it."""
    settings = bench.settings(workload.name, "data")
    client: MongoClient[Any] = MongoClient(bench.uri)
    database = client[settings.mongo.database]
    client.drop_database(database.name)
    client.drop_database(settings.control_database)
    if workload.name != "S":  # the sample has people of its own
        fill_people(settings)
    workload.fill(settings, database, bench.share * workload.times)
    bench.wait()
    return database


def ours(bench: Bench, site: Running) -> Measured:
    """One snapshot, made by the worker."""
    assert site.worker is not None
    settle()
    server = cpu_seconds(bench.server)
    older = newest(site)
    with Sampler([site.worker.pid]) as sampler:
        job = site.make()
    server = cpu_seconds(bench.server) - server
    _require_good(job)
    folder = site.folder(job)
    is_new = folder != older
    if is_new:
        bench.closed.append(float(site.header(job)["gate"]["closed_seconds"]))
    disk = disk_bytes(folder, older) if is_new else 0
    return Measured(seconds_of(job), sampler.cpu, server, sampler.peak, disk)


def previewed(bench: Bench, site: Running) -> Measured:
    """A preview of restoring the newest snapshot, by the worker; what it writes is the plan."""
    assert site.worker is not None
    latest = newest(site)
    assert latest is not None
    settle()
    server = cpu_seconds(bench.server)
    with Sampler([site.worker.pid]) as sampler:
        job = site.preview(latest.name)
    server = cpu_seconds(bench.server) - server
    assert job.outcome is not None
    if job.outcome.report is None or not job.outcome.report["replaces"]["bytes"]:
        raise SystemExit(f"a preview found nothing: {job.outcome}")
    return Measured(seconds_of(job), sampler.cpu, server, sampler.peak, 0)


def seconds_of(job: Job) -> float:
    """From the moment in which the worker takes a job to the one in which its end is noted."""
    assert job.started_at is not None and job.ended_at is not None
    return (job.ended_at - job.started_at).total_seconds()


def newest(site: Running) -> Path | None:
    """The folder of the newest snapshot."""
    found = site.snapshots()
    return SITE.stored_folder(site.settings.repository) / found[0].name if found else None


def _require_good(job: Job) -> None:
    assert job.outcome is not None
    if job.outcome.status.value not in ("done", "unchanged"):
        raise SystemExit(f"a snapshot was not made: {job.outcome}")


def make_files(bench: Bench, workload: Workload) -> Part:
    """F1 or F2: first, nothing changed, one percent changed; against `cp` and `rsync`."""
    part = Part(workload.name, workload.what)
    database = filled(bench, workload)
    live = bench.settings(workload.name, "data").working
    first, rsync = "peer, first: cp -a, sync -f, sha256sum", "peer, 1 % changed: cp -al, rsync -a --delete, sha256sum"
    look = "peer, preview: rsync -ani --delete"
    for number in range(bench.runs):
        copies = bench.folder / workload.name / f"peer-{number}"
        copies.mkdir()
        settings = bench.settings(workload.name, f"data-{number}")
        with Running(settings, web=False) as site:
            part.add("Keyframe, first", ours(bench, site))
            settle()
            part.add(first, run_measured(peers.copy_first(live, copies / "0"), bench.server, copies / "0"))
            part.add("Keyframe, nothing changed", ours(bench, site))
            workload.change(settings, database, number)
            bench.wait()
            part.add("Keyframe, 1 % changed", ours(bench, site))
            if shutil.which("rsync") is None:
                continue
            settle()
            again = peers.copy_changed(live, copies / "0", copies / "1")
            part.add(rsync, run_measured(again, bench.server, copies / "1", copies / "0"))
            _change_again(bench, workload, database, number)
            part.add(_PREVIEW, previewed(bench, site))
            settle()
            part.add(look, run_measured(peers.look_at_files(copies / "1", live), bench.server, None))
    _file_goals(part, first, rsync, look)
    if shutil.which("rsync") is None:
        part.remarks.append("rsync is not on the PATH of this machine: no peer for 1 % changed.")
    part.remarks.append("rsync's way does not flush what it wrote; ours does, in every run.")
    _common(bench, part)
    return part


def _change_again(bench: Bench, workload: Workload, database: Database[Any], number: int) -> None:
    """One percent more, which nobody has looked at yet."""
    workload.change(bench.settings(workload.name, "data"), database, _AGAIN + number)
    bench.wait()


def _file_goals(part: Part, first: str, rsync: str, look: str) -> None:
    if part.name == "F1":
        part.ratio("first", "Keyframe, first", first, 0.7)
        part.plus("1 % changed", "Keyframe, 1 % changed", rsync, 0.6)
        part.plus("nothing changed", "Keyframe, nothing changed", rsync, 0.4)
        part.plus("preview, 1 % changed", _PREVIEW, look, 0.3)
    else:
        part.ratio("first", "Keyframe, first", first, 0.8)
        part.ratio("1 % changed", "Keyframe, 1 % changed", rsync, 1.1)
        part.ratio("nothing changed, of the peer's 1 %", "Keyframe, nothing changed", rsync, 0.5)
        part.ratio("preview, 1 % changed", _PREVIEW, look, 1.2)


def make_records(bench: Bench, workload: Workload) -> Part:
    """D1: first, nothing changed, one percent changed; against a straightforward dump."""
    part = Part(workload.name, workload.what)
    database = filled(bench, workload)
    straight, tools = "peer: find, encode, json_util", "peer: mongodump, mongoexport"
    read = "peer, preview: each collection read once, in raw batches"
    names = sorted(database.list_collection_names())
    if workload.name in TEN_TIMES:
        database.client.admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=_HISTORY)
        part.remarks.append(
            f"`minSnapshotHistoryWindowInSeconds` of the server was {_HISTORY}: a dump that takes longer than its "
            "default of 300 fails with the hint to raise it, as the server has no such instant any more."
        )
    for number in range(bench.runs):
        copies = bench.folder / workload.name / f"peer-{number}"
        copies.mkdir()
        settings = bench.settings(workload.name, f"data-{number}")
        with Running(settings, web=False) as site:
            part.add("Keyframe, first", ours(bench, site))
            settle()
            command = peers.dump_straight(bench.uri, database.name, copies / "straight")
            part.add(straight, run_measured(command, bench.server, copies / "straight"))
            if command := peers.dump_tools(bench.uri, database.name, names, copies / "tools"):
                settle()
                part.add(tools, run_measured(command, bench.server, copies / "tools"))
            part.add("Keyframe, nothing changed", ours(bench, site))
            workload.change(settings, database, number)
            bench.wait()
            part.add("Keyframe, 1 % changed", ours(bench, site))
            _change_again(bench, workload, database, number)
            part.add(_PREVIEW, previewed(bench, site))
            settle()
            part.add(read, run_measured(peers.read_records(bench.uri, database.name), bench.server, None))
    part.ratio("first", "Keyframe, first", straight, 0.38)
    part.ratio("first, of mongodump and mongoexport", "Keyframe, first", tools, 0.75)
    part.ratio("1 % changed", "Keyframe, 1 % changed", straight, 0.14)
    part.ratio("preview, 1 % changed", _PREVIEW, read, 1.3)
    if tools not in part.runs:
        part.remarks.append(
            "mongodump and mongoexport are not on the PATH of this machine: what is measured against them is left "
            "open, and so is BSON without JSON."
        )
    _common(bench, part)
    return part


def _common(bench: Bench, part: Part) -> None:
    part.most("peak PSS of worker and helpers", part.peak("Keyframe") / 1e6, 250, "MB")
    longest = max(bench.closed, default=0.0)
    if part.name in TEN_TIMES:
        part.remarks.append(
            f"`gate.closed_at_most` was {_LONG} s, the gate was closed for {longest:.1f} s at most: the look at all "
            "paths that is taken meanwhile takes ten times as long."
        )
    else:
        part.most("gate closed, longest", longest, 1, "s")
    bench.closed.clear()
