"""The benchmarks of restores: ours as the job in the worker, and what a user would pick, in turn.

Rules:

- Before each run one percent of files and records is changed; afterwards all is as the snapshot has it, which is
  looked at by a preview after ours, so that the next run begins with the same state.
- Ours is timed with the safety snapshot and the verification, until the gate is open again; what the job does then, the
  full comparison for the report, is timed in a row of its own.
- The peer neither keeps the state before nor looks at what it wrote.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peers
from keyframe.model import Job
from making import Bench, filled, ours, seconds_of
from measure import Measured, Sampler, cpu_seconds, run_measured, settle
from pymongo import MongoClient
from pymongo.database import Database
from report import Part
from running import Running
from workloads import Workload

_RESTORE, _WHOLE = "Keyframe, restore, 1 % changed", "Keyframe, the same and the comparison for the report"
_EMPTY = "Keyframe, restore to an empty machine"
_PEER = "peer: rsync -a --delete, drop and insert"
_PEER_EMPTY = "peer, to an empty machine: cp -a, insert"
_GATE = 1.0  # seconds


def restore_changed(bench: Bench, workload: Workload, *, peer: bool = True) -> Part:
    """Restores after one percent has changed; with `peer` also to an empty machine, and what a user would pick."""
    part = Part(f"restore_{workload.name}", f"restore of {workload.what}")
    database = filled(bench, workload)
    settings, gates = bench.settings(workload.name, "data"), list[float]()
    copies = bench.folder / workload.name / "peer"
    copies.mkdir()
    with Running(settings, web=False) as site:
        ours(bench, site)
        if peer:
            run_measured(peers.copy_plainly(settings.working, copies / "files"), bench.server, None)
            run_measured(peers.dump_bson(bench.uri, database.name, copies / "records"), bench.server, None)
        for number in range(bench.runs):
            _change(bench, workload, database, 2 * number)
            restored = _restored(bench, site)
            gates.append(restored[2])
            part.add(_RESTORE, restored[0])
            part.add(_WHOLE, restored[1])
            if peer:
                _change(bench, workload, database, 2 * number + 1)
                settle()
                command = peers.restore(bench.uri, database.name, copies, settings.working)
                part.add(_PEER, run_measured(command, bench.server, None))
        for number in range(bench.runs if peer else 0):
            part.add(_EMPTY, _on_an_empty_machine(bench, workload, number))
            part.add(_PEER_EMPTY, _peer_on_an_empty_machine(bench, workload, copies, number))
    if peer:
        part.ratio("restore, 1 % changed", _RESTORE, _PEER, 0.6)
        part.ratio("restore to an empty machine", _EMPTY, _PEER_EMPTY, 1.2)
    part.most("gate closed during the change-over, longest", max(gates), _GATE, "s")
    part.most("peak PSS of worker and helpers", part.peak("Keyframe") / 1e6, 250, "MB")
    return part


def _change(bench: Bench, workload: Workload, database: Database[Any], round: int) -> None:
    workload.change(bench.settings(workload.name, "data"), database, round)
    bench.wait()


def _restored(bench: Bench, site: Running) -> tuple[Measured, Measured, float]:
    """One restore of the oldest snapshot: until the gate was open, until the job ended, the seconds it was closed."""
    assert site.worker is not None
    settle()
    server = cpu_seconds(bench.server)
    with Sampler([site.worker.pid]) as sampler:
        job = site.restore(_oldest(site))
    server = cpu_seconds(bench.server) - server
    seconds = _require_restored(job)
    until_open, closed = seconds["until_open"], seconds["gate_closed"]
    return (
        Measured(until_open, sampler.cpu, server, sampler.peak, 0),
        Measured(seconds_of(job), sampler.cpu, server, sampler.peak, 0),
        closed,
    )


def _oldest(site: Running) -> str:
    return site.snapshots()[-1].name


def _require_restored(job: Job) -> dict[str, float]:
    assert job.outcome is not None
    report = job.outcome.report
    if job.outcome.status.value != "done" or job.outcome.warnings or report is None:
        raise SystemExit(f"a restore did not end as it should: {job.outcome}")
    found: dict[str, float] = report["seconds"]
    return found


def _on_an_empty_machine(bench: Bench, workload: Workload, number: int) -> Measured:
    """The first restore of a machine that has nothing but the folder of the snapshots."""
    settings = bench.elsewhere(workload.name, f"new-{number}")
    settings.working.mkdir(parents=True)
    with Running(settings, web=False) as site:
        return _restored(bench, site)[0]


def _peer_on_an_empty_machine(bench: Bench, workload: Workload, copies: Path, number: int) -> Measured:
    settle()
    live, name = bench.folder / workload.name / f"peer-new-{number}", f"bench_{workload.name}_peer_{number}"
    with MongoClient[Any](bench.uri) as client:
        client.drop_database(name)
    return run_measured(peers.rebuild(bench.uri, name, copies, live), bench.server, None)
