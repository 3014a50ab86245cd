"""`make bench`: runs the benchmarks and writes docs/performance.md.

>>> python benchmarks/run.py --only F2 --runs 1 --small     # doctest: +SKIP

Rules:

- Everything lies below one fresh folder, which is named at the end and left there: deleting many files would slow down
  the next runs. It needs about 40 GB for everything at full size.
- `--small` is for trying out: its numbers mean nothing, and the page is not written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from keyframe.embedded import EmbeddedMongo
from making import Bench, make_files, make_records
from measure import machine, use_memory
from report import Part, write_part
from restoring import restore_changed
from serving import instants, list_many, make_by_rest, requests_meanwhile
from workloads import WORKLOADS

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_SMALL = 0.003


def _files(name: str, requests: bool = False) -> Callable[[Bench], Part]:
    def run(bench: Bench) -> Part:
        part = make_files(bench, WORKLOADS[name])
        if requests:
            requests_meanwhile(bench, WORKLOADS[name], part)
        return part

    return run


def _records(name: str, requests: bool = False) -> Callable[[Bench], Part]:
    def run(bench: Bench) -> Part:
        part = make_records(bench, WORKLOADS[name])
        if requests:
            requests_meanwhile(bench, WORKLOADS[name], part)
        return part

    return run


def _restores(name: str, peer: bool = True) -> Callable[[Bench], Part]:
    return lambda bench: restore_changed(bench, WORKLOADS[name], peer=peer)


PARTS: dict[str, Callable[[Bench], Part]] = {
    "F1": _files("F1"),
    "F2": _files("F2", requests=True),
    "D1": _records("D1", requests=True),
    "restore_F1D1": _restores("F1D1"),
    "restore_F2": _restores("F2", peer=False),
    "restore_D1": _restores("D1", peer=False),
    "S": make_by_rest,
    "list": list_many,
    "instant": instants,
    "F2x10": _files("F2x10"),
    "D1x10": _records("D1x10"),
}


def main() -> None:
    """Run what was asked for."""
    arguments = _arguments()
    folder: Path = arguments.folder or Path(tempfile.mkdtemp(prefix="keyframe-benchmarks-"))
    folder.mkdir(parents=True, exist_ok=True)
    share = _SMALL if arguments.small else 1.0
    if not arguments.small:
        use_memory(folder)
    mongo = EmbeddedMongo(folder / "server", "benchmarks")
    mongo.start()
    try:
        assert mongo.process is not None
        for name in arguments.only or PARTS:
            here = f"{machine(folder)}; {arguments.runs} runs on {datetime.now(UTC):%Y-%m-%d}"
            bench = Bench(folder, mongo.uri, mongo.process.pid, arguments.runs, share)
            text = PARTS[name](bench).text(here)
            print(f"\n## {name}\n\n{text}", flush=True)
            if not arguments.small and not arguments.dry:
                write_part(PAGE, name, text)
    finally:
        mongo.stop()
    print(f"\nEverything lies in {folder} still; remove it when no more is to be measured.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(sys.modules[__name__].__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(PARTS), help="one part; may be given several times")
    parser.add_argument("--runs", type=int, default=3, help="repetitions of each run")
    parser.add_argument("--small", action="store_true", help="a little of everything, and no page is written")
    parser.add_argument("--dry", action="store_true", help="write no page")
    parser.add_argument("--folder", type=Path, help="where everything lies; a new one otherwise")
    return parser.parse_args()


if __name__ == "__main__":
    main()
