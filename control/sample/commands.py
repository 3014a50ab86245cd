"""`keyframe sample`: fill the site with the sample, or with real data from a folder."""

from __future__ import annotations

from pathlib import Path

import click

from ..doors.cli_frame import Opener, print_document
from ..doors.office import Office
from ..model import Scope
from .content import Content
from .filling import load_real, make_sample


@click.command("sample")
@click.option(
    "--from",
    "folder",
    type=click.Path(exists=True, file_okay=False, readable=True, path_type=Path),
    help="A folder with real editions: project/<n>/edition/<m>/, meta/dc.yml in each, workflow/init.yml.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def sample_command(opener: Opener, folder: Path | None, as_json: bool) -> None:
    """Fill an empty site with the sample, or with the data of a folder; replaces an earlier sample.

    A site that holds anything else is refused. The people have no password until `keyframe people password USER`
    gives them one.
    """
    with opener() as office:
        # Neither a job of the site nor a snapshot's pinning meets a half-filled site.
        with office.jobs.hold(Scope.site(), "sample"), office.gate.shared(office.settings.gate.wait):
            content = _filled(office, folder)
        counts = _counts(content)
        if as_json:
            print_document({"kind": content.kind, **counts})
            return
        click.echo(
            f"The site holds {counts['projects']} projects, {counts['editions']} editions, {counts['files']} files "
            f"and {counts['people']} people: {', '.join(record['user'] for record in content.records['user'])}."
        )


def _filled(office: Office, folder: Path | None) -> Content:
    if folder is None:
        return make_sample(office.settings, office.database)
    return load_real(folder, office.settings, office.database)


def _counts(content: Content) -> dict[str, int]:
    return {
        "projects": len(content.records["project"]),
        "editions": len(content.records["edition"]),
        "people": len(content.records["user"]),
        "files": len(content.files),
    }
