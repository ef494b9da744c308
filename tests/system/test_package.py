"""The sdist and the wheel: what goes in, what stays out, and that the wheel's compiled part loads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from poolproxy._loader import compiled_modules
from tests.system.sources import PACKAGE, ROOT

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages, built from a copy without anything generated, as from a fresh clone."""
    source = tmp_path_factory.mktemp("source")
    generated = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
    shutil.copytree(PACKAGE, source / "poolproxy", ignore=generated)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(out), str(source)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return out


def names(dist: Path, pattern: str) -> set[PurePosixPath]:
    """The files inside the one package that matches, without the sdist's leading folder."""
    (package,) = dist.glob(pattern)
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            return {PurePosixPath(name) for name in wheel.namelist()}
    with tarfile.open(package) as sdist:
        return {PurePosixPath(*PurePosixPath(name).parts[1:]) for name in sdist.getnames()}


def sources() -> set[PurePosixPath]:
    """Every file of the package that is written by hand."""
    suffixes = {".py", ".pyx", ".pxd", ".pyi", ".typed"}
    return {
        PurePosixPath(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*")
        if path.suffix in suffixes and "__pycache__" not in path.parts
    }


def test_sdist_has_every_source_and_nothing_generated(dist: Path) -> None:
    contents = names(dist, "*.tar.gz")
    assert sources() <= contents
    assert {PurePosixPath(name) for name in ("setup.py", "LICENSE", "README.md", "CHANGELOG.md")} <= contents
    assert not {name for name in contents if name.suffix in (".c", ".so")}


def test_wheel_has_the_compiled_part_and_no_c(dist: Path) -> None:
    contents = names(dist, "*.whl")
    assert sources() <= contents
    assert PurePosixPath("poolproxy/py.typed") in contents
    assert not {name for name in contents if name.suffix == ".c"}
    extensions = {name.with_name(name.name.split(".")[0]) for name in contents if name.suffix == ".so"}
    assert extensions == {PurePosixPath("poolproxy/_core")}


def test_compiled_part_of_the_wheel_loads(dist: Path, tmp_path: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    modules = sorted(compiled_modules())
    program = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    module = importlib.import_module(name)\n"
        "    assert module.__file__.endswith('.so'), module.__file__\n"
        "    print(module.__file__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *modules],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert all(line.startswith(str(tmp_path)) for line in done.stdout.splitlines())
