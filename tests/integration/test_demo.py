"""The demo as a program of its own: its summary, its exit status, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import urllib.request
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

# Whoever runs the tests in the background may have SIGINT ignored, which children inherit.
PROGRAM = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from rich.console import Console
from poolproxy.demo.run import Plan, run
sys.exit(run(Plan(**json.loads(sys.argv[1])), Console()))
"""

SMALL = {"clients": 60, "pool_size": 5, "seconds": 2.0}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the demo puts its temporary files; PostgreSQL's account may enter; empty at the end."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
        assert list(path.iterdir()) == []


def command(**plan: object) -> list[str]:
    return [sys.executable, "-c", PROGRAM, json.dumps({**SMALL, **plan})]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", "TERM": "xterm"}


def run(folder: Path, **plan: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(**plan), env=environment(folder), capture_output=True, text=True, timeout=55, check=False
    )


@contextlib.contextmanager
def started(arguments: list[str], folder: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A demo under way; told to end should the test fail."""
    with subprocess.Popen(arguments, env=environment(folder), text=True, **options) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def everyone_leaves(processes: list[psutil.Process]) -> None:
    _, left = psutil.wait_procs(processes, timeout=10)
    assert left == []


def test_a_small_demo_keeps_its_promises(folder: Path) -> None:
    done = run(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nkept    ") == 5
    assert "BROKEN" not in done.stdout
    assert "\x1b" not in done.stdout
    assert re.search(r"^clients served +60 of 60 +\d+ of 60$", done.stdout, re.MULTILINE)
    assert re.search(
        r"^through poolproxy: +\d+\.\d s  \d+ clients  \d+ waiting  \d/5 servers", done.stdout, re.MULTILINE
    )
    found = re.search(
        r"^All promises kept: 60 clients on (\d+) server connections", done.stdout, re.MULTILINE
    )
    assert found is not None
    assert 1 <= int(found[1]) <= 5
    assert done.stderr == ""


def test_a_broken_promise_is_exit_status_1(folder: Path) -> None:
    done = run(folder, pool_size=2, proxy_settings={"POOLPROXY_POOL_SIZE": "10"})
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^BROKEN  at most 2 server connections: peak ([3-9]|10),", done.stdout, re.MULTILINE)
    assert done.stdout.count("\nkept    ") == 4
    assert "\n1 of 5 promises broken." in done.stdout
    assert "The end of the proxy's log:" in done.stderr


def test_a_proxy_that_does_not_start_is_exit_status_1(folder: Path) -> None:
    done = run(folder, proxy_settings={"POOLPROXY_POOL_SIZE": "many"})
    assert done.returncode == 1
    assert "the demo failed: the proxy did not start:" in done.stderr
    assert "POOL_SIZE" in done.stderr.upper()


@contextlib.contextmanager
def at_a_terminal(folder: Path) -> Iterator[tuple[subprocess.Popen[str], FileIO]]:
    """A long demo with a terminal of its own, and the end we read and type at."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    session = {"start_new_session": True, "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)}
    with (
        os.fdopen(ours, "r+b", buffering=0) as terminal,
        started(command(seconds=40.0), folder, **streams, **session) as process,
    ):
        os.close(theirs)
        yield process, terminal


def read_all(terminal: FileIO) -> str:
    """What is left to read; a terminal whose last process has gone answers EIO."""
    text = b""
    with contextlib.suppress(OSError):
        while more := terminal.read(65536):
            text += more
    return text.decode()


def test_ctrl_c_at_a_terminal_stops_and_removes_everything(folder: Path) -> None:
    with at_a_terminal(folder) as (process, terminal):
        shown = b""
        while b"60 served" not in shown:
            shown += terminal.read(65536) or b""
        assert "╭─".encode() in shown
        assert b"through poolproxy" in shown
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 4  # PostgreSQL, the proxy, the workers
        terminal.write(b"\x03")
        rest = read_all(terminal)
        assert process.wait(20) == 130
    assert "interrupted; everything is stopped and removed" in rest
    assert "Traceback" not in rest
    everyone_leaves(family)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_amid_a_storm_stops_and_removes_everything(folder: Path, number: int, status: int) -> None:
    with started(command(seconds=40.0), folder, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("through poolproxy"))
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(20) == status
    everyone_leaves(family)


async def visits(url: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT count(*) FROM visits")
    finally:
        await connection.close()


def test_keep_leaves_all_running_until_ctrl_c(folder: Path) -> None:
    with started(command(seconds=0.5, keep=True), folder, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told: dict[str, str] = {}
        for line in process.stdout:
            if line.startswith("Ctrl-C"):
                break
            name, _, value = line.strip().rpartition(" ")
            told[name.strip()] = value
        assert asyncio.run(visits(told["through poolproxy"])) == 60
        with urllib.request.urlopen(told["metrics"]) as answer:
            assert b"poolproxy_" in answer.read()
        for page in ("health", "ready"):
            with urllib.request.urlopen(told[page]) as answer:
                assert answer.status == 200
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    everyone_leaves(family)
