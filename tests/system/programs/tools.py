"""What the programs need beyond Debian's packages: an environment with the drivers group of pyproject.toml,
and the Node drivers. Made once, kept in the cache, and made anew when what is asked for changes.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

from tests.system.image import run
from tests.system.sources import ROOT
from tools.cache import cache_directory

NODE = Path(__file__).resolve().parent.parent / "node"
INSTALL_TIMEOUT = 300


def _kept(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache that `make` fills; a run that was broken off leaves none behind."""
    folder = cache_directory() / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        make(unfinished)
        unfinished.rename(folder)
    return folder


def python() -> Path:
    """The interpreter of an environment with the `drivers` group, which is not among our own requirements."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["project"]["optional-dependencies"]["drivers"]

    def make(folder: Path) -> None:
        # It is renamed when it is done, which only its scripts would mind: programs run by its interpreter.
        run(sys.executable, "-m", "venv", folder)
        pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet")
        run(*pip, *wanted, timeout=INSTALL_TIMEOUT)

    return _kept("drivers", f"{sys.version} {wanted}", make) / "bin" / "python"


def node() -> Path:
    """A folder with the Node programs and their drivers."""
    sources = {file.name: file.read_bytes() for file in sorted(NODE.iterdir()) if file.is_file()}

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "package.json").write_bytes(sources["package.json"])
        options = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        run("npm", "install", *options, cwd=folder, timeout=INSTALL_TIMEOUT)

    folder = _kept("node", sources["package.json"].decode(), make)
    for name, source in sources.items():
        (folder / name).write_bytes(source)
    return folder


def program(*names: str) -> str:
    """The first of these programs that is installed; AssertionError when none is."""
    for name in names:
        if found := shutil.which(name):
            return found
    raise AssertionError(f"none of {', '.join(names)} is installed: run `make deps`")


def first_line(*command: str | Path) -> str:
    """The first line that a command prints, of whichever stream."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.splitlines()[0]
