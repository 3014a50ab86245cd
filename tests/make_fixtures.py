"""Makes `tests/fixtures`: a small snapshot for each thing that the validator can find, by the document of the format.

It shares no code with Keyframe: what it makes is what a stranger makes who has read the document.

    .venv/bin/python tests/make_fixtures.py        makes them anew

Git keeps neither times nor all modes of files, so a fixture out of a checkout also gets `noted.attributes`; `dress`
gives its files what their manifest says.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
from bson import json_util

TOP = Path(__file__).parent / "fixtures"
PROJECT, OTHER = "6" * 24, "7" * 24
MTIME_NS = 1_763_722_395_042_000_000
# What `dress` leaves as it is, since it is what is wrong with the fixture.
UNDRESSED = {"noted.attributes": "a.txt"}
JSON = json_util.CANONICAL_JSON_OPTIONS


class Fixture:
    """A snapshot while it is put together: `files` by path (bytes; a text is where a link leads), `documents` by
    collection. `write` makes the folder; what is changed there afterwards is damage."""

    def __init__(self, folder: Path, project_id: str | None = PROJECT) -> None:
        self.folder = folder
        own = bson.ObjectId(PROJECT)
        inside = "" if project_id else f"project/{PROJECT}/"
        self.files: dict[str, bytes | str] = {
            f"{inside}a.txt": b"The first file.\n",
            f"{inside}edition/b c.txt": b"The second one.\n",
            f"{inside}edition/latest": "b c.txt",
        }
        self.documents: dict[str, list[dict[str, Any]]] = {
            "edition": [{"_id": number, "projectId": own, "title": f"Edition {number}"} for number in (1, 2)],
            "project": [{"_id": own, "title": "The project"}],
        }
        if project_id is None:
            self.files["about.txt"] = b"About the site.\n"
            self.documents["user"] = [{"_id": 1, "user": "anna"}]
        self.counts: dict[str, int] = {}  # documents that the manifest says, where it is wrong
        self.inexact: dict[str, int] = {}
        self.texts: dict[str, bytes] = {}  # of JSON files that are wrong
        self.header: dict[str, Any] = {
            "format": 1,
            "scope": {"project_id": project_id},
            "title": "The project" if project_id else "",
            "run_mode": "test",
            "status": "done",
            "problems": [],
            "warnings": [],
            "confirmed": [],
            "unknown": {"paths": [], "collections": []},
            "instant": {"cluster_time": {"t": 1763722395, "i": 1}, "utc": "2025-11-21T10:53:15.000Z"},
            "gate": {"closed_seconds": 0.0123, "tries": 1},
            "passes": 2,
            "retries": 0,
            "files": 0,
            "documents": 0,
            "bytes": 0,
            "projects": {},
            "excluded": {"patterns": {"site": [], "project": [".cache/"]}, "count": 0, "paths": []},
            "left_out": {"collections": ["session"]},
            "database": "example",
            "project_id_kind": "objectid",
            "project_fields": {"project": "_id", "edition": "projectId"},
            "versions": {"keyframe": "0.1.0", "mongodb": "6.0.5", "python": "3.11.2"},
            "manifest": {},
            "made_at": "2026-11-21T10:53:15.042Z",
            "made_by": "anna",
            "reason": "manual",
            "note": "an example",
        }

    def write(self) -> Fixture:
        """All of it, as the document says."""
        lines = [*self._write_files(), *self._write_collections()]
        manifest = b"".join(
            json.dumps(one, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for one in lines
        )
        (self.folder / "manifest.jsonl").write_bytes(manifest)
        (self.folder / "README.txt").write_text(
            "An example of a snapshot. To check it: sha256sum -c manifest-sha256.txt\n"
        )
        files = [one for one in lines if one["type"] in ("file", "link")]
        collections = [one for one in lines if "collection" in one]
        size = sum(one.get("size", 0) for one in files)
        self.header |= {
            "files": len(files),
            "documents": sum(one["documents"] for one in collections),
            "bytes": size + sum(one["bytes"] for one in collections),
        }
        if self.header["scope"]["project_id"] is None:
            mine = [one for one in files if one["path"].startswith(f"project/{PROJECT}/")]
            records = [one for name in ("edition", "project") for one in self.documents[name]]
            part = sum(one.get("size", 0) for one in mine) + sum(len(bson.encode(one)) for one in records)
            counted = {
                "files": len(mine),
                "documents": len(records),
                "bytes": part,
                "title": "The project",
                "excluded": 0,
            }
            self.header["projects"] = {PROJECT: counted}
        self.seal()
        return self

    def _write_files(self) -> list[dict[str, Any]]:
        folders = {"."} | {str(one) for path in self.files for one in Path(path).parents}
        lines = {}
        for path in folders:
            (self.folder / "files" / path).mkdir(parents=True, exist_ok=True)
            lines[path] = {"path": path, "type": "directory", "mode": "0755", "uid": 0, "gid": 0}
        for path, content in self.files.items():
            at = self.folder / "files" / path
            line: dict[str, Any] = {"path": path, "type": "link" if isinstance(content, str) else "file"}
            if isinstance(content, bytes):
                at.write_bytes(content)
                line |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            else:
                at.symlink_to(content)
            mode = "0777" if isinstance(content, str) else "0644"
            line |= {"mode": mode, "uid": 0, "gid": 0, "mtime_ns": MTIME_NS}
            lines[path] = line | ({"target": content} if isinstance(content, str) else {})
        return [lines[path] for path in sorted(lines, key=lambda one: b"" if one == "." else one.encode())]

    def _write_collections(self) -> list[dict[str, Any]]:
        lines = []
        for folder in ("bson", "json"):
            (self.folder / "db" / folder).mkdir(parents=True)
        for name, documents in sorted(self.documents.items()):
            raw = b"".join(bson.encode(one) for one in documents)
            indexes = [{"v": {"$numberInt": "2"}, "key": {"_id": {"$numberInt": "1"}}, "name": "_id_"}]
            metadata = {
                "options": {},
                "indexes": indexes,
                "uuid": "0" * 32,
                "collectionName": name,
                "type": "collection",
            }
            text = "".join(json_util.dumps(one, json_options=JSON) + "\n" for one in documents).encode()
            text = self.texts.get(name, text)
            (self.folder / f"db/bson/{name}.bson").write_bytes(raw)
            (self.folder / f"db/bson/{name}.metadata.json").write_text(json.dumps(metadata))
            (self.folder / f"db/json/{name}.json").write_bytes(text)
            lines.append(
                {
                    "collection": name,
                    "stem": name,
                    "type": "collection",
                    "documents": self.counts.get(name, len(documents)),
                    "bytes": len(raw),
                    "sha256": hashlib.sha256(raw).hexdigest(),
                    "options": "{}",
                    "indexes": json.dumps(indexes),
                    "json_bytes": len(text),
                    "json_sha256": hashlib.sha256(text).hexdigest(),
                    "json_inexact": self.inexact.get(name, 0),
                    "json_named": [
                        {"line": 1, "_id": '{"$numberInt": "1"}', "reason": "holds a value that JSON cannot hold"}
                    ]
                    * self.inexact.get(name, 0),
                    "outside_instant": False,
                }
            )
        return lines

    def seal(self) -> None:
        """The header with the digest of the manifest, and the list of sums of what is there now."""
        manifest = (self.folder / "manifest.jsonl").read_bytes()
        self.header["manifest"] = {"bytes": len(manifest), "sha256": hashlib.sha256(manifest).hexdigest()}
        (self.folder / "snapshot.json").write_text(json.dumps(self.header, indent=1) + "\n")
        paths = [f"files/{path}" for path in sorted(self.files, key=str.encode) if isinstance(self.files[path], bytes)]
        for name in sorted(self.documents):
            paths += [f"db/bson/{name}.bson", f"db/bson/{name}.metadata.json", f"db/json/{name}.json"]
        paths += ["README.txt", "snapshot.json", "manifest.jsonl"]
        sums = [f"{hashlib.sha256((self.folder / path).read_bytes()).hexdigest()}  {path}\n" for path in paths]
        (self.folder / "manifest-sha256.txt").write_text("".join(sums))

    # What a damage does

    def change(self, path: str, change: Callable[[bytes], bytes]) -> None:
        at = self.folder / path
        at.write_bytes(change(at.read_bytes()))

    def resealed(self, path: str, change: Callable[[bytes], bytes]) -> None:
        """The same, and the sums are right afterwards."""
        self.change(path, change)
        self.seal()

    def remove(self, path: str) -> None:
        (self.folder / path).unlink()

    def with_header(self, **values: Any) -> None:
        self.header |= values
        self.seal()


def _partial(one: Fixture) -> None:
    problem = {"code": "unavailable", "what": "cannot be read (Permission denied).", "subject": "secret", "hint": ""}
    one.with_header(status="partial", problems=[problem], unknown={"paths": ["secret"], "collections": []})


def _as_link(one: Fixture) -> None:
    one.remove("files/a.txt")
    (one.folder / "files/a.txt").symlink_to("edition/b c.txt")


def _other_target(one: Fixture) -> None:
    one.remove("files/edition/latest")
    (one.folder / "files/edition/latest").symlink_to("/etc/hostname")


# What is wrong with each, done to a good snapshot of a project.
BAD: dict[str, Callable[[Fixture], None]] = {
    "damaged.header-missing": lambda one: one.remove("snapshot.json"),
    "damaged.header-invalid": lambda one: one.change("snapshot.json", lambda text: text[:-20]),
    "damaged.format-newer": lambda one: one.with_header(format=2),
    "damaged.header-bytes": lambda one: one.change("snapshot.json", lambda t: t.replace(b"an example", b"an exanple")),
    "damaged.header-counts": lambda one: one.with_header(files=7),
    "damaged.manifest-missing": lambda one: one.remove("manifest.jsonl"),
    "damaged.manifest-size": lambda one: one.change("manifest.jsonl", lambda text: text[:-1]),
    "damaged.manifest-bytes": lambda one: one.change("manifest.jsonl", lambda t: t.replace(b'"0644"', b'"0666"')),
    "damaged.manifest-invalid": lambda one: one.resealed("manifest.jsonl", lambda t: t.replace(b'"a.txt"', b'"../a"')),
    "damaged.sums-missing": lambda one: one.remove("manifest-sha256.txt"),
    "damaged.sums-invalid": lambda one: one.change("manifest-sha256.txt", lambda t: t.split(b"\n", 1)[1]),
    "damaged.readme-missing": lambda one: one.remove("README.txt"),
    "damaged.readme-bytes": lambda one: one.change("README.txt", lambda text: text + b"rm -rf /\n"),
    "damaged.file-missing": lambda one: one.remove("files/a.txt"),
    "damaged.file-kind": _as_link,
    "damaged.file-size": lambda one: one.change("files/a.txt", lambda text: text[:-5]),
    "damaged.file-bytes": lambda one: one.change("files/a.txt", lambda text: text.replace(b"first", b"worst")),
    "damaged.file-extra": lambda one: (one.folder / "files/edition/stray.txt").write_text("stray") and None,
    "damaged.link-target": _other_target,
    "damaged.collection-missing": lambda one: one.remove("db/bson/edition.bson"),
    "damaged.collection-cut": lambda one: one.change("db/bson/edition.bson", lambda raw: raw[:-3]),
    "damaged.collection-size": lambda one: one.change("db/bson/project.bson", lambda raw: raw + raw),
    "damaged.collection-bytes": lambda one: one.change("db/bson/edition.bson", lambda r: r.replace(b"n 1", b"n 7")),
    "damaged.collection-extra": lambda one: (one.folder / "db/bson/stray.bson").write_bytes(b"") and None,
    "damaged.metadata-missing": lambda one: one.remove("db/bson/edition.metadata.json"),
    "damaged.metadata-bytes": lambda one: one.change("db/bson/edition.metadata.json", lambda text: text + b" "),
    "damaged.metadata-invalid": lambda one: one.resealed(
        "db/bson/edition.metadata.json", lambda text: text.replace(b'"edition"', b'"other"')
    ),
    "damaged.json-missing": lambda one: one.remove("db/json/edition.json"),
    "damaged.json-bytes": lambda one: one.change("db/json/edition.json", lambda t: t.replace(b"n 1", b"n 7")),
    "damaged.json-size": lambda one: one.change("db/json/edition.json", lambda text: text.split(b"\n", 1)[1]),
}
WARN: dict[str, Callable[[Fixture], None]] = {
    "noted.partial": _partial,
    "noted.header-unknown": lambda one: one.with_header(colour="blue"),
    "noted.folder-extra": lambda one: (one.folder / "notes.txt").write_text("mine") and None,
    "noted.labels-invalid": lambda one: (one.folder / "labels.json").write_text("not JSON") and None,
    "noted.attributes": lambda one: (one.folder / "files/a.txt").chmod(0o755),
}
LABELS = {"note": "a newer note", "pinned": False, "restores": [], "deleted_at": None, "deleted_by": ""}


def _wrong_count(folder: Path) -> None:
    one = Fixture(folder)
    one.counts["edition"] = 3
    one.texts["edition"] = b"{}\n{}\n{}\n"
    one.write()


def _few_lines(folder: Path) -> None:
    one = Fixture(folder)
    one.texts["edition"] = b"{}\n"
    one.write()


def _foreign(folder: Path) -> None:
    one = Fixture(folder)
    one.documents["edition"][1]["projectId"] = bson.ObjectId(OTHER)
    one.write()


def _inexact(folder: Path) -> None:
    one = Fixture(folder)
    one.inexact["edition"] = 1
    one.write()


def _labelled(folder: Path) -> None:
    Fixture(folder).write()
    (folder / "labels.json").write_text(json.dumps(LABELS, indent=1) + "\n")


# Those that are not made by a change of a good one.
MADE: dict[str, Callable[[Path], None]] = {
    "good/site": lambda folder: Fixture(folder, None).write() and None,
    "good/project": lambda folder: Fixture(folder).write() and None,
    "good/labelled": _labelled,
    "bad/damaged.collection-count": _wrong_count,
    "bad/damaged.foreign-record": _foreign,
    "bad/damaged.json-count": _few_lines,
    "warn/noted.json-inexact": _inexact,
}


def make(top: Path) -> None:
    """All of them below `top`, which must not exist."""
    for path, made in MADE.items():
        (top / path).mkdir(parents=True)
        made(top / path)
    for weight, changes in (("bad", BAD), ("warn", WARN)):
        for code, change in changes.items():
            folder = top / weight / code
            folder.mkdir(parents=True)
            change(Fixture(folder).write())
    for folder in top.glob("*/*"):
        dress(folder, UNDRESSED.get(folder.name, ""))


def dress(folder: Path, but: str = "") -> None:
    """Give stored files and directories the modes and times of the manifest, but for one path."""
    manifest = folder / "manifest.jsonl"
    if not manifest.exists():
        return
    for text in reversed(manifest.read_text().splitlines()):
        try:
            line = json.loads(text)
        except ValueError:
            continue
        path = folder / "files" / line.get("path", "")
        if line.get("path", but) == but or ".." in path.parts or not os.path.lexists(path):
            continue
        if line["type"] != "link" and not path.is_symlink():
            path.chmod(int(line["mode"], 8))
        if "mtime_ns" in line:
            os.utime(path, ns=(line["mtime_ns"], line["mtime_ns"]), follow_symlinks=False)


if __name__ == "__main__":
    shutil.rmtree(TOP, ignore_errors=True)
    make(TOP)
