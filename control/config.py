"""Where the settings come from: the file `config.yaml`, the environment; and what is wrong there, in our own words.

Rules:

- The file is the one that was named, else the one of the current folder, else that of the checkout the package is
  installed from. So a call from any folder works on the same data.
- A mistake names the variable that a value came from; the value of an address, which may hold a password, is not told.
"""

from __future__ import annotations

import json
import os
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .errors import SettingsError

PREFIX = "KEYFRAME_"
FILE = "config.yaml"

_PLAIN = {bool: "true or false", str: "a text", Path: "a folder", int: "a whole number", float: "a number"}


def config_file(config: Path | None = None) -> Path | None:
    """The file to read: `config`, else `KEYFRAME_CONFIG`, else `./config.yaml`, else the checkout's, else none.

    The checkout is the folder above the package, where the package is installed from it (`pip install --editable`).
    """
    named = config or (Path(os.environ["KEYFRAME_CONFIG"]) if os.environ.get("KEYFRAME_CONFIG") else None)
    if named is not None:
        return named
    checkout = Path(__file__).resolve().parents[1]
    places = [Path(FILE)] + ([checkout / FILE] if (checkout / "pyproject.toml").is_file() else [])
    return next((place for place in places if place.is_file()), None)


class _Loader(yaml.SafeLoader):
    """YAML in which `on`, `off`, `yes` and `no` are words; there is a key of that name."""


_Loader.yaml_implicit_resolvers = {
    first: [one for one in rules if one[0] != "tag:yaml.org,2002:bool"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)\Z"), list("tf"))


def read(path: Path) -> dict[str, Any]:
    """The keys of a settings file.

    Raises
    ------
    SettingsError: it cannot be read, or is no YAML; says where in it.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}  # noqa: S506  (a safe loader)
    except OSError as error:
        raise SettingsError(
            f"cannot be read ({error.strerror}).", subject=str(path), hint="Name another with --config."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"is not valid YAML. {_wrong_yaml(error)}", subject=str(path), hint="Correct it, then try again."
        ) from error
    if not isinstance(values, dict):
        raise SettingsError("holds no keys.", subject=str(path), hint="Each line is `key: value`.")
    return {str(key): value for key, value in values.items()}


def _wrong_yaml(error: Exception) -> str:
    """Where and what, as one sentence of one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark, began = error.problem_mark, error.context_mark
        what = error.problem or "it cannot be read"
        context = f", {error.context}" if error.context else ""
        if context and began is not None and began.line != mark.line:
            context += f" that began in line {began.line + 1}"
        text = f"Line {mark.line + 1}, column {mark.column + 1}: {what}{context}."
        return " ".join(text.replace("'<stream end>'", "the end of the file").split())
    if isinstance(error, yaml.reader.ReaderError):
        return f"Character {int(error.position) + 1} is one that a text cannot hold."
    if isinstance(error, UnicodeDecodeError):
        return f"Byte {error.start + 1} is not UTF-8."
    return "It cannot be read."


def _variable_of(loc: tuple[int | str, ...], environ: Mapping[str, str]) -> str | None:
    """The variable of the environment that gave the key at `loc`; None: it came from the file."""
    given = {key.upper(): key for key in environ}
    for end in range(len(loc), 0, -1):
        name = PREFIX + "__".join(str(part) for part in loc[:end]).upper()
        if name in given and (end == len(loc) or _holds(environ[given[name]], loc[end:])):
            return given[name]
    return None


def _holds(text: str, rest: tuple[int | str, ...]) -> bool:
    """Whether a variable with JSON in it has the value at `rest`."""
    try:
        value = json.loads(text)
        for part in rest:
            value = value[part]
    except (ValueError, LookupError, TypeError):
        return False
    return True


def key_of(loc: tuple[int | str, ...], environ: Mapping[str, str]) -> str:
    """The key as it is written, with the variable that gave it where one did."""
    variable = _variable_of(loc, environ)
    return ".".join(str(part) for part in loc if part != "[key]") + (f" (from {variable})" if variable else "")


def sentence(model: type[BaseModel], error: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """One mistake that pydantic found, as key, value found and value expected."""
    loc = tuple(error["loc"])
    key = key_of(loc, environ)
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    found = repr(error["input"])
    if "@" in found:
        found = "a value that is not repeated here"
    return f"{key}: found {found}, expected: {_expected(model, loc, error)}"


def _expected(model: type[BaseModel], loc: tuple[int | str, ...], error: Mapping[str, Any]) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] in ("literal_error", "enum"):
        return "one of " + str(error["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")
    field = _field(model, loc)
    if field is not None:
        return _kind(field)
    message = str(error["msg"])
    return message[0].lower() + message[1:]


def _field(model: type[BaseModel], loc: tuple[int | str, ...]) -> FieldInfo | None:
    """The field at `loc`, where the way there leads through groups of settings only."""
    field = None
    here: Any = model
    for part in loc:
        if not (isinstance(here, type) and issubclass(here, BaseModel)):
            return None
        fields = {one.alias or name: one for name, one in here.model_fields.items()}
        field = fields.get(str(part))
        if field is None:
            return None
        here = field.annotation
    return field


def _kind(field: FieldInfo) -> str:
    bounds = {key: getattr(one, key) for one in field.metadata for key in ("ge", "le") if hasattr(one, key)}
    kind: Any = field.annotation
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    if "le" in bounds:
        number = "a whole number" if kind is int else "a number"
        most = bounds["le"]
        return f"{number} from {bounds['ge']} to {most}" if "ge" in bounds else f"{number} above 0 and at most {most}"
    pattern = next((one.pattern for one in field.metadata if getattr(one, "pattern", None)), None)
    if pattern:
        longest = pattern.rpartition(",")[2].rstrip("}$")
        return f"a name of letters, digits, _ and -, at most {longest} characters"
    if kind in _PLAIN:
        length = next((one.max_length for one in field.metadata if hasattr(one, "max_length")), None)
        return f"a text of 1 to {length} characters" if length else _PLAIN[kind]
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(one) for one in get_args(kind))
    return "a list" if get_origin(kind) is tuple else "keys of its own below it"
