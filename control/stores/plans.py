"""Plans on disk: the header and the items of what a restore would do, kept for a day under the plan's digest.

Rules:

- The digest covers everything that will be done, item by item with what is there now: a yes to a digest is a yes to
  exactly that. The same difference has the same digest, however much there is beside it that stays as it is.
- Items are a stream; a plan of a million items is never a list in memory.
- A draft is locked while somebody writes it. So one that can be locked is nobody's any more: its process was killed.
- Beside a plan lie the records that it replaces, as they were (`plan_bytes.py`); they are in no digest.

>>> plan = plans.save(target, …)        # doctest: +SKIP
>>> plans.items(plan.digest, start=0, limit=50)     # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import msgspec

from ..errors import NotFoundError
from ..model import Change, Plan, PlanItem
from .disk import names_in
from .headers import write_json
from .pair_index import PairIndex
from .plan_bytes import BytesWriter, KeptBytes, files_of

KEPT_SECONDS = 24 * 3600
_FRESH_SECONDS = 3600
_DRAFT = ".draft-"
_NOT_BOUND = ("digest", "warnings", "unchanged")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_encode = msgspec.json.Encoder(order="deterministic").encode


class PlanWriter:
    """Receives the items of a plan; `save` makes it findable by its digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self._file = _new_draft(folder)  # closed by save or drop
        self._digest = hashlib.sha256()
        self.before = BytesWriter(self.path)

    def add(self, item: PlanItem) -> None:
        line = _encode(_document(item)) + b"\n"
        self._digest.update(line)
        self._file.write(line)

    def items(self) -> Iterator[PlanItem]:
        """What was added so far."""
        self._file.flush()
        return _items_of(self.path)

    def digest_of(self, plan: Plan) -> str:
        """What the digest of this plan will be; its warnings count for nothing, nor does what is unchanged."""
        digest = self._digest.copy()
        digest.update(_encode({key: value for key, value in plan.as_dict().items() if key not in _NOT_BOUND}))
        return digest.hexdigest()

    def save(self, plan: Plan, told: str = "") -> Plan:
        """Keep the plan; the result has its digest. `told`: the person for whom its warnings were found."""
        self._file.flush()
        whole = replace(plan, digest=self.digest_of(plan))
        kept = self._folder / f"{whole.digest}.items"
        self.before.save(kept)
        os.replace(self.path, kept)
        self._file.close()  # and no longer locked: until here it was a draft
        write_json(self._folder / f"{whole.digest}.json", {**whole.as_dict(), "told": told})
        return whole

    def drop(self) -> None:
        """Forget it."""
        self.before.drop()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        with contextlib.suppress(OSError):  # a full disk does not take the rest
            self._file.close()


