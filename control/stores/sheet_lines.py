"""The lines of a manifest for a sheet of files: the same bytes as `file_lines.py` makes, a fifth of the time.

>>> plain_lines(sheet, digests)[0]      # doctest: +SKIP
b'{"path":"edition/1/a.txt","type":"file","size":3,"sha256":"…","mode":"0644","uid":0,"gid":0,"mtime_ns":1}\\n'
"""

from __future__ import annotations

import msgspec

from .file_lines import FileLine, encode_line, mode_text, texts
from .sheets import STAT, Sheet

_DIGEST = 64  # hexadecimal digits
_encode = msgspec.json.Encoder().encode


def plain_lines(sheet: Sheet, digests: bytes) -> list[bytes]:
    """Of regular files without attributes; `digests` has 32 bytes for each."""
    try:
        return _quickly(sheet, sheet.prefix.decode(), sheet.names.decode(), digests)
    except UnicodeDecodeError:
        return _one_by_one(sheet, digests)


def _quickly(sheet: Sheet, prefix: str, names: str, digests: bytes) -> list[bytes]:
    begin = b'{"path":' + _encode(prefix)[:-1]
    parted = names.split("\0")
    # Texts in quotes, one after the other; where there is no quote in any, they are told apart by what lies between.
    is_plain = '"' not in names and "\\" not in names
    quoted = _encode(parted)[2:-2].split(b'","') if is_plain else [_encode(name)[1:-1] for name in parted]
    shas = digests.hex().encode("ascii")
    return [
        b'%s%s","type":"file","size":%d,"sha256":"%s","mode":"%s","uid":%d,"gid":%d,"mtime_ns":%d}\n'
        % (begin, name, size, shas[at : at + _DIGEST], mode_text(mode).encode("ascii"), uid, gid, mtime_ns)
        for name, at, (mode, uid, gid, size, mtime_ns) in zip(
            quoted, range(0, len(shas), _DIGEST), STAT.iter_unpack(sheet.stats), strict=True
        )
    ]


def _one_by_one(sheet: Sheet, digests: bytes) -> list[bytes]:
    lines = []
    for number, name in enumerate(sheet.names_list()):
        mode, uid, gid, size, mtime_ns = STAT.unpack(sheet.stat(number))
        line = FileLine(type="file", size=size, mode=mode_text(mode), uid=uid, gid=gid, mtime_ns=mtime_ns)
        line.sha256 = digests[number * 32 : (number + 1) * 32].hex()
        line.path, line.path_b64 = texts(sheet.prefix + name)
        lines.append(encode_line(line))
    return lines
