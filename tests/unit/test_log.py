"""The log: both formats, what never gets into a line, floods, and a reader that does not read."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from poolproxy import log
from poolproxy.log import LINE_BYTES, RepeatGate, get_logger, repeated


class Pipe:
    """A pipe to log into, read at once or not at all."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def text(self) -> str:
        try:
            return os.read(self.reader, 1 << 20).decode()
        except BlockingIOError:
            return ""

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    root = logging.getLogger()
    handlers = list(root.handlers)
    yield made
    log.configure("warning")
    root.handlers[:] = handlers
    made.close()


@pytest.fixture
def json_lines(pipe: Pipe) -> Callable[[], list[dict[str, Any]]]:
    log.configure("info", "json", pipe.writer)
    return pipe.lines


Lines = Callable[[], list[dict[str, Any]]]


def test_json_line(json_lines: Lines) -> None:
    get_logger().info("login", client="127.0.0.1:5", database="app", wait=0.25, tries=2, tls=False, pid=None)
    (line,) = json_lines()
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "event": "login",
        "client": "127.0.0.1:5",
        "database": "app",
        "wait": 0.25,
        "tries": 2,
        "tls": False,
        "pid": None,
    }


def test_text_line_has_no_colours_without_a_terminal(pipe: Pipe) -> None:
    log.configure("info", "text", pipe.writer)
    get_logger().warning("server lost", database="app")
    text = pipe.text()
    assert text.endswith("server lost database=app\n")
    assert "warning" in text
    assert "\x1b" not in text


def test_auto_is_json_without_a_terminal_and_text_on_one(pipe: Pipe) -> None:
    log.configure("info", "auto", pipe.writer)
    get_logger().info("hello")
    assert pipe.lines()[0]["event"] == "hello"
    controller, terminal = os.openpty()
    try:
        log.configure("info", "auto", terminal)
        get_logger().info("hello")
        assert b"\x1b[" in os.read(controller, 1000)
    finally:
        os.close(controller)
        os.close(terminal)


