"""Handlers as files: found once, and run anew for each execution environment.

Lambda runs a module's code once per environment, so its globals (the connection above all) are the
environment's own. Here many environments may share a process; each gets a module object of its own, made from
the same code. What that module imports is imported once for all, as always in Python. Must not know what an
environment is, nor when it runs.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeAlias

BUILT_IN = ("careful", "careless", "leaky", "order", "read", "report", "upload")

Initialise: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


class HandlerNotFound(ValueError):
    """There is no such module, file or function; the message says which."""


class Handler:
    """A handler of one environment: its module's code has run, and its globals are nobody else's."""

    __slots__ = ("_function", "_initialise")

    def __init__(self, function: Callable[..., Any], initialise: Initialise | None) -> None:
        self._function = function
        self._initialise = initialise

    async def initialise(self) -> None:
        """The end of INIT: run the module's `async def initialise()`, if it has one.

        Module-level code in Python cannot await; what it would connect with, if it could, is here.
        """
        if self._initialise is not None:
            await self._initialise()

    @property
    def plain(self) -> bool:
        """Whether it is a plain function, which may block."""
        return not inspect.iscoroutinefunction(self._function)

    def call(self, event: Any, context: Any) -> Any:
        """Call a plain function here and now, and raise what it raises."""
        return self._function(event, context)

    async def invoke(self, event: Any, context: Any, executor: Executor | None = None) -> Any:
        """Call it, and raise what it raises. A plain function runs in a thread: it may block as it likes."""
        if not self.plain:
            return await self._function(event, context)
        run = functools.partial(contextvars.copy_context().run, self._function, event, context)
        return await asyncio.get_running_loop().run_in_executor(executor, run)


class HandlerSource:
    """The code of a handler. `find` reads and compiles it, `load` runs it."""

    def __init__(self, spec: ModuleSpec, code: CodeType, function: str) -> None:
        self._spec = spec
        self._code = code
        self._function = function

    def __repr__(self) -> str:
        return f"<HandlerSource {self._spec.name}:{self._function}>"

    @classmethod
    def find(cls, text: str) -> HandlerSource:
        """By the name of a built-in one, `module:function`, or `path.py:function`.

        Raises HandlerNotFound. A file's folder is put on `sys.path`, as Lambda does with a package's root.
        """
        if text in BUILT_IN:
            text = f"benchmarks.storm.handlers.{text}:handler"
        place, colon, function = text.rpartition(":")
        if not colon or not place or not function:
            names = ", ".join(BUILT_IN)
            raise HandlerNotFound(f"{text!r} is neither of {names} nor module:function nor path.py:function")
        spec = _file_spec(Path(place)) if place.endswith(".py") else _module_spec(place)
        code = _code(spec)
        if code is None:
            raise HandlerNotFound(f"{place} is no module of Python code")
        return cls(spec, code, function)

    def load(self) -> Handler:
        """Run the module's code in a module of its own. Raises whatever the code raises, and HandlerNotFound
        when it defines no such function. It blocks as long as the code does."""
        module = importlib.util.module_from_spec(self._spec)
        self._run(module)
        function = getattr(module, self._function, None)
        if not callable(function):
            raise HandlerNotFound(f"{self._spec.name} has no function {self._function}")
        initialise = getattr(module, "initialise", None)
        return Handler(function, initialise if inspect.iscoroutinefunction(initialise) else None)

    def _run(self, module: ModuleType) -> None:
        """Run the code as an import does, for classes look their module up by its name. The first one stays
        there for those who ask later; the code is the same in all of them."""
        name = self._spec.name
        first = sys.modules.get(name)
        sys.modules[name] = module
        try:
            exec(self._code, module.__dict__)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        finally:
            if first is not None:
                sys.modules[name] = first


def _module_spec(name: str) -> ModuleSpec:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        raise HandlerNotFound(f"there is no module {name}: {error}") from error
    if spec is None:
        raise HandlerNotFound(f"there is no module {name}")
    return spec


def _file_spec(path: Path) -> ModuleSpec:
    if not path.is_file():
        raise HandlerNotFound(f"there is no file {path}")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None  # its name ends with .py
    return spec


def _code(spec: ModuleSpec) -> CodeType | None:
    loader = spec.loader
    get_code = getattr(loader, "get_code", None)
    code = get_code(spec.name) if get_code is not None else None
    return code if isinstance(code, CodeType) else None