class Plans:
    """The folder of plans."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """For what else has to lie on this disk for a moment."""
        return self._folder

    def writer(self) -> PlanWriter:
        self._sweep()
        return PlanWriter(self._folder)

    def index(self) -> PairIndex:
        """A temporary index for records that cannot be matched in their order."""
        return PairIndex(self._folder)

    def get(self, digest: str) -> Plan:
        """The plan of that digest; NotFoundError where it is unknown or older than a day."""
        path = self._folder / f"{digest}.json"
        try:
            if not _DIGEST.match(digest) or time.time() - path.stat().st_mtime > KEPT_SECONDS:
                raise FileNotFoundError
            return Plan.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise _gone() from error

    def earlier(self, digest: str, told: str) -> Plan | None:
        """The plan of that digest, if it was found for this person within the last hour; then it is kept anew."""
        path = self._folder / f"{digest}.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["told"] != told or time.time() - path.stat().st_mtime > _FRESH_SECONDS:
                return None
            self.renew(digest)
            return Plan.from_dict(document)
        except (OSError, ValueError, KeyError):
            return None

    def renew(self, digest: str) -> None:
        """Keep a plan for another day: it is about to be carried out."""
        for kept in (*files_of(self._path(digest)), self._path(digest)):
            with contextlib.suppress(FileNotFoundError):
                os.utime(kept)

    def items(self, digest: str, start: int = 0, limit: int | None = None) -> Iterator[PlanItem]:
        """The items of a plan, from the `start`-th on."""
        return itertools.islice(_items_of(self._path(digest), start), limit)

    def items_of(self, digest: str, *kinds: str) -> Iterator[PlanItem]:
        """The items of these kinds; the others are not even decoded."""
        return (item for _, item in self.numbered(digest, *kinds))

    def numbered(self, digest: str, *kinds: str) -> Iterator[tuple[int, PlanItem]]:
        """The same, with the number of each item in the plan."""
        mark = re.compile(b'"kind":"(?:%s)"' % "|".join(kinds).encode())
        with _opened(self._path(digest)) as file:
            for number, line in enumerate(file):
                if mark.search(line):
                    item = item_of(line)
                    if item.kind in kinds:
                        yield number, item

    def lines(self, digest: str) -> Iterator[bytes]:
        """The items as they lie there, to compare them; FileNotFoundError where they are gone."""
        with open(self._path(digest), "rb") as file:
            yield from file

    def has_items(self, digest: str) -> bool:
        """Whether the items of a plan are still there."""
        return self._path(digest).exists()

    def before(self, digest: str) -> KeptBytes:
        """The records that a plan replaces, as they were."""
        return KeptBytes(self._path(digest))

    def sweep_drafts(self) -> None:
        """Remove what was left by those who were killed while they wrote a plan; on another host, too."""
        for name in names_in(self._folder):
            path = self._folder / name
            if name.startswith(_DRAFT) and not path.suffix:
                with contextlib.suppress(OSError), _locked(os.open(path, os.O_RDWR | os.O_CLOEXEC)):
                    for one in (*files_of(path), path):
                        one.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.items"

    def _sweep(self) -> None:
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                    path.unlink()


def _new_draft(folder: Path) -> tuple[Path, IO[bytes]]:
    """A new file that is locked, and that nobody has swept away before it was."""
    while True:
        path = folder / f"{_DRAFT}{secrets.token_hex(8)}"
        file = open(path, "wb", buffering=1 << 18)  # noqa: SIM115  (the caller closes it)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return path, file
        except (BlockingIOError, FileNotFoundError):  # whoever sweeps was quicker
            pass
        except BaseException:
            file.close()
            raise
        file.close()


@contextlib.contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """Closes the file in the end; BlockingIOError where somebody else has it locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> IO[bytes]:
    """The items of a plan; one that does nothing has an empty file, so that a lost one is never taken for it."""
    try:
        return open(path, "rb")
    except FileNotFoundError as error:
        raise _gone() from error


def _gone() -> NotFoundError:
    what = "There is no such plan, or it is older than a day."
    return NotFoundError(what, subject="plan", hint="Preview the restore again.")


def _items_of(path: Path, start: int = 0) -> Iterator[PlanItem]:
    """The items of a file, from the `start`-th on."""
    with _opened(path) as file:
        for line in itertools.islice(file, start, None):
            yield item_of(line)


class _Line(msgspec.Struct, gc=False):
    """A line as it stands there: msgspec makes it ten times as fast as values of Python."""

    change: Change
    kind: str
    name: str
    bytes: int
    title: str
    detail: dict[str, Any]


_decode = msgspec.json.Decoder(_Line).decode
_ESCAPE = rb"\u0000"


def item_of(line: bytes) -> PlanItem:
    """The item of a line."""
    one = _decode(line)
    if _ESCAPE not in line:
        return PlanItem(one.change, one.kind, one.name, one.bytes, one.title, one.detail)
    detail = {key: _unescape(value) if isinstance(value, str) else value for key, value in one.detail.items()}
    return PlanItem(one.change, one.kind, _unescape(one.name), one.bytes, one.title, detail)


def _document(item: PlanItem) -> dict[str, Any]:
    # Names may hold undecodable bytes as surrogates, which JSON cannot: they travel escaped.
    return {
        "change": item.change.value,
        "kind": item.kind,
        "name": _escape(item.name),
        "bytes": item.bytes,
        "title": item.title,
        "detail": {key: _escape(value) if isinstance(value, str) else value for key, value in item.detail.items()},
    }


def _escape(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "\0" + os.fsencode(text).hex()
    return text


def _unescape(text: str) -> str:
    return os.fsdecode(bytes.fromhex(text[1:])) if text.startswith("\0") else text
