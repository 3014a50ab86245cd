"""Snapshots that somebody forged: a manifest that says what he likes, and a header that fits it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keyframe.model import Snapshot
from world import PROJECT, SITE, World

DIGEST = "0" * 64
FILE: dict[str, Any] = {
    "path": "b.txt", "type": "file", "size": 3, "sha256": DIGEST, "mode": "0644", "uid": 0, "gid": 0, "mtime_ns": 1,
}  # fmt: skip
FOLDER: dict[str, Any] = {"path": "c", "type": "directory", "mode": "0755", "uid": 0, "gid": 0}
LINK: dict[str, Any] = {
    "path": "d", "type": "link", "mode": "0777", "uid": 0, "gid": 0, "mtime_ns": 1, "target": "nowhere",
}  # fmt: skip


def lines(*documents: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in documents)


def forge(world: World, snapshot: Snapshot, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Change a manifest, and the header so that it fits."""
    folder = world.stored(snapshot)
    documents = [json.loads(line) for line in (folder / "manifest.jsonl").read_bytes().splitlines()]
    change(documents)
    (folder / "manifest.jsonl").write_bytes(lines(*documents))
    header = json.loads((folder / "snapshot.json").read_text())
    header["manifest"] = {
        "bytes": (folder / "manifest.jsonl").stat().st_size,
        "sha256": hashlib.sha256((folder / "manifest.jsonl").read_bytes()).hexdigest(),
    }
    (folder / "snapshot.json").write_text(json.dumps(header))


def everything_else(world: World, elsewhere: Path) -> dict[str, bytes]:
    """All files beside the project's and the product's own."""
    tops = (elsewhere, world.folder(SITE))
    inside = world.folder(PROJECT)
    return {
        str(one): one.read_bytes()
        for top in tops
        for one in sorted(top.rglob("*"))
        if one.is_file() and inside not in one.parents
    }
