"""Who may see and change what in the editions site; pure, decided from the couplings of one person.

Rules:

- Default deny. Root and admin may do everything; an organiser edits his project and its editions; an editor edits his
  edition; a reader sees his edition.
- Visible projects and published editions are for everybody; invisible and unpublished ones for those coupled to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..model import Person
from .nouns import Edition, Project


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a page: the person (None: nobody signed in) and what he is coupled to; ids are text.

    `editions` is the role per edition; `through` are the projects of those editions.
    """

    person: Person | None = None
    organises: frozenset[str] = frozenset()
    editions: Mapping[str, str] = field(default_factory=dict)
    through: frozenset[str] = frozenset()

    @property
    def is_admin(self) -> bool:
        return self.person is not None and self.person.site_role in ("root", "admin")

    @property
    def role(self) -> str:
        """The one word that says most about what he may do here."""
        if self.person is None:
            return ""
        if self.is_admin:
            return self.person.site_role
        if self.organises:
            return "organiser"
        roles = set(self.editions.values())
        return next((role for role in ("editor", "reader") if role in roles), self.person.site_role)

    def role_in(self, project: Project, edition: Edition | None = None) -> str:
        """What he is to this project or edition: organiser, editor, reader, or nothing."""
        if project.id in self.organises:
            return "organiser"
        return self.editions.get(edition.id, "") if edition else ""

    def sees_project(self, project: Project) -> bool:
        return project.is_visible or self.edits_project(project) or project.id in self.through

    def sees_edition(self, project: Project, edition: Edition) -> bool:
        coupled = self.edits_project(project) or edition.id in self.editions
        return coupled or (edition.is_published and self.sees_project(project))

    def edits_project(self, project: Project) -> bool:
        """Also: creates, publishes and deletes editions of it."""
        return self.is_admin or project.id in self.organises

    def edits_edition(self, project: Project, edition: Edition) -> bool:
        return self.edits_project(project) or self.editions.get(edition.id) == "editor"
