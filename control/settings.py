"""Settings: `config.yaml` and `KEYFRAME_…` variables become one typed, frozen value; every mistake is reported at once.

Rules:

- The environment goes before the file, the file before the defaults. Nested keys are joined by two underscores:
  `KEYFRAME_MONGO__URI`.
- Unknown keys are refused. A mistake names the key, the value found and the value expected.
- Relative folders are relative to the folder of `config.yaml`, or to the current folder where there is none. Then
  somebody must say where the data is: an empty `var` in a folder that happens to be the current one would look like a
  site without snapshots.
- Secrets come from environment or file only, never from `config.yaml`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from .config import FILE, PREFIX, config_file, key_of, read, sentence
from .errors import SettingsError
from .model import Action, Patterns
from .patterns import mistake_of
from .scope_settings import Part, ScopeSettings

RunMode = Literal["pilot", "test", "prod", "custom"]
# Read elsewhere: which file this is about, the secret, the run a part belongs to, where the tests find real data.
_NO_SETTINGS = {"KEYFRAME_CONFIG", "KEYFRAME_SECRET", "KEYFRAME_RUN_ID", "KEYFRAME_REAL_DATA"}
# What programs make again by themselves: caches, and the thumbnails of file managers.
_CACHES = (".cache/", "__pycache__/", ".thumbnails/", "Thumbs.db", "ehthumbs.db", ".DS_Store")


def _is_pattern(value: str) -> str:
    if mistake := mistake_of(value):
        raise ValueError(mistake)
    return value


Pattern = Annotated[str, Field(max_length=200), AfterValidator(_is_pattern)]


def _is_hook(value: str) -> str:
    module, _, function = value.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *function.split("."))):
        raise ValueError("the name of a function, like package.module:function")
    return value


HookName = Annotated[str, Field(max_length=200), AfterValidator(_is_hook)]


class MongoSettings(Part):
    """Where the database is; no `uri` means the embedded server of `keyframe up`."""

    uri: str | None = None
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,38}$")] = "keyframe"
    control_database: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_-]{1,38}$")] = None
    timeout: Annotated[float, Field(gt=0, le=60)] = 3.0

    @field_validator("uri")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("an address that begins with mongodb:// or mongodb+srv://")
        return value


class WebSettings(Part):
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    threads: Annotated[int, Field(ge=4, le=256)] = 32


class JobSettings(Part):
    lease: Annotated[float, Field(ge=2, le=600)] = 30.0
    threads: Annotated[int, Field(ge=1, le=8)] = 2


class GateSettings(Part):
    """Seconds: how long a writing request waits for the gate, how long a snapshot or restore may try to get it, and how
    long a snapshot may then keep it closed."""

    wait: Annotated[float, Field(gt=0, le=60)] = 10.0
    close_within: Annotated[float, Field(gt=0, le=30)] = 2.0
    closed_at_most: Annotated[float, Field(gt=0, le=300)] = 5.0


class EngineSettings(Part):
    """How snapshots are made."""

    write_json: bool = Field(default=True, alias="json")
    capped_in_gate: Annotated[int, Field(ge=0, le=10_000)] = 32
    fresh_copy_after: Annotated[int, Field(ge=0, le=36_500)] = 90


class RestoreSettings(Part):
    """How a restore changes over: up to so many records, and megabytes of them, in one transaction; whether readers
    wait meanwhile, too. Of a snapshot of how many days a preview warns, 0: of none. `beside`: the folder below which
    copies may be put by REST and on pages; None: by the command line only."""

    transaction_records: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    transaction_megabytes: Annotated[int, Field(ge=1, le=1_000)] = 64
    readers_wait: bool = False
    old_after: Annotated[int, Field(ge=0, le=36_500)] = 30
    beside: Path | None = None


class ExcludeSettings(Part):
    """What is left out of snapshots: gitignore patterns for the folder of a project, and for all that is in none."""

    site: Annotated[tuple[Pattern, ...], Field(max_length=100)] = (*_CACHES, "lost+found/")
    project: Annotated[tuple[Pattern, ...], Field(max_length=100)] = _CACHES

    @property
    def patterns(self) -> Patterns:
        return Patterns(self.site, self.project)


class FileSettings(Part):
    exclude: ExcludeSettings = ExcludeSettings()


class HookSettings(Part):
    """Functions of the host that are told of restores, as `module:function`; the seconds that each of them has."""

    after_restore: Annotated[tuple[HookName, ...], Field(max_length=20)] = ()
    seconds: Annotated[float, Field(gt=0, le=600)] = 10.0


class RightsSettings(Part):
    """Acts that nobody may do, per run mode: `{prod: [make]}`."""

    off: dict[RunMode, tuple[Action, ...]] = Field(default_factory=dict)


class SampleSettings(Part):
    sign_in: bool = False


class ShellSettings(Part):
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
    engine: EngineSettings = EngineSettings()
    restore: RestoreSettings = RestoreSettings()
    files: FileSettings = FileSettings()
    scopes: ScopeSettings = ScopeSettings()
    application_version: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    rights: RightsSettings = RightsSettings()
    hooks: HookSettings = HookSettings()
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


def load(config: Path | None = None) -> Settings:
    """Read `config` (default: what `config_file` finds) and the environment.

    Raises
    ------
    SettingsError: the file cannot be read, or values are wrong, `mistakes` has a sentence for each of them; or there is
    no file, and nothing else says where the data is.
    """
    found = config_file(config)
    values = read(found) if found else {}
    mistakes = [
        f"{key}: found in the environment, expected: one of the keys of config.yaml, in capitals after KEYFRAME_"
        for key in sorted(os.environ)
        if key.startswith(PREFIX) and not _known(key)
    ]
    settings = None
    try:
        settings = Settings(**values)
    except ValidationError as error:
        mistakes += [sentence(Settings, one, os.environ) for one in error.errors()]
    if settings is not None:
        settings = _placed(settings, found)
        mistakes += _crossed(settings)
    if mistakes or settings is None:
        raise _wrong(found, mistakes)
    return settings


def _placed(settings: Settings, found: Path | None) -> Settings:
    """With complete folders."""
    given = {key: value for key in ("var", "working_dir", "data_dir") if (value := getattr(settings, key)) is not None}
    if found is None and "var" not in settings.model_fields_set:
        if settings.working_dir is None or settings.data_dir is None:
            raise SettingsError(
                f"No {FILE} is here ({Path.cwd()}), and nothing else says where the data is.",
                subject="settings",
                hint="Name the file with --config or KEYFRAME_CONFIG, or the folder with KEYFRAME_VAR; none was made.",
            )
        given["var"] = settings.data_dir / ".keyframe"  # never a folder that happens to be the current one
    base = found.resolve().parent if found else Path.cwd()
    placed: dict[str, Any] = {key: (base / value).resolve() for key, value in given.items()}
    if settings.restore.beside is not None:
        placed["restore"] = RestoreSettings(beside=(base / settings.restore.beside).resolve())
    return settings.model_copy(update=placed)


def _wrong(found: Path | None, mistakes: list[str]) -> SettingsError:
    of_environment = [one.startswith(PREFIX) or f"(from {PREFIX}" in one for one in mistakes]
    from_file = found is not None and not all(of_environment)
    places = [str(found)] * from_file + ["the KEYFRAME_… variables"] * (any(of_environment) or not from_file)
    count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''} in the settings"
    return SettingsError(
        f"{count}: " + "; ".join(mistakes) + ".",
        subject=str(found) if from_file else "the environment",
        hint=f"Correct {' and '.join(places)}; nothing was started.",
        mistakes=tuple(mistakes),
    )


def _known(variable: str) -> bool:
    return (
        variable in _NO_SETTINGS or variable.removeprefix("KEYFRAME_").lower().split("__")[0] in Settings.model_fields
    )


def _crossed(settings: Settings) -> list[str]:
    """Values that are right each for itself and do not fit each other."""
    mistakes = []
    working, data = settings.working, settings.data
    if data == working or working in data.parents:
        key = key_of(("data_dir",), os.environ)
        mistakes.append(f"{key}: found {str(data)!r}, expected: a folder that is not below working_dir ({working})")
    if data in working.parents:
        key = key_of(("working_dir",), os.environ)
        mistakes.append(f"{key}: found {str(working)!r}, expected: a folder that is not below data_dir ({data})")
    beside = settings.restore.beside
    if beside is not None and any(one in (beside, *beside.parents) for one in (working, data)):
        key = key_of(("restore", "beside"), os.environ)
        mistakes.append(f"{key}: found {str(beside)!r}, expected: a folder outside of working_dir and data_dir")
    if settings.control_database == settings.mongo.database:
        key = key_of(("mongo", "control_database"), os.environ)
        mistakes.append(f"{key}: found the application's database, expected: another one")
    if settings.scopes.project.own_collection is None:
        key = key_of(("scopes", "project", "collections"), os.environ)
        mistakes.append(f"{key}: no collection with the field _id, expected: the one of the projects")
    return mistakes
