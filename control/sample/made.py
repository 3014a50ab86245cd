"""The sample site, made by code from `texts`: records, models, scenes, articles, pictures, metadata.

Rule: the same seed gives the same bytes; the seed changes the pictures only, ids come from names.
"""

from __future__ import annotations

from typing import Any

import yaml
from bson import ObjectId
from jinja2 import Environment, FileSystemLoader

from ..resources import resource_folder
from .content import Content, Record, coupling, people_records, stable_id
from .pictures import picture
from .scene import scene
from .solids import glb
from .texts import PEOPLE, PROJECTS, SITE_ABSTRACT, SITE_TITLE, EditionText, ProjectText

SEED = "keyframe"


def made_content(seed: str = SEED) -> Content:
    """All of the sample: 3 projects, 6 editions, 7 people."""
    site = {"title": SITE_TITLE, "abstract": SITE_ABSTRACT, "language": ["English"]}
    files: dict[str, bytes] = {"meta/dc.yml": _yaml(site)}
    projects: list[Record] = []
    editions: list[Record] = []
    organisers: list[Record] = []
    couplings: list[Record] = []
    for project in PROJECTS:
        project_id = stable_id("project", project.slug)
        dc = _project_dc(project)
        projects.append({"_id": project_id, "title": project.title, "isVisible": project.visible, "dc": dc})
        if project.organiser:
            organisers.append(coupling("projectId", project_id, project.organiser, "organiser"))
        folder = f"project/{project_id}"
        files[f"{folder}/meta/dc.yml"] = _yaml(dc)
        files[f"{folder}/icon.png"] = picture((160, 160), *project.colours, f"{seed}/{project.slug}")
        for edition in project.editions:
            record = _edition_record(project_id, project, edition)
            editions.append(record)
            couplings += [coupling("editionId", record["_id"], user, role) for user, role in edition.people]
            below = f"{folder}/edition/{record['_id']}"
            files |= {f"{below}/{path}": data for path, data in _edition_files(project, edition, record, seed).items()}
    return Content(
        kind="made",
        records={
            "site": ({"_id": stable_id("site"), "title": SITE_TITLE, "dc": site},),
            "user": people_records({user: (name, role) for user, name, role in PEOPLE}),
            "project": tuple(projects),
            "edition": tuple(editions),
            "projectUser": tuple(organisers),
            "editionUser": tuple(couplings),
        },
        files=files,
    )


def _project_dc(project: ProjectText) -> dict[str, Any]:
    subjects = {subject: None for edition in project.editions for subject in edition.subject}
    return {
        "title": project.title,
        "abstract": project.abstract,
        "creator": list(project.creator),
        "subject": list(subjects),
        "coverage": {"place": project.place},
        "language": ["English"],
        "rights": _rights(project),
        "dateSubmitted": "2024-03-04",
    }


def _edition_record(project_id: ObjectId, project: ProjectText, edition: EditionText) -> Record:
    return {
        "_id": stable_id("edition", project.slug, edition.slug),
        "projectId": project_id,
        "title": edition.title,
        "isPublished": edition.published,
        "dc": {
            "title": edition.title,
            "abstract": edition.abstract,
            "description": "\n\n".join(text for article in edition.articles for text in article.paragraphs),
            "creator": list(project.creator),
            "subject": list(edition.subject),
            "coverage": {"period": edition.period, "place": project.place},
            "language": ["English"],
            "rights": _rights(project),
            "dateSubmitted": "2024-05-13",
        },
        "settings": {"authorTool": {"name": "voyager", "sceneFile": "scene.svx.json"}},
    }


def _edition_files(project: ProjectText, edition: EditionText, record: Record, seed: str) -> dict[str, bytes]:
    model = glb(edition.title, edition.parts)
    files = {
        f"{edition.slug}.glb": model,
        "scene.svx.json": scene(edition, len(model)),
        "icon.png": picture((160, 160), *project.colours, f"{seed}/{edition.slug}/icon"),
        "meta/dc.yml": _yaml(record["dc"]),
        "meta/settings.yml": _yaml(record["settings"]),
    }
    page = Environment(
        loader=FileSystemLoader(resource_folder("templates")), autoescape=True, trim_blocks=True
    ).get_template("editions/sample_article.html")
    for article in edition.articles:
        files[f"articles/{article.file}"] = page.render(article=article).encode()
        files[f"articles/media/{article.picture}"] = picture(
            (480, 300), *project.colours, f"{seed}/{edition.slug}/{article.picture}"
        )
    return files


def _rights(project: ProjectText) -> dict[str, str]:
    return {
        "rightsHolder": project.creator[0],
        "license": "CC0 1.0",
        "accessRights": "Open Access",
    }


def _yaml(document: dict[str, Any]) -> bytes:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100).encode()
