"""Extended attributes and access lists of files, directories and links: reading them, and giving them.

Rules:

- Kept is what `rsync -X` and `cp -a` bring back: `user.*`, the two access lists (`system.posix_acl_*`), and as root
  `trusted.*` and `security.capability`. The rest belongs to the machine (SELinux, IMA) or to a file system of its own.
- Where a file system has none there are none: nothing is kept, and nothing is compared (`kept_at`).
- Who gives attributes takes away those that are too much: a directory hands its default access list down.
- They are given after the owner, which takes `security.capability` away, and before the mode.

>>> read("live/model.glb")      # doctest: +SKIP
((b'user.author', b'Anna'),)
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from ..model import Attributes

_LISTS = (b"system.posix_acl_access", b"system.posix_acl_default")
_CAPABILITY = b"security.capability"
_USER, _TRUSTED = b"user.", b"trusted."
_NOT_OURS = b"trusted.overlay."  # how overlayfs keeps its books
_NONE_HERE = (errno.EOPNOTSUPP, errno.ENOSYS)
# What keeps a stored copy from having an attribute; the manifest has it all the same.
_BEARABLE = (
    *_NONE_HERE,
    errno.EPERM,
    errno.EACCES,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.E2BIG,
    errno.ERANGE,
    errno.EINVAL,
)

Place = int | str  # an open descriptor, or a path whose last name is not followed


def place_of(folder: int, name: str) -> str:
    """A path to `name` in an open directory: attributes of links, and of what cannot be opened, have no other way."""
    return f"/proc/self/fd/{folder}/{name}"


def is_known(name: bytes) -> bool:
    """Whether attributes of this name are kept."""
    if name in _LISTS or name == _CAPABILITY:
        return True
    return name.startswith((_USER, _TRUSTED)) and name not in (_USER, _TRUSTED) and not name.startswith(_NOT_OURS)


def read(place: Place) -> Attributes:
    """The attributes that are kept, sorted by name; none where the file system has none."""
    try:
        listed = _listed(place)
    except OSError as error:
        if error.errno in _NONE_HERE:
            return ()
        raise
    return tuple(_values(place, listed)) if listed else ()


def _listed(place: Place) -> list[bytes]:
    names = os.listxattr(place) if isinstance(place, int) else os.listxattr(place, follow_symlinks=False)
    return sorted(name for name in map(os.fsencode, names) if is_known(name) and (_is_root() or _is_anybodys(name)))


def _values(place: Place, names: list[bytes]) -> list[tuple[bytes, bytes]]:
    found = []
    for name in names:
        try:
            value = (
                os.getxattr(place, name) if isinstance(place, int) else os.getxattr(place, name, follow_symlinks=False)
            )
        except OSError as error:
            if error.errno not in (errno.ENODATA, *_NONE_HERE):  # gone since it was listed
                raise
            continue
        found.append((name, value))
    return found


def give(place: Place, wanted: Attributes, *, leniently: bool = False) -> bool:
    """Bring the attributes to exactly these; give the mode afterwards. Whether anything had to be done.

    Parameters
    ----------
    leniently: what the file system does not take is left out.
    """
    there = read(place)
    if there == wanted:
        return False
    follow = {} if isinstance(place, int) else {"follow_symlinks": False}
    before = dict(there)
    for name in before.keys() - dict(wanted).keys():
        with _bearing(leniently):
            os.removexattr(place, name, **follow)
    for name, value in wanted:
        if before.get(name) != value:
            with _bearing(leniently):
                os.setxattr(place, name, value, **follow)
    return True


@contextlib.contextmanager
def _bearing(leniently: bool) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (_BEARABLE if leniently else (errno.ENODATA,)):
            raise


def kept_at(folder: str) -> frozenset[bytes]:
    """Which kinds of attributes can be given below a folder that is there, by this process; see `only`."""
    kinds = (_USER, *_LISTS, *((_TRUSTED, _CAPABILITY) if _is_root() else ()))
    return frozenset(kind for kind in kinds if _takes(folder, kind))


def _takes(folder: str, kind: bytes) -> bool:
    try:
        if kind == _TRUSTED:  # a root without the right for it may ask, not set; with REPLACE this changes nothing
            os.setxattr(folder, b"trusted.keyframe.none", b"", os.XATTR_REPLACE)
        else:
            os.getxattr(folder, kind + b"keyframe.none" if kind == _USER else kind)
    except OSError as error:
        return error.errno not in (*_NONE_HERE, errno.EPERM)
    return True


def only(attributes: Attributes, kinds: frozenset[bytes]) -> Attributes:
    """Those of the given kinds."""
    if not attributes:
        return attributes
    return tuple(one for one in attributes if one[0] in kinds or one[0][: one[0].index(b".") + 1] in kinds)


def _is_anybodys(name: bytes) -> bool:
    return name.startswith(_USER) or name in _LISTS


def _is_root() -> bool:
    return os.geteuid() == 0
