"""What a suite needs on disk: its source distribution, and a virtual environment with what it tests.

Both are kept in `.cache/suites` (or under POOLPROXY_CACHE_DIR), by exact versions.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path

from tests.suites.definitions import Suite
from tools.cache import cache_directory


class CommandFailed(Exception):
    """A command failed; the message holds the end of its output."""


def cache() -> Path:
    folder = cache_directory() / "suites"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise CommandFailed(f"{' '.join(map(str, command))}:\n{done.stdout[-3000:]}")
    return done.stdout


def download_command(suite: Suite) -> list[str]:
    """Fetches the source distribution of that package alone: what it takes to build it may come as wheels."""
    name = suite.distribution
    return ["pip", "download", "--no-deps", "--no-binary", name, f"{name}=={suite.version}"]


def source_distribution(suite: Suite) -> Path:
    """The source distribution's archive."""
    archive = cache() / f"{suite.distribution}-{suite.version}.tar.gz"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=cache()) as scratch:
            _run(sys.executable, "-m", *download_command(suite), "--dest", scratch)
            (found,) = Path(scratch).glob("*.tar.gz")
            found.rename(archive)
    return archive


def interpreter(suite: Suite) -> Path:
    """The Python that has what the suite tests. Made once for each set of requirements."""
    key = sha256("\n".join((sys.version, *suite.requirements)).encode()).hexdigest()[:12]
    folder = cache() / f"{suite.name}-{key}"
    python = folder / "bin" / "python"
    finished = folder / ".finished"
    if not finished.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", folder)
        _run(python, "-m", "pip", "install", "--quiet", *suite.requirements)
        finished.touch()
    return python


def versions(suite: Suite) -> list[str]:
    """`name==version` of everything in the suite's environment."""
    return _run(interpreter(suite), "-m", "pip", "freeze").split()


def unpack(suite: Suite, folder: Path) -> None:
    """Take the tests, and nothing that could be imported in the installed package's place, into `folder`."""
    wanted = tuple(Path(part) for part in suite.copied)
    with tarfile.open(source_distribution(suite)) as archive:
        for member in archive.getmembers():
            inside = Path(*Path(member.name).parts[1:])
            if any(inside.is_relative_to(part) for part in wanted):
                member.name = str(inside)
                archive.extract(member, folder, filter="data")
