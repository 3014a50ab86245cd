"""The files of one edition: list, find, save, delete, always inside the edition's folder.

Rules:

- A path from outside is taken apart, each piece checked, and what is found must lie inside the folder once links are
  followed. Links are neither listed nor served.
- A file is written beside its place under a name of our own, made durable, and renamed: a reader sees the old or the
  new one, never half of it.
- Names keep their letters, in Unicode's composed form; separators, control characters and NUL never become part of one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from ..errors import InvalidError, NoRoomError, NotFoundError, UnavailableError
from ..model import Scope
from .nouns import Edition, Project, StoredFile

_TEMPORARY = ".upload-"
_LONGEST_NAME = 255  # bytes, what file systems allow
_DEEPEST = 8
_NOTHING = "Nothing was changed."


class EditionFolder:
    """The folder of an edition below the working directory; it need not exist yet."""

    def __init__(self, working: Path, edition: Edition) -> None:
        self.path = _project_folder(working, edition.project_id) / "edition" / edition.id

    def files(self) -> tuple[StoredFile, ...]:
        """All files, by path; a name that is no valid text is shown with its bytes escaped."""
        with _translated("the files of the edition"):
            return tuple(sorted(_walk(self.path), key=lambda one: one.path))

    def find(self, path: str) -> Path:
        """The existing file that `path` names.

        Raises
        ------
        NotFoundError: there is none, or it is not inside the folder.
        """
        pieces = path.split("/")
        if any(piece in ("", ".", "..") or "\0" in piece for piece in pieces):
            raise NotFoundError("There is no such file.")
        found = self.path.joinpath(*pieces)
        try:
            inside = found.resolve(strict=True) == self.path.resolve(strict=True).joinpath(*pieces)
            if inside and stat.S_ISREG(found.lstat().st_mode):
                return found
        except OSError:
            pass  # absent, too long, or not to be read: the same to who asks
        raise NotFoundError("There is no such file.")

    def save(self, content: IO[bytes], folder: str, name: str, *, replace: bool) -> tuple[str, bool]:
        """Store a file; its path, and whether it took the place of another.

        Parameters
        ----------
        folder: below the edition's, with `/`; empty for the edition's own; made if it is not there.
        name: as the browser sends it; made safe here.
        replace: what stands there already may go; otherwise it is refused.

        Raises
        ------
        InvalidError: folder or name cannot be used, or the file exists already.
        NoRoomError, UnavailableError: the disk refuses.
        """
        pieces = (*safe_folder(folder), safe_name(name))
        path = "/".join(pieces)
        target = self.path.joinpath(*pieces)
        with _translated(path):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.parent.resolve() != self.path.resolve().joinpath(*pieces[:-1]):
                raise InvalidError("This folder leads elsewhere.", subject=path, hint=_NOTHING)
            there = os.path.lexists(target)
            if there and not stat.S_ISREG(target.lstat().st_mode):
                raise InvalidError("A folder is called so.", subject=path, hint=f"Choose another name. {_NOTHING}")
            if there and not replace:
                raise InvalidError(
                    "There is a file of this name.", subject=path, hint=f"Tick “replace”, or rename it. {_NOTHING}"
                )
            _write(content, target, replace=replace)
        return path, there

    def delete(self, path: str) -> None:
        """Delete a file, and the folders that are empty then.

        Raises
        ------
        NotFoundError: there is none.
        """
        target = self.find(path)
        with _translated(path):
            target.unlink()
            for parent in target.parents:
                if parent == self.path:
                    break
                with contextlib.suppress(OSError):
                    parent.rmdir()

    def create(self) -> None:
        """Make the empty folder of a new edition."""
        with _translated("the edition's folder"):
            self.path.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Delete the folder with all files."""
        _remove(self.path)


def project_sizes(working: Path, project: Project) -> list[int]:
    """The bytes of each file below a project's folder, those beside its editions too."""
    with _translated("the files of the project"):
        return [file.bytes for file in _walk(_project_folder(working, project.id))]


def remove_project(working: Path, project: Project) -> None:
    """Delete all files of a project."""
    _remove(_project_folder(working, project.id))


def safe_name(text: str) -> str:
    """The name that a file is stored under: the last piece of `text`, without control characters.

    Raises
    ------
    InvalidError: nothing usable is left, or it is too long.

    >>> safe_name("C:\\\\scans\\\\détail.png")
    'détail.png'
    """
    last = re.split(r"[/\\]", text)[-1]
    letters = (one for one in unicodedata.normalize("NFC", last) if unicodedata.category(one) not in ("Cc", "Cs", "Cn"))
    name = "".join(letters).strip()
    if name in ("", ".", "..") or name.startswith(_TEMPORARY) or len(name.encode()) > _LONGEST_NAME:
        raise InvalidError("A file cannot be called so.", subject=last[:80] or "the file", hint=_NOTHING)
    return name


def safe_folder(text: str) -> tuple[str, ...]:
    """The pieces of a folder's path below an edition; empty for the edition's own.

    Raises
    ------
    InvalidError: a piece cannot be used, or there are too many.
    """
    pieces = tuple(piece.strip() for piece in text.strip().strip("/").split("/")) if text.strip().strip("/") else ()
    for piece in pieces:
        if "\\" in piece or safe_name(piece) != unicodedata.normalize("NFC", piece):
            raise InvalidError("A folder cannot be called so.", subject=text[:80], hint=_NOTHING)
    if len(pieces) > _DEEPEST:
        raise InvalidError(f"Folders go {_DEEPEST} deep at most.", subject=text[:80], hint=_NOTHING)
    return tuple(safe_name(piece) for piece in pieces)


def _walk(top: Path) -> Iterator[StoredFile]:
    for here, _, names in os.walk(top):
        for name in names:
            if name.startswith(_TEMPORARY):
                continue
            file = Path(here) / name
            with contextlib.suppress(FileNotFoundError):  # gone since
                status = file.lstat()
                if stat.S_ISREG(status.st_mode):
                    path = os.fsencode(file.relative_to(top)).decode(errors="backslashreplace")
                    yield StoredFile(path, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _project_folder(working: Path, project_id: str) -> Path:
    return Scope.project(project_id).live_folder(working)


def _write(content: IO[bytes], target: Path, *, replace: bool) -> None:
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
    descriptor, draft = tempfile.mkstemp(prefix=_TEMPORARY, dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as out:
            shutil.copyfileobj(content, out, 1 << 20)
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        if replace:
            Path(draft).replace(target)
        else:
            os.link(draft, target)  # refuses what another request has put there meanwhile
    finally:
        Path(draft).unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    with _translated("the files"):
        if folder.exists():
            shutil.rmtree(folder)


@contextlib.contextmanager
def _translated(subject: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise InvalidError("Something of this name is there already.", subject=subject, hint=_NOTHING) from error
    except NotADirectoryError as error:
        raise InvalidError("A file is called like this folder.", subject=subject, hint=_NOTHING) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoomError("The disk is full.", subject=subject, hint="Ask your administrator.") from error
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidError("The path is too long.", subject=subject, hint=_NOTHING) from error
        raise UnavailableError(
            f"The disk refuses: {error.strerror}.", subject=subject, hint="Ask your administrator."
        ) from error
