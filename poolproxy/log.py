"""The log: structlog, readable on a terminal and JSON otherwise, one line per event on standard error.

Three promises: a line below the level costs a comparison; a log that nobody reads never blocks the proxy
(lines are dropped and counted); no control character, overlong name or secret gets into a line. Must not know
what is logged.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import sys
import time
import traceback
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import structlog

from poolproxy.errors import shown

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "text", "json"]
Event = MutableMapping[str, Any]

_LEVELS: Final[dict[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_DEBUG: Final = _LEVELS["debug"]
_INFO: Final = _LEVELS["info"]
#: Characters kept of one field, and of a traceback (its end, where the error is).
FIELD_CHARACTERS: Final = 200
TRACEBACK_CHARACTERS: Final = 2500
#: Bytes of a line: what a pipe that polls writable takes without blocking (PIPE_BUF).
LINE_BYTES: Final = 4096
#: Seconds between two lines of one `repeated` key, and how many keys are remembered.
REPEAT_SECONDS: Final = 10.0
REPEAT_KEYS: Final = 1000

#: Kept, because json.dumps builds one per call.
_ENCODER: Final = json.JSONEncoder()
_INDENTATION: Final = "    "
_SECRET_FIELDS: Final = frozenset({"password", "secret", "url", "token", "key", "proof"})
_URL_LOGIN: Final = re.compile(r"://[^/\s]*@")


class Sink:
    """Writes whole lines to a descriptor; drops and counts those that it would have to wait for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self.dropped = 0

    def write(self, line: bytes) -> bool:
        """Write one line of at most LINE_BYTES; False if it was dropped."""
        try:
            # One write per poll: a pipe that polls writable has room for LINE_BYTES, a file always has.
            if self._poll.poll(0) == [(self._descriptor, select.POLLOUT)]:
                os.write(self._descriptor, line)
                return True
        except OSError:
            pass
        self.dropped += 1
        return False


class _State:
    """What `configure` sets: structlog's logger behind all of ours."""

    emit: Callable[[str, str, dict[str, Any]], None] | None = None
    sink: Sink | None = None


class Logger:
    """What the rest of the project logs with: an event's stable name, and fields."""

    __slots__ = ("threshold",)

    def __init__(self) -> None:
        self.threshold = 30  #: the lowest level that is written; `configure` sets it

    def debug(self, event: str, **fields: object) -> None:
        if self.threshold <= 10:
            _emit("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        if self.threshold <= 20:
            _emit("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        if self.threshold <= 30:
            _emit("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        _emit("error", event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """An error with the traceback of the exception being handled (or of `exc_info`, an exception)."""
        fields.setdefault("exc_info", sys.exc_info()[1])
        _emit("error", event, fields)

    def enabled(self, level: Level) -> bool:
        """Whether lines of this level are written."""
        return self.threshold <= _LEVELS[level]

    def informs(self) -> bool:
        """Whether lines of level info are written: ask before collecting fields that cost something."""
        return self.threshold <= _INFO

    def debugs(self) -> bool:
        """The same for level debug."""
        return self.threshold <= _DEBUG


_LOGGER: Final = Logger()


def get_logger() -> Logger:
    """The logger; it may be kept before `configure` is called."""
    return _LOGGER


def configure(level: Level = "info", format: Format = "auto", descriptor: int = 2) -> None:  # noqa: A002
    """Log to `descriptor` from this level up; what libraries say through Python's logging, too."""
    text = format == "text" or (format == "auto" and os.isatty(descriptor))
    sink = Sink(descriptor)
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=os.isatty(descriptor) and "NO_COLOR" not in os.environ,
            sort_keys=False,
            pad_event_to=0,
            # The default one prints local variables, passwords among them.
            exception_formatter=structlog.dev.plain_traceback,
        )
        if text
        else structlog.processors.JSONRenderer(serializer=lambda line, **_: _ENCODER.encode(line))
    )
    structlog.configure(
        processors=[_prepare, _indent, renderer, _fit_text] if text else [_prepare, renderer, _fit_json],
        wrapper_class=structlog.BoundLogger,
        logger_factory=lambda *_: _SinkLogger(sink),
        cache_logger_on_first_use=False,
    )
    bound = structlog.get_logger().bind()
    _LOGGER.threshold = _LEVELS[level]
    _State.sink = sink
    _State.emit = lambda name, event, fields: getattr(bound, name)(event, **fields)
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge())


