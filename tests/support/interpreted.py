"""Loads the `.py` of a module where a compiled sibling exists, so that one suite proves both builds.

`POOLPROXY_INTERPRETED=1` makes `tests/conftest.py` install the hook in the test process; a proxy started by a
test then runs as `python -m tests.support.interpreted`, which installs it there first.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import ModuleType

from poolproxy._loader import LIBRARY, compiled_modules

PACKAGE = "poolproxy"


def wanted() -> bool:
    """Whether this run is to be the interpreted one."""
    return os.environ.get("POOLPROXY_INTERPRETED", "") not in ("", "0")


class SourceFirst:
    """A meta path finder: Python's own prefers the extension module, this one the source beside it."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None or not name.startswith(PACKAGE + "."):
            return None
        for folder in path:
            source = Path(folder) / (name.rpartition(".")[2] + ".py")
            if source.is_file():
                return importlib.util.spec_from_file_location(name, source)
        return None


def install() -> None:
    """Put the finder first. Must happen before any module of the package that has two builds is imported."""
    early = [name for name, module in sys.modules.items() if name.startswith(PACKAGE) and is_compiled(module)]
    if early:
        raise RuntimeError(f"already imported in the compiled build: {', '.join(early)}")
    sys.meta_path.insert(0, SourceFirst)


def is_compiled(module: ModuleType) -> bool:
    """Whether this module came out of an extension module."""
    return (getattr(module, "__file__", None) or "").endswith(tuple(EXTENSION_SUFFIXES))


def described(root: Path) -> str:
    """One line for pytest's header: which build runs, and what of it is compiled."""
    built = sorted(compiled_modules()) if LIBRARY.exists() else []
    double = [name for name in built if (root / (name.replace(".", "/") + ".py")).exists()]
    if not built:
        return "poolproxy build: pure source, no extension module has been built"
    if wanted():
        return f"poolproxy build: interpreted in place of {', '.join(double) or 'nothing'}"
    return f"poolproxy build: compiled ({', '.join(built)})"


if __name__ == "__main__":
    install()
    runpy.run_module(PACKAGE, run_name="__main__", alter_sys=True)
