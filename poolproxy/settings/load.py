"""Reads the settings: command line over environment over file over secrets directory over defaults.

Says where a wrong value came from and what was probably meant, and never what the value is: it may be a secret.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

from poolproxy.errors import shown
from poolproxy.settings.model import InvalidSettings, Settings, fields_below
from poolproxy.settings.url import parse_url

PREFIX: Final = "POOLPROXY_"
NESTING: Final = "__"
#: The one variable without the prefix: platforms set it, and alone it is enough.
URL_VARIABLE: Final = "DATABASE_URL"
#: Names with our prefix that are not settings: the settings file itself, and switches of the tests and the build.
OTHER_VARIABLES: Final = frozenset({"POOLPROXY_CONFIG", "POOLPROXY_INTERPRETED", "POOLPROXY_BUILD_CFLAGS"})
#: What Kubernetes puts into every container for a Service whose name starts with "poolproxy".
_SERVICE_LINK: Final = re.compile(
    r"POOLPROXY(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_LINK_VALUE: Final = re.compile(r"(tcp|udp|sctp)://")
#: A secret is a line; a file above this is a mistake (a wrong path), not a setting.
MAX_FILE_BYTES: Final = 1 << 20


class _Layer:
    """One source's settings, nested, and how the source names them."""

    def __init__(self, values: dict[str, Any], label: str, flat: bool) -> None:
        self.values = values
        self._label = label
        self._flat = flat

    def has(self, path: tuple[str, ...]) -> bool:
        at: Any = self.values
        for key in path:
            if not isinstance(at, dict) or key not in at:
                return False
            at = at[key]
        return True

    def name(self, path: tuple[str, ...]) -> str:
        """As the person who wrote it knows it: POOLPROXY_DATABASES__APP__URL, or databases.app.url (poolproxy.toml)."""
        if self._flat:
            return PREFIX + NESTING.join(path).upper()
        return f"{'.'.join(path)} ({self._label})"


class _FlatSource(EnvSettingsSource):
    """pydantic-settings' reading of nested names, on any mapping instead of the process's environment."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(Settings, env_prefix="", env_nested_delimiter=NESTING, case_sensitive=False)
        self.env_vars = dict(values)


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> Settings:
    """The settings from all sources; `options` are the command line's, by flat name (`pool_size`, `users__app__password`).

    InvalidSettings, with one line per problem, if a name is unknown, a value wrong or a file unreadable.
    """
    environment = os.environ if environment is None else environment
    layers = [
        _Layer(_nested(_known_only(options or {}, "--set "), "--set "), "command line", flat=False),
        *_environment_layers(environment),
        *([_Layer(_read_toml(file), str(file), flat=False)] if file is not None else []),
    ]
    secrets_dir = next(
        (layer.values["secrets_dir"] for layer in layers if layer.values.get("secrets_dir")), ""
    )
    if secrets_dir:
        layers.extend(_secrets_layers(Path(str(secrets_dir))))
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        merged = _merge(merged, layer.values)
    try:
        return Settings(**merged)
    except ValidationError as error:
        problems = [
            _explain(problem, layers) for problem in error.errors(include_url=False, include_input=False)
        ]
    # Outside the except block: a chained ValidationError would carry the values along.
    raise InvalidSettings(*problems)


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


def _environment_layers(environment: Mapping[str, str]) -> list[_Layer]:
    ours = {
        name: value
        for name, value in environment.items()
        if value and name.upper().startswith(PREFIX) and not _is_foreign(name.upper(), value)
    }
    flat = _with_files({name[len(PREFIX) :].lower(): value for name, value in ours.items()}, PREFIX)
    values = _nested(_known_only(flat, PREFIX), PREFIX)
    url = _with_files(
        {k.lower(): v for k in (URL_VARIABLE, URL_VARIABLE + "_FILE") if (v := environment.get(k))}, ""
    )
    return [
        _Layer(values, "environment", flat=True),
        *_url_layer(url.get(URL_VARIABLE.lower()), URL_VARIABLE),
    ]


def _is_foreign(name: str, value: str) -> bool:
    if name in OTHER_VARIABLES or _SERVICE_LINK.fullmatch(name):
        return True
    # POOLPROXY_PORT=tcp://10.0.0.7:6432 is Kubernetes' too; POOLPROXY_PORT=6432 is a slip for LISTEN_PORT.
    return name.endswith("_PORT") and _SERVICE_LINK_VALUE.match(value) is not None


def _url_layer(url: str | None, label: str) -> list[_Layer]:
    """DATABASE_URL as the settings it stands for: one database, named as the url's own (or as its user)."""
    if not url:
        return []
    try:
        parsed = parse_url(url)
    except ValueError as error:
        raise InvalidSettings(f"{label}: {error}") from None
    name = parsed.dbname or parsed.user
    if name is None:
        raise InvalidSettings(f"{label}: the url names neither a database nor a user")
    return [_Layer({"databases": {name: {"url": url}}}, label, flat=False)]


