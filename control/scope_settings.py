"""The settings that say what belongs to whom: which records to projects, to editions, to people, and which to nobody.

>>> ScopeSettings().project.own_collection
'project'
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_FIELD = Annotated[str, Field(min_length=1, max_length=120)]


class Part(BaseModel):
    """Some keys of `config.yaml` that go together: frozen, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CollectionSettings(Part):
    field: _FIELD


class EditionSettings(Part):
    """The parts of a project that can be restored by themselves: their collection, their folder in the project's."""

    collection: _FIELD = "edition"
    folder: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] = "edition"


class ProjectSettings(Part):
    """Which records belong to a project: per collection the field that holds the project's id."""

    id: Literal["objectid", "string", "int"] = "objectid"
    title: _FIELD = "title"
    changed_by: _FIELD | None = "modifiedBy"
    changed_at: _FIELD | None = "dateModified"
    collections: dict[str, CollectionSettings] = {
        "project": CollectionSettings(field="_id"),
        "edition": CollectionSettings(field="projectId"),
    }
    editions: EditionSettings = EditionSettings()

    @property
    def own_collection(self) -> str | None:
        """The collection whose `_id` is the project's id."""
        return next((name for name, one in self.collections.items() if one.field == "_id"), None)


class SiteSettings(Part):
    people: tuple[str, ...] = ("user", "projectUser", "editionUser")
    leave: tuple[str, ...] = ("session", "cache", "rateLimit")


class ScopeSettings(Part):
    project: ProjectSettings = ProjectSettings()
    site: SiteSettings = SiteSettings()
