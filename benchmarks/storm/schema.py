"""Dataclasses to JSON and back, strictly: a type that does not fit, a field too few or too many is an error.

Knows plain dataclasses, lists, dicts with text keys, histograms and JSON's own values; must not know what
they mean.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from benchmarks.storm.histogram import BrokenHistogram, Histogram

T = TypeVar("T")


class WrongSchema(ValueError):
    """JSON that is not a run of the schema that is read here."""


def write(value: object, schema: int) -> str:
    """A dataclass as JSON, with the number of its schema first."""
    return json.dumps({"schema": schema, **_plain(value)}, indent=1, ensure_ascii=False, allow_nan=False)


def read(kind: type[T], text: str, schema: int) -> T:
    """The dataclass `kind` that `write` wrote under this schema. Raises WrongSchema."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise WrongSchema(f"this is not JSON: {error}") from None
    if not isinstance(data, dict) or "schema" not in data:
        raise WrongSchema('this JSON is no result of a storm: it has no "schema"')
    found = data.pop("schema")
    if found != schema or isinstance(found, bool):
        raise WrongSchema(
            f"this result has schema {found!r}, and this version reads schema {schema} alone: "
            "read it with the version that wrote it, or run the storm again"
        )
    result: T = _read(kind, data, "")
    return result


def _plain(value: object) -> Any:
    if isinstance(value, Histogram):
        return value.encode()
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _read(kind: Any, data: Any, where: str) -> Any:
    """`data` as a `kind`; `where` is its path in the file, for the error."""
    if kind is Any:
        return data
    if kind is Histogram:
        return _histogram(data, where)
    if dataclasses.is_dataclass(kind):
        return _fields(kind, _of(data, dict, where), where)
    if get_origin(kind) is list:
        (item,) = get_args(kind)
        return [_read(item, each, f"{where}[{at}]") for at, each in enumerate(_of(data, list, where))]
    if get_origin(kind) is dict:
        item = get_args(kind)[1]
        return {key: _read(item, each, f"{where}.{key}") for key, each in _of(data, dict, where).items()}
    if kind is float:
        return math.nan if data is None else float(_of(data, (int, float), where))
    return _of(data, kind, where)


def _fields(kind: Any, data: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    named = where.lstrip(".") or "the run"
    for name in hints:
        if name not in data:
            raise WrongSchema(f"{named} has no {name!r}")
    for name in data:
        if name not in hints:
            raise WrongSchema(f"{named} has {name!r}, which schema 1 does not know")
    return kind(**{name: _read(hint, data[name], f"{where}.{name}") for name, hint in hints.items()})


def _histogram(data: Any, where: str) -> Histogram:
    try:
        return Histogram.decode(_of(data, str, where))
    except BrokenHistogram as error:
        raise WrongSchema(f"{where.lstrip('.')}: {error}") from None


def _of(data: Any, kind: Any, where: str) -> Any:
    """`data`, when it is of that kind. True is no number here."""
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        wanted = kind if isinstance(kind, type) else kind[-1]
        raise WrongSchema(f"{where.lstrip('.')} is {type(data).__name__} where {wanted.__name__} is expected")
    return data
