"""Reads the settings: command line over environment over file over secrets directory over defaults.

Says where a wrong value came from and what was probably meant, never what the value is: it may be a secret.
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
from poolproxy.settings.userlist import BrokenUserlist, read_userlist

PREFIX: Final = "POOLPROXY_"
NESTING: Final = "__"
FILE_SUFFIX: Final = "_file"
#: The one setting without the prefix: platforms provide it, and alone it is enough.
URL_NAME: Final = "database_url"
#: Names with our prefix that are no settings: the settings file's, and switches of the tests and the build.
OTHER_VARIABLES: Final = frozenset(
    {"POOLPROXY_CONFIG", "POOLPROXY_CACHE_DIR", "POOLPROXY_INTERPRETED", "POOLPROXY_BUILD_CFLAGS"}
)
#: A file above this is a wrong path, not a setting.
MAX_FILE_BYTES: Final = 1 << 20

# What Kubernetes puts into every container beside a Service named "poolproxy" or "poolproxy-...".
_SERVICE_LINK: Final = re.compile(
    r"POOLPROXY_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_LINK_VALUE: Final = re.compile(r"(tcp|udp|sctp)://")

#: Instead of pydantic's words, which speak of classes.
_MESSAGES: Final = {
    "model_type": "this is a table: its settings stand below it, one by one",
    "model_attributes_type": "this is a table: its settings stand below it, one by one",
    "dict_type": "this is a table: its settings stand below it, by name",
    "missing": "this setting is required",
}


class _Layer:
    """The settings of one source, nested, and what the source calls them."""

    def __init__(self, values: dict[str, Any], label: str) -> None:
        self.values = values
        self._label = label

    def has(self, path: tuple[str, ...]) -> bool:
        at: Any = self.values
        for key in path:
            if not isinstance(at, dict) or key not in at:
                return False
            at = at[key]
        return True

    def name(self, path: tuple[str, ...]) -> str:
        """As its author knows it: POOLPROXY_USERS__APP__PASSWORD, or users.app.password (poolproxy.toml)."""
        if self._label == PREFIX:
            return PREFIX + NESTING.join(path).upper()
        return f"{'.'.join(path)} ({self._label})"


class _FlatSource(EnvSettingsSource):
    """pydantic-settings' reading of nested names, of any mapping instead of the process's environment."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(Settings, env_prefix="", env_nested_delimiter=NESTING, case_sensitive=False)
        self.env_vars = dict(values)


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> Settings:
    """The settings from all sources; without `environment`, from the process's.

    `options` are the command line's, by flat name: `pool_size`, `users__app__password`. InvalidSettings, with
    a line per problem, if a name is unknown, a value wrong or a file unreadable.
    """
    layers = _flat_layers(dict(options or {}), "--set ", "command line")
    layers += _environment_layers(os.environ if environment is None else environment)
    if file is not None:
        layers.append(_Layer(_read_toml(file), str(file)))
    directories = (str(layer.values.get("secrets_dir", "")) for layer in layers)
    if directory := next(filter(None, directories), ""):
        layers += _secrets_layers(Path(directory))
    userlists = (str(layer.values.get("auth_file", "")) for layer in layers)
    if userlist := next(filter(None, userlists), ""):
        layers.append(_userlist_layer(userlist))
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        merged = _merge(merged, layer.values)
    try:
        return Settings(**merged)
    except ValidationError as error:
        problems = [_explain(each, layers) for each in error.errors(include_url=False, include_input=False)]
    # Raised outside of the except block: a chained ValidationError would carry the values along.
    raise InvalidSettings(*problems)


def _userlist_layer(path: str) -> _Layer:
    try:
        users = read_userlist(_read_secret(Path(path), "auth_file"))
    except BrokenUserlist as error:
        raise InvalidSettings(f"auth_file: {path}: {error}") from None
    return _Layer({"users": {name: {"password": password} for name, password in users.items()}}, path)


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


def _environment_layers(environment: Mapping[str, str]) -> list[_Layer]:
    # An empty variable is one not set: compose files pass ${NAME:-} for what their user left out.
    given = {name.upper(): value for name, value in environment.items() if value}
    ours = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in given.items()
        if name.startswith(PREFIX) and not _is_foreign(name, value)
    }
    url = {name.lower(): given[name] for name in ("DATABASE_URL", "DATABASE_URL_FILE") if name in given}
    url = _with_files(url, "")
    if URL_NAME in ours:
        raise InvalidSettings(f"{PREFIX}DATABASE_URL: unknown setting, did you mean DATABASE_URL?")
    return _flat_layers(_with_files(ours, PREFIX) | url, PREFIX, PREFIX)


def _is_foreign(name: str, value: str) -> bool:
    if name in OTHER_VARIABLES or _SERVICE_LINK.fullmatch(name):
        return True
    # POOLPROXY_PORT=tcp://10.0.0.7:6432 is Kubernetes' too; POOLPROXY_PORT=6432 is a slip for LISTEN_PORT.
    return name.endswith("_PORT") and _SERVICE_LINK_VALUE.match(value) is not None


