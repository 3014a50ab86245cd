"""Settings: `config.yaml` and `KEYFRAME_…` variables become one typed, frozen value; every mistake is reported at once.

Rules:

- The environment goes before the file, the file before the defaults. Nested keys are joined by two underscores:
  `KEYFRAME_MONGO__URI`.
- Unknown keys are refused. A mistake names the key, the value found and the value expected.
- Relative folders are relative to the folder of `config.yaml`, or to the current folder where there is none.
- Secrets come from environment or file only, never from `config.yaml`.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from .errors import SettingsError
from .model import Action

RunMode = Literal["pilot", "test", "prod", "custom"]
# Read elsewhere: which file this is about, the secret, the run a part belongs to, where the tests find real data.
_NO_SETTINGS = {"KEYFRAME_CONFIG", "KEYFRAME_SECRET", "KEYFRAME_RUN_ID", "KEYFRAME_REAL_DATA"}
_FIELD = Annotated[str, Field(min_length=1, max_length=120)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MongoSettings(_Part):
    """Where the database is; no `uri` means the embedded server of `keyframe up`."""

    uri: str | None = None
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,38}$")] = "keyframe"
    control_database: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_-]{1,38}$")] = None
    timeout: Annotated[float, Field(gt=0, le=60)] = 3.0


class WebSettings(_Part):
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    threads: Annotated[int, Field(ge=4, le=256)] = 32


class JobSettings(_Part):
    lease: Annotated[float, Field(ge=2, le=600)] = 30.0
    threads: Annotated[int, Field(ge=1, le=8)] = 2


class GateSettings(_Part):
    """Seconds: how long a writing request waits for the gate, and how long a snapshot or restore may try to get it."""

    wait: Annotated[float, Field(gt=0, le=60)] = 10.0
    close_within: Annotated[float, Field(gt=0, le=30)] = 2.0


class CollectionSettings(_Part):
    field: _FIELD


class EditionSettings(_Part):
    """The parts of a project that can be restored by themselves: their collection, their folder in the project's."""

    collection: _FIELD = "edition"
    folder: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] = "edition"


class ProjectSettings(_Part):
    """Which records belong to a project: per collection the field that holds the project's id."""

    id: Literal["objectid", "string", "int"] = "objectid"
    title: _FIELD = "title"
    collections: dict[str, CollectionSettings] = {
        "project": CollectionSettings(field="_id"),
        "edition": CollectionSettings(field="projectId"),
    }
    editions: EditionSettings = EditionSettings()

    @property
    def own_collection(self) -> str | None:
        """The collection whose `_id` is the project's id."""
        return next((name for name, one in self.collections.items() if one.field == "_id"), None)


class SiteSettings(_Part):
    people: tuple[str, ...] = ("user", "projectUser", "editionUser")
    leave: tuple[str, ...] = ("session", "cache", "rateLimit")


class ScopeSettings(_Part):
    project: ProjectSettings = ProjectSettings()
    site: SiteSettings = SiteSettings()


class RightsSettings(_Part):
    """Acts that nobody may do, per run mode: `{prod: [make]}`."""

    off: dict[RunMode, tuple[Action, ...]] = {}


class SampleSettings(_Part):
    sign_in: bool = False


class ShellSettings(_Part):
    """Whom the command line acts as; whoever may run it owns the data."""

    role: Literal["root", "admin", "user"] = "root"


