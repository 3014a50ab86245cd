"""A folder of real editions, as PURE3D lays its example data out, read into records and files.

    meta/dc.yml                                  the site
    project/<n>/meta/dc.yml                      a project
    project/<n>/edition/<m>/meta/dc.yml          an edition; settings.yml beside it
    project/<n>/edition/<m>/…                    its files
    workflow/init.yml                            people, their roles, what is visible and published

Rules:

- The numbers become ids by hash, and the folders are called by those ids.
- Nothing is stored here; every mistake in the folder is reported at once.
- The people of the sample stay beside those of the folder, with the same roles in its first two projects: whoever tried
  things out as `admin` or `organiser` can go on.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import yaml
from bson import ObjectId

from ..errors import InvalidError
from ..stores.people import ORGANISER, SITE_ROLES
from .content import Content, Record, coupling, people_records, stable_id
from .texts import PEOPLE

_RESERVED = (".keyframe", "workflow")
_EDITION_ROLES = ("editor", "reader")
_TOLD = 20  # mistakes


def real_content(folder: Path) -> Content:
    """All that lies in `folder`.

    Raises
    ------
    InvalidError: it is not of this layout; `mistakes` has a sentence for each thing that is wrong.
    """
    for path in ("project", "workflow/init.yml"):
        if not (folder / path).exists():  # another folder altogether: do not read through all of it
            raise _wrong(folder, [f"{path}: is not there"])
    return _Folder(folder).content()


def _wrong(folder: Path, mistakes: list[str]) -> InvalidError:
    told = mistakes[:_TOLD] + ([f"and {len(mistakes) - _TOLD} more"] if len(mistakes) > _TOLD else [])
    return InvalidError(
        f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''} in the folder: {'; '.join(told)}.",
        subject=str(folder),
        hint="Expected: project/<n>/edition/<m>/, meta/dc.yml in each, workflow/init.yml. Nothing was changed.",
        mistakes=tuple(told),
    )


class _Folder:
    """One reading of the folder; collects the mistakes on the way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mistakes: list[str] = []
        self.projects = self._numbers(folder / "project")
        self.editions = {
            (project, edition): stable_id("from/edition", project, edition)
            for project in self.projects
            for edition in self._numbers(folder / "project" / project / "edition")
        }
        self.workflow = self._yaml("workflow/init.yml")

    def content(self) -> Content:
        files = self._files()
        records = {
            "site": (self._titled({"_id": stable_id("site")}, "meta/dc.yml", "Editions"),),
            "user": self._people(),
            "project": tuple(self._project(project) for project in self.projects),
            "edition": tuple(self._edition(project, edition) for project, edition in self.editions),
            "projectUser": self._organisers(),
            "editionUser": self._readers(),
        }
        if not self.projects:
            self.mistakes.append("project: no folder with projects in it")
        if self.mistakes:
            raise _wrong(self.folder, self.mistakes)
        return Content(kind="from", records=records, files=files)

    def _numbers(self, parent: Path) -> dict[str, ObjectId]:
        if not parent.is_dir():
            return {}
        names = sorted(one.name for one in parent.iterdir() if one.is_dir() and not one.name.startswith("."))
        return {name: stable_id("from/project", name) for name in names}

    def _files(self) -> dict[str, bytes | Path]:
        files: dict[str, bytes | Path] = {}
        for path in sorted(self.folder.rglob("*")):
            parts = path.relative_to(self.folder).parts
            if parts[0] in _RESERVED or (path.is_dir() and not path.is_symlink()):
                continue
            if path.is_symlink() or not path.is_file():
                self.mistakes.append(f"{'/'.join(parts)}: neither a file nor a folder")
                continue
            target = list(parts)
            if len(parts) > 2 and parts[0] == "project":
                target[1] = str(self.projects[parts[1]]) if parts[1] in self.projects else parts[1]
            if len(parts) > 4 and parts[2] == "edition" and (parts[1], parts[3]) in self.editions:
                target[3] = str(self.editions[parts[1], parts[3]])
            files["/".join(target)] = path
        return files

    def _project(self, project: str) -> Record:
        field, visible = self._status("project", project)
        record: Record = {"_id": self.projects[project]}
        return self._titled(record, f"project/{project}/meta/dc.yml", f"Project {project}") | {field: visible}

    def _edition(self, project: str, edition: str) -> Record:
        below = f"project/{project}/edition/{edition}/meta"
        field, published = self._status("edition", project, edition)
        record: Record = {"_id": self.editions[project, edition], "projectId": self.projects[project]}
        record = self._titled(record, f"{below}/dc.yml", f"Edition {edition}") | {field: published}
        settings = self._yaml(f"{below}/settings.yml")
        return record | ({"settings": settings} if settings else {})

    def _titled(self, record: Record, path: str, otherwise: str) -> Record:
        dc = self._yaml(path)
        title = dc.get("title")
        return record | {"title": title.strip() if isinstance(title, str) else otherwise, "dc": dc}

    def _status(self, kind: str, *names: str) -> tuple[str, bool]:
        field = self._below("status", kind).get("field") or {"project": "isVisible", "edition": "isPublished"}[kind]
        values: Any = self._below("status", kind, "values")
        for name in names:
            values = values.get(name) if isinstance(values, dict) else None
        return str(field), values is True

    def _people(self) -> tuple[Record, ...]:
        roles: dict[str, tuple[str, str]] = {}
        for user, role in self._below("userRole", "site").items():
            if role not in SITE_ROLES:
                self.mistakes.append(f"workflow/init.yml: {user} has the site role {role!r}, expected: {SITE_ROLES}")
            roles[user] = (user.capitalize(), str(role))
        return people_records({user: (name, role) for user, name, role in PEOPLE} | roles)

    def _organisers(self) -> tuple[Record, ...]:
        users = self._below("userRole", "site")
        trying = [user for user in ("organiser", "organiser2") if user not in users]
        return tuple(
            coupling("projectId", project, user, ORGANISER)
            for user, project in zip(trying, self.projects.values(), strict=False)
        ) + tuple(
            coupling("projectId", self.projects[project], user, role)
            for project, people in self._below("userRole", "project").items()
            if self._known(project, project in self.projects)
            for user, role in self._roles(people, (ORGANISER,))
        )

    def _readers(self) -> tuple[Record, ...]:
        users = self._below("userRole", "site")
        first = next(iter(self.editions.values()), None)
        return tuple(
            coupling("editionId", first, role, role)
            for role in _EDITION_ROLES
            if first is not None and role not in users
        ) + tuple(
            coupling("editionId", self.editions[project, edition], user, role)
            for project, editions in self._below("userRole", "edition").items()
            if isinstance(editions, dict)
            for edition, people in editions.items()
            if self._known(f"{project}/{edition}", (project, edition) in self.editions)
            for user, role in self._roles(people, _EDITION_ROLES)
        )

    def _roles(self, people: Any, known: tuple[str, ...]) -> list[tuple[str, str]]:
        users = self._below("userRole", "site")
        found = [(user, role) for user, role in (people.items() if isinstance(people, dict) else ())]
        for user, role in found:
            if role not in known:
                self.mistakes.append(f"workflow/init.yml: {user} has the role {role!r}, expected: {known}")
            if user not in users:
                self.mistakes.append(f"workflow/init.yml: {user} has a role, but no site role")
        return found

    def _known(self, what: str, known: bool) -> bool:
        if not known:
            self.mistakes.append(f"workflow/init.yml: names {what}, which has no folder")
        return known

    def _below(self, *keys: str) -> dict[str, Any]:
        value: Any = self.workflow
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}

    def _yaml(self, path: str) -> dict[str, Any]:
        file = self.folder / path
        if not file.is_file():
            return {}
        try:
            document = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            self.mistakes.append(f"{path}: cannot be read ({' '.join(str(error).split())})")
            return {}
        if not isinstance(document, dict):
            self.mistakes.append(f"{path}: holds no keys")
            return {}
        plain = _plain(document)
        return plain if isinstance(plain, dict) else {}


def _plain(value: Any) -> Any:
    """The same with text as keys, and dates as text: what a record can hold, and a form can show."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value