@pytest.mark.parametrize(("level", "passing"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_level(pipe: Pipe, level: log.Level, passing: int) -> None:
    log.configure(level, "json", pipe.writer)
    logger = get_logger()
    for write in (logger.debug, logger.info, logger.warning, logger.error):
        write("x")
    assert len(pipe.lines()) == passing
    assert [logger.enabled(each) for each in ("debug", "info", "warning", "error")].count(True) == passing


def test_foreign_names_are_escaped_and_cut(json_lines: Lines) -> None:
    get_logger().info("login", user="a\nb\x1b[2J", database="x" * 5000, name=b"\xff", broken="\udc80")
    (line,) = json_lines()
    assert line["user"] == "a\\nb\\x1b[2J"
    assert line["database"] == "x" * 200 + "..."
    assert line["broken"] == "\\udc80"


def test_text_lines_cannot_be_forged(pipe: Pipe) -> None:
    log.configure("info", "text", pipe.writer)
    get_logger().info("login", user="x\n2026-01-01T00:00:00.000Z [info     ] all is well")
    assert pipe.text().count("\n") == 1


def test_secrets_are_masked(json_lines: Lines) -> None:
    get_logger().error(
        "failed",
        password="hunter2",
        url="hunter2",
        reason="cannot reach postgres://u:hunter2@h/d now",
        key=b"hunter2",
    )
    (line,) = json_lines()
    assert "hunter2" not in str(line)
    assert line["reason"] == "cannot reach postgres://***@h/d now"


@pytest.mark.parametrize("format", ["json", "text"])
def test_tracebacks_show_no_local_variables(pipe: Pipe, format: log.Format) -> None:  # noqa: A002
    log.configure("info", format, pipe.writer)

    def fail(password: str) -> None:
        raise RuntimeError("no way to postgres://u:" + "hunter2@h")

    try:
        fail("hunter" + str(3))
    except RuntimeError:
        get_logger().exception("broken", task="t")
    text = pipe.text()
    assert "RuntimeError: no way to postgres://***@h" in text
    assert "in fail" in text
    assert "u:hunter2" not in text
    assert "hunter3" not in text


def test_a_line_never_exceeds_what_a_pipe_takes(json_lines: Lines) -> None:
    get_logger().info("big", **{f"field{number}": "é" * 200 for number in range(100)})
    (line,) = json_lines()
    assert line["event"] == "line too long"
    assert len(json.dumps(line)) < LINE_BYTES


@pytest.mark.parametrize("said", ["é" * 9000, "\n" * 9000, "\x1b" * 9000, "\U0001f600\n" * 9000])
def test_what_an_error_says_is_cut_and_escaped(json_lines: Lines, said: str) -> None:
    try:
        raise ValueError(said)
    except ValueError:
        get_logger().exception("broken", task="t")
    (line,) = json_lines()
    assert line["event"] == "broken"
    assert line["exception"]
    assert all(part.isprintable() for part in line["exception"].split("\n"))


def test_libraries_log_to_the_same_place(json_lines: Lines) -> None:
    logging.getLogger("asyncio").warning("slow %s", "callback")
    logging.getLogger("asyncio").debug("not this")
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("asyncpg").exception("odd")
    first, second = json_lines()
    assert (first["event"], first["logger"], first["level"]) == ("slow callback", "asyncio", "warning")
    assert second["level"] == "error"
    assert "ValueError: why" in second["exception"]


def test_configuring_twice_does_not_double_lines(pipe: Pipe) -> None:
    for _ in range(2):
        log.configure("info", "json", pipe.writer)
    logging.getLogger("asyncio").warning("once")
    assert len(pipe.lines()) == 1


def test_a_reader_that_does_not_read_never_blocks_us(pipe: Pipe) -> None:
    fcntl.fcntl(pipe.writer, fcntl.F_SETPIPE_SZ, 4 * 4096)
    log.configure("info", "json", pipe.writer)
    for number in range(1000):
        get_logger().info("line", number=number)  # would hang here, and fail by the suite's time limit
    before = pipe.lines()
    get_logger().info("after")
    dropped, after = pipe.lines()
    assert before[-1]["number"] == len(before) - 1
    assert (dropped["event"], dropped["lines"]) == ("log lines dropped", 1000 - len(before))
    assert after["event"] == "after"


def test_a_reader_that_is_gone_is_no_error(pipe: Pipe) -> None:
    log.configure("info", "json", pipe.writer)
    gone = Pipe()
    log.configure("info", "json", gone.writer)
    os.close(gone.reader)
    try:
        get_logger().info("nobody hears this")
    finally:
        os.close(gone.writer)


class TestRepeats:
    def test_one_per_key_and_interval_with_the_number_held_back(self) -> None:
        gate = RepeatGate()
        assert gate.passes("a", 0.0) == 0
        assert gate.passes("b", 0.0) == 0
        assert [gate.passes("a", moment) for moment in (1.0, 5.0, 9.9)] == [None, None, None]
        assert gate.passes("a", 10.0) == 3
        assert gate.passes("a", 20.0) == 0

    def test_memory_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(log, "REPEAT_KEYS", 2)
        gate = RepeatGate()
        assert [gate.passes(key, 0.0) for key in "abc"] == [0, 0, 0]
        assert gate.passes("a", 1.0) == 0, "the oldest key was forgotten"
        assert gate.passes("c", 1.0) is None

    def test_in_the_log(self, json_lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(log, "_GATE", RepeatGate())
        moments = iter([0.0, 1.0, 30.0])
        monkeypatch.setattr(log.time, "monotonic", lambda: next(moments))
        for _ in range(3):
            repeated(get_logger(), ("down", "app"), "server connect failed", database="app")
        first, second = json_lines()
        assert "held_back" not in first
        assert (second["held_back"], second["level"], second["database"]) == (1, "warning", "app")

    def test_below_the_level_nothing_is_counted(self, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
        gate = RepeatGate()
        monkeypatch.setattr(log, "_GATE", gate)
        log.configure("error", "json", pipe.writer)
        repeated(get_logger(), "k", "x")
        assert pipe.text() == ""
        assert gate.passes("k", 0.0) == 0