class Settings(BaseSettings):
    """All settings; see `config.yaml` for what each is for. Made by `load`."""

    model_config = SettingsConfigDict(
        env_prefix="KEYFRAME_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    run_mode: RunMode = "pilot"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    time_zone: str = "UTC"
    var: Path = Path("var")
    working_dir: Path | None = None
    data_dir: Path | None = None
    mongo: MongoSettings = MongoSettings()
    web: WebSettings = WebSettings()
    jobs: JobSettings = JobSettings()
    gate: GateSettings = GateSettings()
    scopes: ScopeSettings = ScopeSettings()
    rights: RightsSettings = RightsSettings()
    sample: SampleSettings = SampleSettings()
    shell: ShellSettings = ShellSettings()

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except Exception as error:
            raise ValueError("a time zone of the IANA list, like Europe/Amsterdam") from error
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  (the signature is the library's)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (env_settings, init_settings)

    # The folders, complete after `load`.

    @property
    def working(self) -> Path:
        """The live files."""
        return self.working_dir or self.var / "working"

    @property
    def data(self) -> Path:
        """Where snapshots lie."""
        return self.data_dir or self.var / "data"

    @property
    def control_database(self) -> str:
        """The database of jobs, audit, tokens, locks; no restore touches it."""
        return self.mongo.control_database or f"{self.mongo.database}_control"

    @property
    def repository(self) -> Path:
        """The folder of this run mode below the data directory."""
        return self.data / "backups" / self.run_mode

    @property
    def secret_file(self) -> Path:
        return self.var / "secret"

    def secret_key(self) -> str:
        """The key that signs sessions: `KEYFRAME_SECRET`, or the content of `var/secret`, made on first use (0600)."""
        given = os.environ.get("KEYFRAME_SECRET")
        if given:
            return given
        self.var.mkdir(parents=True, exist_ok=True)
        # Written beside and linked into place, so that two processes starting at once agree on one secret.
        if not self.secret_file.exists():
            draft = self.secret_file.with_name(f".secret-{secrets.token_hex(8)}")
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_hex(32), encoding="ascii")
            with contextlib.suppress(FileExistsError):
                os.link(draft, self.secret_file)
            draft.unlink()
        return self.secret_file.read_text(encoding="ascii").strip()


def config_file(config: Path | None = None) -> Path | None:
    """The file that `load` reads: `config`, else `KEYFRAME_CONFIG`, else `./config.yaml`; None: there is none."""
    named = config or (Path(os.environ["KEYFRAME_CONFIG"]) if os.environ.get("KEYFRAME_CONFIG") else None)
    default = Path("config.yaml")
    return named or (default if default.exists() else None)


def load(config: Path | None = None) -> Settings:
    """Read `config` (default: `KEYFRAME_CONFIG`, else `./config.yaml` if it is there) and the environment.

    Raises
    ------
    SettingsError: the file cannot be read, or values are wrong; `mistakes` has a sentence for each of them.
    """
    found = config_file(config)
    values = _read(found) if found else {}
    path = found or Path("config.yaml")
    base = path.resolve().parent
    mistakes = [
        f"{key}: found in the environment, expected: one of the keys of config.yaml, in capitals after KEYFRAME_"
        for key in sorted(os.environ)
        if key.startswith("KEYFRAME_") and not _known(key)
    ]
    try:
        settings = Settings(**values)
    except ValidationError as error:
        mistakes += [_sentence(one) for one in error.errors()]
    else:
        folders = {
            key: (base / value).resolve()
            for key, value in (
                ("var", settings.var),
                ("working_dir", settings.working_dir),
                ("data_dir", settings.data_dir),
            )
            if value is not None
        }
        settings = settings.model_copy(update=folders)
        mistakes += _crossed(settings)
    if mistakes:
        raise SettingsError(
            f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''} in the settings: " + "; ".join(mistakes) + ".",
            subject=str(path),
            hint="Correct config.yaml or the KEYFRAME_… variables; nothing was started.",
            mistakes=tuple(mistakes),
        )
    return settings


class _Loader(yaml.SafeLoader):
    """YAML in which `on`, `off`, `yes` and `no` are words; there is a key of that name."""


_Loader.yaml_implicit_resolvers = {
    first: [one for one in rules if one[0] != "tag:yaml.org,2002:bool"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)\Z"), list("tf"))


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}  # noqa: S506  (a safe loader)
    except OSError as error:
        raise SettingsError(
            f"cannot be read ({error.strerror}).", subject=str(path), hint="Name another with --config."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"is not valid YAML: {error}", subject=str(path), hint="Correct it, then try again."
        ) from error
    if not isinstance(values, dict):
        raise SettingsError("holds no keys.", subject=str(path), hint="Each line is `key: value`.")
    return {str(key): value for key, value in values.items()}


def _known(variable: str) -> bool:
    return (
        variable in _NO_SETTINGS or variable.removeprefix("KEYFRAME_").lower().split("__")[0] in Settings.model_fields
    )


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    expected = error["msg"].removeprefix("Value error, ")
    return f"{key}: found {error['input']!r}, expected: {expected[0].lower()}{expected[1:]}"


def _crossed(settings: Settings) -> list[str]:
    mistakes = []
    working, data = settings.working, settings.data
    if data == working or working in data.parents:
        mistakes.append(f"data_dir: found {str(data)!r}, expected: a folder that is not below working_dir ({working})")
    if data in working.parents:
        mistakes.append(f"working_dir: found {str(working)!r}, expected: a folder that is not below data_dir ({data})")
    if settings.control_database == settings.mongo.database:
        mistakes.append("mongo.control_database: found the application's database, expected: another one")
    if settings.scopes.project.own_collection is None:
        mistakes.append(
            "scopes.project.collections: no collection with the field _id, expected: the one of the projects"
        )
    return mistakes
