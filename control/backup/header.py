"""What a make wrote, counted; and the header that tells of it, `snapshot.json`, without who and why.

>>> Content(scope, draft, copying, dump).header(stores, reader, closing)["files"]        # doctest: +SKIP
41
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from pathlib import Path
from typing import Any

from ..model import FORMAT, Excluded, Part, Patterns, Scope
from ..stores.draft import Draft
from ..stores.file_lines import encode_line
from ..stores.reader import Reader
from ..stores.rows import Noted, Row
from ..stores.sheet_lines import plain_lines
from ..stores.sheets import FILE, FOLDER, Sheet
from ..version import VERSION
from .closing import Closing
from .copying import Copying
from .dumping import Dump
from .judging import Held
from .stores import Stores


class Content:
    """Writes the manifest of a draft, which is complete afterwards, and counts what is in it.

    `newest` is the manifest of the newest snapshot: where all paths are as it says, its lines are taken.
    """

    def __init__(
        self, scope: Scope, draft: Draft, copying: Copying, dump: Dump, patterns: Patterns, newest: Path | None
    ) -> None:
        self._scope = scope
        self._patterns = patterns
        self._copying = copying
        self._dump = dump
        self.files = 0
        self.folders = 0
        self.documents = sum(entry.documents for entry in dump.entries)
        self.bytes = sum(entry.bytes for entry in dump.entries)
        self._project_files: Counter[str] = Counter()
        self._project_bytes: Counter[str] = Counter()
        self._manifest = draft.manifest()
        is_same = newest is not None and copying.is_as_newest
        if newest is not None and is_same:
            self._manifest.files_of(newest)
        for item in copying.items():
            if is_same and isinstance(item, Noted):
                self._count_sheet(item.sheet)
            elif isinstance(item, Noted):
                self._add_sheet(item)
            else:
                self._manifest.files([encode_line(row.line()) for row in item])
                for row in item:
                    self._add(row)
        for entry in dump.entries:
            self._manifest.collection(entry)
        self._sha256 = self._manifest.close()

    def _add(self, row: Row) -> None:
        if row.is_folder:
            self.folders += 1
        else:
            self._count(row.path, 1, row.stat.size if row.is_file else 0)

    def _add_sheet(self, noted: Noted) -> None:
        """The paths of one directory together: most of them need no row."""
        sheet = noted.sheet
        lines = plain_lines(sheet, noted.digests) if noted.digests else [b""] * len(sheet)
        for number, kind in enumerate(sheet.kinds):
            if kind != FILE[0] or number in noted.odd:
                lines[number] = encode_line(noted.row(number).line())
        self._manifest.files(lines)
        self._count_sheet(sheet)

    def _count_sheet(self, sheet: Sheet) -> None:
        folders = sheet.kinds.count(FOLDER)
        self.folders += folders
        if folders < len(sheet):
            self._count(sheet.prefix + b"-", len(sheet) - folders, sum(sheet.sizes()))

    def _count(self, path: bytes, files: int, size: int) -> None:
        self.files += files
        self.bytes += size
        if self._scope.is_site and path.startswith(b"project/") and path.count(b"/") > 1:
            project_id = os.fsdecode(path.split(b"/", 2)[1])
            self._project_files[project_id] += files
            self._project_bytes[project_id] += size

    @property
    def held(self) -> Held:
        """The numbers that tell whether the source has shrunk."""
        return Held(self.files, self.folders, self.documents, self._patterns)

    def header(self, stores: Stores, reader: Reader, closing: Closing) -> dict[str, Any]:
        """`snapshot.json` but for who, why and how good it is."""
        settings, mongo, dump, copying = stores.settings, stores.mongo, self._dump, self._copying
        project, titles = settings.scopes.project, mongo.project_titles()
        return {
            "format": FORMAT,
            "scope": self._scope.as_dict(),
            "title": titles.get(self._scope.project_id or "", ""),
            "run_mode": settings.run_mode,
            "problems": [problem.as_dict() for problem in dump.problems],
            "warnings": [problem.as_dict() for problem in copying.damaged],
            "unknown": {"paths": sorted(copying.unknown), "collections": sorted(dump.unknown)},
            "instant": reader.instant.as_dict(),
            "gate": {"closed_seconds": round(closing.longest, 4), "tries": closing.tries},
            "passes": copying.passes,
            "retries": dump.retries,
            "files": self.files,
            "documents": self.documents,
            "bytes": self.bytes,
            "excluded": Excluded(self._patterns, copying.left_out.count, tuple(copying.left_out.paths)).as_dict(),
            "projects": self._parts(titles),
            "left_out": {"collections": list(settings.scopes.site.leave)},
            "database": mongo.name,
            "project_id_kind": project.id,
            "project_fields": {name: one.field for name, one in project.collections.items()},
            "versions": self._versions(stores),
            "manifest": {"bytes": self._manifest.bytes, "sha256": self._sha256},
        }

    @staticmethod
    def _versions(stores: Stores) -> dict[str, str]:
        application = stores.settings.application_version
        return {
            "keyframe": VERSION,
            "mongodb": stores.mongo.version(),
            "python": platform.python_version(),
            **({"application": application} if application else {}),
        }

    def _parts(self, titles: dict[str, str]) -> dict[str, dict[str, Any]]:
        if not self._scope.is_site:
            return {}
        dump = self._dump
        ids = sorted(set(self._project_files) | set(dump.documents))
        return {
            one: Part(
                self._project_files[one],
                dump.documents[one],
                self._project_bytes[one] + dump.bytes[one],
                titles.get(one, ""),
                self._copying.left_out.projects[one],
            ).as_dict()
            for one in ids
        }
