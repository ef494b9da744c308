"""The source of a compiled module, loaded beside the extension: the two are held against each other."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import poolproxy

PACKAGE = Path(poolproxy.__file__).parent


def source_of(name: str) -> ModuleType:
    """The interpreted build of `poolproxy.<name>`, whichever build the suite runs on; a module of its own."""
    path = PACKAGE.joinpath(*name.split(".")).with_suffix(".py")
    spec = importlib.util.spec_from_file_location("interpreted." + name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