def _emit(level: str, event: str, fields: dict[str, Any]) -> None:
    if _State.emit is None:
        configure("warning")
    assert _State.emit is not None
    assert _State.sink is not None
    if _State.sink.dropped:
        lost, _State.sink.dropped = _State.sink.dropped, 0
        _State.emit("warning", "log lines dropped", {"lines": lost})
        if _State.sink.dropped:
            _State.sink.dropped = lost + 1
            return
    _State.emit(level, event, fields)


class _SinkLogger:
    """What structlog hands its rendered lines to."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, line: bytes) -> None:
        self._sink.write(line)

    debug = info = warning = error = write


class _Bridge(logging.Handler):
    """Takes what libraries say through Python's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < _LOGGER.threshold:
            return
        level = max(
            (name for name in _LEVELS if _LEVELS[name] <= record.levelno),
            key=_LEVELS.__getitem__,
            default="debug",
        )
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields["exc_info"] = record.exc_info[1]
        _emit(level, record.getMessage(), fields)


def _prepare(_: object, level: str, event: Event) -> Event:
    """The line's fields in order (time, level, event, then the rest), each fit to be shown."""
    line: Event = {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level,
        "event": _clean(event.pop("event")),
    }
    problem = event.pop("exc_info", None)
    for name, value in event.items():
        line[name] = "***" if name in _SECRET_FIELDS else _clean(value)
    if isinstance(problem, BaseException):
        text = "".join(traceback.format_exception(problem)).rstrip("\n")
        line["exception"] = _end_of(_URL_LOGIN.sub("://***@", text))
    return line


def _end_of(text: str) -> str:
    """The end of a traceback, each fit to be shown, and as many as fit into a line of the log: what the
    error says may be a stranger's, and of any length."""
    kept: list[str] = []
    room = TRACEBACK_CHARACTERS
    for part in reversed(text[-TRACEBACK_CHARACTERS:].split("\n")):
        escaped = shown(part, FIELD_CHARACTERS)
        room -= len(_ENCODER.encode(escaped)) + len(_INDENTATION)
        if room < 0:
            break
        kept.append(escaped)
    return "\n".join(reversed(kept))


def _indent(_: object, __: str, line: Event) -> Event:
    """What an error says may have a stranger's line ends: no line of a traceback looks like one of ours."""
    if "exception" in line:
        line["exception"] = "\n".join(_INDENTATION + part for part in line["exception"].split("\n"))
    return line


def _clean(value: object) -> object:
    if type(value) is str:
        if len(value) <= FIELD_CHARACTERS and value.isprintable() and "://" not in value:
            return value
    elif value is None or isinstance(value, (int, float)):
        return value
    return shown(_URL_LOGIN.sub("://***@", str(value)), FIELD_CHARACTERS)


def _fit_json(_: object, level: str, line: Event | str) -> bytes:
    text = str(line)
    if len(text) >= LINE_BYTES:
        # The beginning of an object is no JSON: keep it as text inside a whole one.
        text = _ENCODER.encode({"level": level, "event": "line too long", "line": text[: LINE_BYTES // 3]})
    return text.encode("ascii", "replace") + b"\n"


def _fit_text(_: object, level: str, line: Event | str) -> bytes:
    return str(line).encode("utf-8", "backslashreplace")[: LINE_BYTES - 1] + b"\n"


class RepeatGate:
    """Lets one line per key and REPEAT_SECONDS pass, and counts those it held back."""

    def __init__(self) -> None:
        self._passed: dict[object, tuple[float, int]] = {}

    def passes(self, key: object, now: float) -> int | None:
        """How many lines of this key were held back since the last that passed; None = hold this one back."""
        last, held = self._passed.get(key, (-REPEAT_SECONDS, 0))
        if now - last < REPEAT_SECONDS:
            self._passed[key] = (last, held + 1)
            return None
        self._passed.pop(key, None)  # to the end: the keys are in the order in which they last passed
        if len(self._passed) >= REPEAT_KEYS:
            del self._passed[next(iter(self._passed))]
        self._passed[key] = (now, 0)
        return held


_GATE: Final = RepeatGate()


def repeated(logger: Logger, key: object, event: str, *, level: Level = "warning", **fields: object) -> None:
    """Log an event that may come in floods: once per key and REPEAT_SECONDS, with the number held back."""
    if not logger.enabled(level):
        return
    held = _GATE.passes(key, time.monotonic())
    if held is None:
        return
    if held:
        fields["held_back"] = held
    _emit(level, event, fields)
