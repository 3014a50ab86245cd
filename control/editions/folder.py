"""The files of one edition: list, find, save, delete, always inside the edition's folder.

Rules:

- A path from outside is taken apart, and each piece opened below the one before it, never through a link. Links are
  neither listed nor served nor written through; an edition whose folder is a link, or lies behind one, has no files.
- A file is written beside its place under a name of our own, made durable, and renamed: a reader sees the old or the
  new one, never half of it.
- Names keep their letters, in Unicode's composed form; separators, control characters and NUL never become part of one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, BinaryIO

from ..errors import InvalidError, NoRoomError, NotFoundError, UnavailableError
from ..model import Scope
from .descent import descended, require_name, status_of
from .nouns import Edition, Project, StoredFile

_TEMPORARY = ".upload-"
_LONGEST_NAME = 255  # bytes, what file systems allow
_DEEPEST = 8
_NOTHING = "Nothing was changed."


class EditionFolder:
    """The folder of an edition below the working directory; it need not exist yet."""

    def __init__(self, working: Path, edition: Edition) -> None:
        self._working = working
        self._pieces = (*_project_pieces(edition.project_id), "edition", edition.id)

    def files(self) -> tuple[StoredFile, ...]:
        """All files, by path; a name that is no valid text is shown with its bytes escaped."""
        with _translated("the files of the edition"):
            return tuple(sorted(_walk(self._working, self._pieces), key=lambda one: one.path))

    def find(self, path: str) -> StoredFile:
        """The existing file that `path` names.

        Raises
        ------
        NotFoundError: there is none, or it is not inside the folder.
        """
        with self._found(path) as (folder, name):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                return _stored(path, status)
        raise NotFoundError("There is no such file.")

    def holds(self, path: str) -> bool:
        """Whether `find` would find it."""
        try:
            self.find(path)
        except NotFoundError:
            return False
        return True

    def open(self, path: str) -> BinaryIO:
        """The same file, open for reading: what is read is what was found, whatever its name leads to meanwhile.

        Raises
        ------
        NotFoundError: as for `find`; also a file that may not be read.
        """
        with self._found(path) as (folder, name):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return os.fdopen(descriptor, "rb")
            os.close(descriptor)
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
        folders, name = safe_folder(folder), safe_name(name)
        path = "/".join((*folders, name))
        with _translated(path), descended(self._working, (*self._pieces, *folders), make=True) as parent:
            there = status_of(parent, name)
            if there and not stat.S_ISREG(there.st_mode):
                raise InvalidError("A folder is called so.", subject=path, hint=f"Choose another name. {_NOTHING}")
            if there and not replace:
                raise InvalidError(
                    "There is a file of this name.", subject=path, hint=f"Tick “replace”, or rename it. {_NOTHING}"
                )
            mode = stat.S_IMODE(there.st_mode) if there else 0o644
            _write(content, parent, name, mode, replace=replace)
        return path, there is not None

    def delete(self, path: str) -> None:
        """Delete a file, and the folders that are empty then.

        Raises
        ------
        NotFoundError: there is none.
        """
        self.find(path)
        *folders, name = path.split("/")
        with _translated(path):
            with descended(self._working, (*self._pieces, *folders)) as parent:
                os.unlink(name, dir_fd=parent)
            while folders:
                emptied = folders.pop()
                with contextlib.suppress(OSError), descended(self._working, (*self._pieces, *folders)) as parent:
                    os.rmdir(emptied, dir_fd=parent)

    def create(self) -> None:
        """Make the empty folder of a new edition.

        Raises
        ------
        InvalidError: a link or a file stands in the way.
        """
        with _translated("the edition's folder"), descended(self._working, self._pieces, make=True):
            pass

    def remove(self) -> None:
        """Delete the folder with all files; of a link the link itself, behind one nothing."""
        _remove(self._working, self._pieces)

    @contextlib.contextmanager
    def _found(self, path: str) -> Iterator[tuple[int, str]]:
        """The open folder of a file, and its name there; errors of the system inside are a NotFoundError."""
        *folders, name = path.split("/")
        try:
            require_name(name)
            with descended(self._working, (*self._pieces, *folders)) as parent:
                yield parent, name
        except OSError as error:  # absent, too long, a link, or not to be read: the same to who asks
            raise NotFoundError("There is no such file.") from error


def project_sizes(working: Path, project: Project) -> list[int]:
    """The bytes of each file below a project's folder, those beside its editions too."""
    with _translated("the files of the project"):
        return [file.bytes for file in _walk(working, _project_pieces(project.id))]


def remove_project(working: Path, project: Project) -> None:
    """Delete all files of a project; of a link the link itself, behind one nothing."""
    _remove(working, _project_pieces(project.id))


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


def _walk(working: Path, pieces: Sequence[str]) -> Iterator[StoredFile]:
    with contextlib.ExitStack() as stack:
        try:
            top = stack.enter_context(descended(working, pieces))
        except OSError:
            return
        for here, _, names, folder in os.fwalk(".", dir_fd=top):
            for name in names:
                status = None if name.startswith(_TEMPORARY) else status_of(folder, name)  # it may be gone since
                if status and stat.S_ISREG(status.st_mode):
                    path = os.fsencode(f"{here}/{name}".removeprefix("./"))
                    yield _stored(path.decode(errors="backslashreplace"), status)


def _stored(path: str, status: os.stat_result) -> StoredFile:
    return StoredFile(path, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _project_pieces(project_id: str) -> tuple[str, ...]:
    return Scope.project(project_id).live_folder(Path()).parts


def _write(content: IO[bytes], folder: int, name: str, mode: int, *, replace: bool) -> None:
    draft = f"{_TEMPORARY}{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as out:
            shutil.copyfileobj(content, out, 1 << 20)
            out.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        if replace:
            os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:  # refuses what another request has put there meanwhile
            os.link(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=folder)


def _remove(working: Path, pieces: Sequence[str]) -> None:
    *above, name = pieces
    with _translated("the files"), contextlib.ExitStack() as stack:
        require_name(name)
        try:
            folder = stack.enter_context(descended(working, above))
        except (FileNotFoundError, NotADirectoryError):
            return  # there is none, or it is not ours
        status = status_of(folder, name)
        if status and stat.S_ISDIR(status.st_mode):
            shutil.rmtree(name, dir_fd=folder)
        elif status:
            os.unlink(name, dir_fd=folder)


@contextlib.contextmanager
def _translated(subject: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise InvalidError("Something of this name is there already.", subject=subject, hint=_NOTHING) from error
    except NotADirectoryError as error:
        raise InvalidError(
            "A file, or a link that leads elsewhere, is called like this folder.", subject=subject, hint=_NOTHING
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoomError("The disk is full.", subject=subject, hint="Ask your administrator.") from error
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidError("The path is too long.", subject=subject, hint=_NOTHING) from error
        raise UnavailableError(
            f"The disk refuses: {error.strerror}.", subject=subject, hint="Ask your administrator."
        ) from error
