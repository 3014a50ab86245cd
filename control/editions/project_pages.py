"""The list of projects and the page of one; creating, changing and deleting a project."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from . import metadata
from .context import NAME, demand, project_seen, site, tell, viewer
from .folder import project_sizes, remove_project
from .nouns import Edition, Project
from .sizes import Size

Answer = str | AnyResponse | tuple[str, int]


def register(blueprint: Blueprint) -> None:
    blueprint.add_url_rule("/", view_func=projects)
    blueprint.add_url_rule("/project/new", view_func=new_project, methods=["GET", "POST"])
    blueprint.add_url_rule("/project/<project_id>", view_func=project)
    blueprint.add_url_rule("/project/<project_id>/edit", view_func=edit_project, methods=["GET", "POST"])
    blueprint.add_url_rule("/project/<project_id>/delete", view_func=delete_project, methods=["GET", "POST"])


def projects() -> Answer:
    """All projects that this person may see."""
    records = site().records
    editions = records.editions_by_project()
    shown = [
        (one, [edition for edition in editions.get(one.id, ()) if viewer().sees_edition(one, edition)])
        for one in records.projects()
        if viewer().sees_project(one)
    ]
    return render_template("editions/projects.html", projects=shown, site=records.site(), viewer=viewer())


def project(project_id: str) -> Answer:
    """One project with its editions; the extension adds its snapshots."""
    found = project_seen(project_id)
    editions = [one for one in site().records.editions(found) if viewer().sees_edition(found, one)]
    if viewer().edits_project(found):
        size = site().sizes.of(found)
    else:  # nothing about what one does not see
        files = [file.bytes for edition in editions for file in site().folder(edition).files()]
        size = Size(len(files), sum(files))
    return render_template(
        "editions/project.html",
        project=found,
        editions=[(one, icon_of(one)) for one in editions],
        size_of_files=size,
        organisers=site().records.organisers(found),
        metadata=list(metadata.shown_metadata(found.dc)),
        viewer=viewer(),
    )


def new_project() -> Answer:
    """A form for title and organiser; the new project is seen by its people only, until it is made visible."""
    demand(viewer().is_admin)
    people = [one.person for one in site().records.accounts()]
    if request.method == "GET":
        return render_template("editions/new_project.html", people=people, mistake="", form={})
    title, mistake = metadata.title_of(request.form)
    organiser = request.form.get("organiser", "")
    if organiser and organiser not in {person.user for person in people}:
        mistake = mistake or f"There is nobody called {organiser}."
    mistake = mistake or metadata.too_long(request.form)
    if mistake:
        return render_template("editions/new_project.html", people=people, mistake=mistake, form=request.form), 422
    project_id = site().records.create_project(title, new_metadata(title), organiser)
    tell(f"The project “{title}” is there. It is not visible to visitors yet.")
    return redirect(url_for(f"{NAME}.project", project_id=project_id), 303)


def edit_project(project_id: str) -> Answer:
    """Title, metadata and visibility."""
    found = project_seen(project_id)
    demand(viewer().edits_project(found))
    if request.method == "GET":
        return _edit_form(found)
    mistake = metadata.title_of(request.form)[1] or metadata.too_long(request.form)
    if mistake:
        return _edit_form(found, mistake), 422
    changes = metadata.changes(found.title, found.dc, request.form)
    visible = "visible" in request.form
    if visible != found.is_visible:
        changes["isVisible"] = visible
    if changes and site().records.change_project(found, changes):
        tell("The project was changed.")
    elif not changes:
        tell("Nothing was changed.", "note")
    return redirect(url_for(f"{NAME}.project", project_id=found.id), 303)


def delete_project(project_id: str) -> Answer:
    """Ask first; then the project goes with its editions and files."""
    found = project_seen(project_id)
    demand(viewer().is_admin)
    editions = site().records.editions(found)
    if request.method == "GET":
        sizes = project_sizes(site().settings.working, found)
        return render_template(
            "editions/ask.html",
            project=found,
            heading=f"Delete the project “{found.title}”?",
            button="Delete this project",
            back=url_for(f"{NAME}.project", project_id=found.id),
            counts={"editions": len(editions), "files": len(sizes)},
            size_bytes=sum(sizes),
        )
    remove_project(site().settings.working, found)
    site().records.delete_project(found)
    tell(f"The project “{found.title}” was deleted, with its editions and files.", "note")
    return redirect(url_for(f"{NAME}.projects"), 303)


def icon_of(edition: Edition) -> str:
    """The path of the edition's picture, empty if it has none."""
    return "icon.png" if site().folder(edition).holds("icon.png") else ""


def new_metadata(title: str) -> dict[str, object]:
    """The metadata of something new: what its form says."""
    return {"title": title} | {
        name.removeprefix("dc."): value for name, value in metadata.changes(title, {}, request.form).items()
    }


def _edit_form(found: Project, mistake: str = "") -> str:
    return render_template(
        "editions/edit_project.html",
        project=found,
        fields=metadata.form_fields(found.dc),
        form=request.form,
        mistake=mistake,
    )
