"""Finds the compiled modules: all of them lie in one shared object.

Thirty objects would spread the data plane over many more pages and jump tables: a login costs 2 to 3 % more
then (benchmarks/PROFILES.md). Without the object, which setup.py builds, Python finds the sources.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent
LIBRARY = PACKAGE / f"_core{EXTENSION_SUFFIXES[0]}"


def compiled_modules() -> frozenset[str]:
    """The modules in the shared object: those that a .pxd declares (see setup.py)."""
    paths = (path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.pxd"))
    return frozenset(".".join(path.parts) for path in paths)


class CompiledFirst:
    """A meta path finder: Python's own would look for an object beside each source, and find the source."""

    def __init__(self) -> None:
        self._names = compiled_modules()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a compiled module is; None for all others."""
        if name not in self._names:
            return None
        return spec_from_file_location(name, LIBRARY, loader=ExtensionFileLoader(name, str(LIBRARY)))


def install() -> None:
    """Have compiled modules found, if they have been built."""
    if LIBRARY.exists():
        sys.meta_path.insert(0, CompiledFirst())