def _with_files(flat: Mapping[str, str], prefix: str) -> dict[str, str]:
    """NAME_FILE=path replaced by NAME with the file's text, less the newline at its end."""
    result = dict(flat)
    for name, path in flat.items():
        base = name.removesuffix("_file")
        if base == name or name in Settings.model_fields:
            continue
        if base in flat:
            raise InvalidSettings(
                f"{(prefix + base).upper()} and {(prefix + name).upper()} are both set: give one"
            )
        del result[name]
        if _suggestion(base) is not None:
            raise InvalidSettings(_unknown_name(name, prefix, "_FILE", base))
        result[base] = _read_secret(Path(path), (prefix + name).upper())
    return result


def _secrets_layers(directory: Path) -> list[_Layer]:
    """The files of the secrets directory. Hidden ones are Kubernetes' own (`..data`), which the visible ones link to."""
    if not directory.is_dir():
        raise InvalidSettings(f"secrets_dir: {directory} is not a directory")
    flat: dict[str, str] = {}
    for pattern in ("*", "*/*", "*/*/*"):
        for path in sorted(directory.glob(pattern)):
            parts = path.relative_to(directory).parts
            if path.is_file() and not any(part.startswith(".") for part in parts):
                name = NESTING.join(parts).lower().removeprefix(PREFIX.lower())
                flat[name] = _read_secret(path, f"secrets_dir: {path}")
    url = flat.pop(URL_VARIABLE.lower(), None)
    label = f"{directory}/"
    layer = _Layer(_nested(_known_only(flat, label), label), str(directory), flat=False)
    return [layer, *_url_layer(url, f"{directory}/{URL_VARIABLE.lower()}")]


def _read_secret(path: Path, label: str) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise InvalidSettings(f"{label}: the file is larger than {MAX_FILE_BYTES} bytes")
        return data.decode().rstrip("\r\n")
    except OSError as error:
        raise InvalidSettings(f"{label}: the file cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InvalidSettings(f"{label}: the file is not UTF-8 text") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise InvalidSettings(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        where = re.search(r"\(at .*\)$", str(error))
        raise InvalidSettings(f"{path}: not valid TOML {where.group() if where else ''}".rstrip()) from None


def _nested(flat: Mapping[str, str], prefix: str) -> dict[str, Any]:
    try:
        return _FlatSource(flat)()
    except SettingsError:
        # Only databases and users as a whole are read as JSON.
        named = " or ".join(f"{prefix}{name.upper()}" for name in ("databases", "users") if name in flat)
        raise InvalidSettings(f"{named}: not a JSON object") from None


def _known_only(flat: Mapping[str, str], prefix: str) -> Mapping[str, str]:
    problems = [_unknown_name(name, prefix, "", name) for name in flat if _suggestion(name) is not None]
    if problems:
        raise InvalidSettings(*problems)
    return flat


def _suggestion(name: str) -> str | None:
    """None for a name that exists (as far as its first part tells); else the likely one, or "" without an idea."""
    first, *rest = name.split(NESTING)
    known = Settings.model_fields
    if first in known and (not rest or first in ("databases", "users")):
        return None
    meant = difflib.get_close_matches(first, known, n=1)
    return NESTING.join([*meant, *rest]) if meant else ""


def _unknown_name(name: str, prefix: str, suffix: str, base: str) -> str:
    upper = prefix == PREFIX or prefix == ""
    meant = _suggestion(base) or ""
    text = f"{prefix}{shown(name.upper() if upper else name, 100)}: unknown setting"
    if meant:
        text += f", did you mean {prefix}{shown((meant + suffix.lower()).upper() if upper else meant, 100)}?"
    return text


def _explain(problem: Any, layers: Iterable[_Layer]) -> str:
    """One line for one of pydantic's errors: where it came from, what is wrong."""
    # Markers such as "[key]" and the names of union members are pydantic's, not parts of a setting's path.
    path = tuple(str(part) for part in problem["loc"] if part != "[key]")
    origin = next((layer for layer in layers if layer.has(path)), None)
    name = shown(origin.name(path) if origin is not None else ".".join(path), 200)
    if problem["type"] == "extra_forbidden":
        meant = difflib.get_close_matches(path[-1], fields_below(path[:-1]), n=1)
        return f"{name}: unknown setting" + (f", did you mean {meant[0]}?" if meant else "")
    message = problem["msg"].removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