def _secrets_layers(directory: Path) -> list[_Layer]:
    """The files of the secrets directory. Hidden ones are Kubernetes' own; the visible ones link there."""
    if not directory.is_dir():
        raise InvalidSettings(f"secrets_dir: {directory} is not a directory")
    flat: dict[str, str] = {}
    for pattern in ("*", "*/*", "*/*/*"):
        for path in sorted(directory.glob(pattern)):
            parts = path.relative_to(directory).parts
            if path.is_file() and not any(part.startswith(".") for part in parts):
                name = NESTING.join(parts).lower().removeprefix(PREFIX.lower())
                flat[name] = _read_secret(path, str(path))
    return _flat_layers(flat, f"{directory}/", str(directory))


def _flat_layers(flat: dict[str, str], prefix: str, label: str) -> list[_Layer]:
    """The layers of one source of flat names; `database_url` among them is a layer below the others."""
    url = flat.pop(URL_NAME, None)
    problems = [_unknown(name, name, prefix) for name in flat if not _is_known(name)]
    if problems:
        raise InvalidSettings(*problems)
    try:
        layers = [_Layer(_FlatSource(flat)(), label)]
    except SettingsError:
        # Only the two tables, given as a whole, are read as JSON.
        names = " or ".join(prefix + name.upper() for name in ("databases", "users") if name in flat)
        raise InvalidSettings(f"{names}: not a JSON object") from None
    if url is not None:
        name = "DATABASE_URL" if prefix == PREFIX else f"{prefix}{URL_NAME}"
        layers.append(_Layer(_single_database(url, name), name))
    return layers


def _single_database(url: str, label: str) -> dict[str, Any]:
    """What DATABASE_URL stands for: one database, with the name that the url gives it (else its user's)."""
    try:
        parsed = parse_url(url)
    except ValueError as error:
        raise InvalidSettings(f"{label}: {error}") from None
    name = parsed.dbname or parsed.user
    if name is None:
        raise InvalidSettings(f"{label}: the url names neither a database nor a user")
    return {"databases": {name: {"url": url}}}


def _with_files(flat: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Each NAME_FILE=path replaced by NAME with the file's text, less the newline at its end."""
    result = dict(flat)
    for name, path in flat.items():
        base = name.removesuffix(FILE_SUFFIX)
        *above, last = name.split(NESTING)
        if base == name or last in fields_below(tuple(above)):
            continue
        if base in flat:
            raise InvalidSettings(f"{prefix}{base.upper()} and {prefix}{name.upper()} are both set: give one")
        if not _is_known(base):
            raise InvalidSettings(_unknown(name, base, prefix))
        del result[name]
        result[base] = _read_secret(Path(path), prefix + name.upper())
    return result


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
    except UnicodeDecodeError:
        raise InvalidSettings(f"{path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings(f"{path}: not valid TOML: {error}") from None


def _is_known(name: str) -> bool:
    """Whether a flat name can be a setting's; what stands below a table is checked when it is read."""
    first, *below = name.split(NESTING)
    if first in ("databases", "users"):
        return len(below) <= 2
    return name == URL_NAME or (first in Settings.model_fields and not below)


def _unknown(name: str, base: str, prefix: str) -> str:
    """The line for an unknown flat name; `base` is it without "_file"."""
    first, *below = base.split(NESTING)
    suffix = name[len(base) :]
    text = f"{prefix}{shown(_cased(name, prefix), 100)}: unknown setting"
    # The settings file's path is given beside the settings, but mistyped like one of them.
    known = [each for each in (*Settings.model_fields, *(["config"] * (prefix == PREFIX))) if each != first]
    for meant in difflib.get_close_matches(first, known, n=1):
        text += (
            f", did you mean {prefix}{shown(_cased(NESTING.join([meant, *below]) + suffix, prefix), 100)}?"
        )
    return text


def _cased(name: str, prefix: str) -> str:
    return name.upper() if prefix == PREFIX else name


def _explain(problem: Any, layers: Iterable[_Layer]) -> str:
    """One line for one of pydantic's errors: where the value came from, and what is wrong with it."""
    path = tuple(str(part) for part in problem["loc"])
    message = _MESSAGES.get(problem["type"]) or str(problem["msg"]).removeprefix("Value error, ")
    if not path:
        return message
    origin = next((layer for layer in layers if layer.has(path)), None)
    name = shown(origin.name(path) if origin is not None else ".".join(path), 200)
    if problem["type"] == "extra_forbidden":
        meant = difflib.get_close_matches(path[-1], fields_below(path[:-1]), n=1)
        return f"{name}: unknown setting" + (f", did you mean {meant[0]}?" if meant else "")
    return f"{name}: {message}"
