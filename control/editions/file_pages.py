"""The files of an edition: showing, uploading, replacing, deleting.

Rules:

- What a visitor uploaded is never run in the site's name: anything that could hold a script is shown in a sandbox.
- Kinds of files come from the table below, not from the machine's, so that every installation serves the same.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from flask import Blueprint, Response, redirect, render_template, request, send_file, url_for
from werkzeug.datastructures import FileStorage
from werkzeug.wrappers import Response as AnyResponse

from ..errors import InvalidError
from .answers import ARTICLE_POLICY
from .context import NAME, demand, edition_seen, site, tell, viewer
from .edition_pages import edition_page
from .nouns import Edition, Project

Answer = str | AnyResponse | tuple[str, int]

_BELOW = "/project/<project_id>/edition/<edition_id>"
_KINDS = {
    "html": "text/html",
    "htm": "text/html",
    "css": "text/css",
    "txt": "text/plain",
    "md": "text/plain",
    "yml": "text/plain",
    "yaml": "text/plain",
    "csv": "text/plain",
    "json": "application/json",
    "xml": "application/xml",
    "svg": "image/svg+xml",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "ico": "image/x-icon",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "pdf": "application/pdf",
    "glb": "model/gltf-binary",
    "gltf": "model/gltf+json",
    "obj": "model/obj",
    "stl": "model/stl",
}
_OTHER = "application/octet-stream"
_ACTIVE = ("text/html", "application/xml", "image/svg+xml")


def register(blueprint: Blueprint) -> None:
    blueprint.add_url_rule(f"{_BELOW}/files/<path:path>", view_func=content)
    blueprint.add_url_rule(f"{_BELOW}/upload", view_func=upload, methods=["POST"])
    blueprint.add_url_rule(f"{_BELOW}/file", view_func=file)
    blueprint.add_url_rule(f"{_BELOW}/file/replace", view_func=replace_file, methods=["POST"])
    blueprint.add_url_rule(f"{_BELOW}/file/delete", view_func=delete_file, methods=["POST"])


def content(project_id: str, edition_id: str, path: str) -> Answer:
    """The file itself."""
    _, edition = edition_seen(project_id, edition_id)
    kind = kind_of(path)
    response = _sent(site().folder(edition).open(path), path.rpartition("/")[2], kind)
    response.headers["Cache-Control"] = "no-cache, private"
    if kind in _ACTIVE:
        response.headers["Content-Security-Policy"] = ARTICLE_POLICY
    return response


def upload(project_id: str, edition_id: str) -> Answer:
    """One or more files into a folder of the edition."""
    project, edition = edition_seen(project_id, edition_id)
    demand(viewer().edits_edition(project, edition))
    folder, replace = request.form.get("folder", ""), "replace" in request.form
    done: list[str] = []
    try:
        for one in _uploaded():
            path, replaced = site().folder(edition).save(one.stream, folder, one.filename or "", replace=replace)
            done.append(f"{path} was {'replaced' if replaced else 'uploaded'}")
    except InvalidError as error:
        if done:  # the sentence must not say that nothing was changed
            mistake = f"{error.subject}: {error.what} Before that, {', '.join(done)}."
        else:
            mistake = " ".join(
                part for part in (f"{error.subject}:" if error.subject else "", error.what, error.hint) if part
            )
        return edition_page(project, edition, mistake), 422
    tell(f"{'; '.join(done)}.")
    return _to_edition(project, edition)


def file(project_id: str, edition_id: str) -> Answer:
    """What can be done with one file; `path` is in the query, since any text may be a file's name."""
    project, edition = edition_seen(project_id, edition_id)
    demand(viewer().edits_edition(project, edition))
    return _file_page(project, edition, request.args.get("path", ""))


def replace_file(project_id: str, edition_id: str) -> Answer:
    """Another content for a file; its name stays."""
    project, edition = edition_seen(project_id, edition_id)
    demand(viewer().edits_edition(project, edition))
    path = request.form.get("path", "")
    folder = site().folder(edition)
    folder.find(path)
    try:
        stream = _uploaded()[0].stream
    except InvalidError as error:
        return _file_page(project, edition, path, f"{error.what} {error.hint}"), 422
    parent, _, name = path.rpartition("/")
    folder.save(stream, parent, name, replace=True)
    tell(f"{path} was replaced.")
    return _to_edition(project, edition)


def delete_file(project_id: str, edition_id: str) -> Answer:
    """The file goes; the page before has asked."""
    project, edition = edition_seen(project_id, edition_id)
    demand(viewer().edits_edition(project, edition))
    path = request.form.get("path", "")
    site().folder(edition).delete(path)
    tell(f"{path} was deleted.", "note")
    return _to_edition(project, edition)


def kind_of(path: str) -> str:
    """The media type that a file is served with."""
    return _KINDS.get(path.rpartition(".")[2].lower(), _OTHER)


def _sent(file: BinaryIO, name: str, kind: str) -> Response:
    """The answer with an open file, the part that was asked for, or that it has not changed.

    Flask would want a path for the latter two, and open it itself.
    """
    status = os.fstat(file.fileno())
    try:
        response = send_file(
            file, kind, kind == _OTHER, name, conditional=False, last_modified=status.st_mtime,
            etag=f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}",
        )  # fmt: skip
        response.content_length = status.st_size
        response.make_conditional(request, accept_ranges=True, complete_length=status.st_size)
    except BaseException:
        file.close()
        raise
    return response


def _uploaded() -> list[FileStorage]:
    files = [one for one in request.files.getlist("file") if one.filename]
    if not files:
        raise InvalidError("No file was chosen.", hint="Nothing was changed.")
    return files


def _file_page(project: Project, edition: Edition, path: str, mistake: str = "") -> str:
    found = site().folder(edition).find(path)
    return render_template(
        "editions/file.html",
        project=project,
        edition=edition,
        path=path,
        name=path.rpartition("/")[2],
        size_bytes=found.bytes,
        is_picture=kind_of(path).startswith("image/"),
        mistake=mistake,
    )


def _to_edition(project: Project, edition: Edition) -> AnyResponse:
    return redirect(url_for(f"{NAME}.edition", project_id=project.id, edition_id=edition.id), 303)
