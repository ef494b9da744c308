"""Compiled modules come out of one shared object; what is not compiled is found as ever."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from poolproxy import _loader
from tests.support import interpreted


def test_every_compiled_module_is_in_the_object() -> None:
    names = _loader.compiled_modules()
    assert {"poolproxy.transport.poller", "poolproxy.frontend.client"} <= names
    for name in names:
        module = importlib.import_module(name)
        assert module.__name__ == name
        if interpreted.is_compiled(module):
            assert module.__file__ == str(_loader.LIBRARY)
        else:
            assert interpreted.wanted()


def test_there_is_no_other_object() -> None:
    suffix = EXTENSION_SUFFIXES[0]
    assert list(_loader.PACKAGE.rglob("*" + suffix)) == [_loader.LIBRARY]


def test_what_is_not_compiled_is_left_to_python() -> None:
    finder = _loader.CompiledFirst()
    assert finder.find_spec("poolproxy.app") is None
    assert finder.find_spec("poller") is None


def test_without_the_object_python_finds_the_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_loader, "LIBRARY", tmp_path / "missing.so")
    before = list(sys.meta_path)
    _loader.install()
    assert sys.meta_path == before
