"""The page of an edition: its model, articles, metadata and files; creating and deleting an edition."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from ..errors import KeyframeError, NotFoundError
from . import metadata
from .answers import MODEL_POLICY
from .context import NAME, demand, edition_seen, project_seen, site, tell, viewer
from .nouns import Edition, Project, StoredFile
from .project_pages import new_metadata

Answer = str | AnyResponse | tuple[str, int]

_MODELS = (".glb", ".gltf")
_BELOW = "/project/<project_id>/edition"


def register(blueprint: Blueprint) -> None:
    both = ["GET", "POST"]
    blueprint.add_url_rule(f"{_BELOW}/new", view_func=new_edition, methods=both)
    blueprint.add_url_rule(f"{_BELOW}/<edition_id>", view_func=edition, methods=both)
    blueprint.add_url_rule(f"{_BELOW}/<edition_id>/model", view_func=model)
    blueprint.add_url_rule(f"{_BELOW}/<edition_id>/delete", view_func=delete_edition, methods=both)


def edition(project_id: str, edition_id: str) -> Answer:
    """One edition; a POST changes its title and metadata."""
    project, found = edition_seen(project_id, edition_id)
    if request.method == "GET":
        return edition_page(project, found)
    demand(viewer().edits_edition(project, found))
    mistake = metadata.title_of(request.form)[1] or metadata.too_long(request.form)
    if mistake:
        return edition_page(project, found, mistake), 422
    changes = metadata.changes(found.title, found.dc, request.form)
    published = "published" in request.form
    if viewer().edits_project(project) and published != found.is_published:
        changes["isPublished"] = published
    if not changes:
        tell("Nothing was changed.", "note")
    elif site().records.change_edition(found, changes):
        tell("Title and metadata were saved.")
    else:
        raise NotFoundError("The edition was deleted meanwhile.")
    return redirect(url_for(f"{NAME}.edition", project_id=project.id, edition_id=found.id), 303)


def edition_page(project: Project, found: Edition, mistake: str = "") -> str:
    """The page, with what was wrong in a form that came back."""
    files = site().folder(found).files()
    models = models_of(files)
    wanted = request.args.get("model", "")
    return render_template(
        "editions/edition.html",
        project=project,
        edition=found,
        files=files,
        folders=sorted({file.folder for file in files if file.folder}),
        articles=[file for file in files if file.folder == "articles" and file.name.lower().endswith(".html")],
        models=models,
        model=wanted if wanted in models else next(iter(models), ""),
        fields=metadata.form_fields(found.dc),
        metadata=list(metadata.shown_metadata(found.dc)),
        form=request.form if mistake else {},
        mistake=mistake,
        may_edit=viewer().edits_edition(project, found),
        may_publish=viewer().edits_project(project),
        role=viewer().role_in(project, found),
    )


def model(project_id: str, edition_id: str) -> Answer:
    """A page with nothing but the model, to stand in a frame; it alone has the policy that the viewer needs."""
    project, found = edition_seen(project_id, edition_id)
    path = request.args.get("path", "")
    site().folder(found).find(path)
    body = render_template("editions/model.html", project=project, edition=found, path=path)
    return Response(body, headers={"Content-Security-Policy": MODEL_POLICY})


def new_edition(project_id: str) -> Answer:
    """A form for the title; the new edition is not published yet."""
    project = project_seen(project_id)
    demand(viewer().edits_project(project))
    mistake = ""
    if request.method == "POST":
        title, mistake = metadata.title_of(request.form)
        mistake = mistake or metadata.too_long(request.form)
        if not mistake:
            return _create(project, title)
    page = render_template("editions/new_edition.html", project=project, mistake=mistake, form=request.form)
    return (page, 422) if mistake else page


def delete_edition(project_id: str, edition_id: str) -> Answer:
    """Ask first; then the edition goes with its files."""
    project, found = edition_seen(project_id, edition_id)
    demand(viewer().edits_project(project))
    folder = site().folder(found)
    if request.method == "GET":
        files = folder.files()
        return render_template(
            "editions/ask.html",
            project=project,
            heading=f"Delete the edition “{found.title}”?",
            button="Delete this edition",
            back=url_for(f"{NAME}.edition", project_id=project.id, edition_id=found.id),
            counts={"files": len(files)},
            size_bytes=sum(file.bytes for file in files),
        )
    folder.remove()
    site().records.delete_edition(found)
    tell(f"The edition “{found.title}” was deleted, with its files.", "note")
    return redirect(url_for(f"{NAME}.project", project_id=project.id), 303)


def models_of(files: Sequence[StoredFile]) -> list[str]:
    """The files that the viewer can show, those of the edition's own folder first."""
    found = [file.path for file in files if file.name.lower().endswith(_MODELS)]
    return sorted(found, key=lambda path: (path.count("/"), unquote(path).casefold()))


def _create(project: Project, title: str) -> AnyResponse:
    edition_id = site().records.create_edition(project, title, new_metadata(title))
    created = site().records.edition(project, edition_id)
    if created is not None:
        try:
            site().folder(created).create()
        except KeyframeError:
            site().records.delete_edition(created)
            raise
    tell(f"The edition “{title}” is there. Upload its files below.")
    return redirect(url_for(f"{NAME}.edition", project_id=project.id, edition_id=edition_id), 303)
