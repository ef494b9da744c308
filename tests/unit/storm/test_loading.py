from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.storm.clients import METER, Meter
from benchmarks.storm.loading import BUILT_IN, HandlerNotFound, HandlerSource

COUNTER = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class State:
    count: int = 0

state = State()
began = []

async def initialise():
    began.append("initialised")

async def handler(event, context):
    state.count += 1
    return event, context, state.count, list(began)

def plain(event, context):
    import threading
    from benchmarks.storm.clients import METER
    METER.get().connects += 1
    return threading.get_ident()

not_callable = 7
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "storm_counter.py").write_text(COUNTER)
    yield tmp_path
    for name in ("storm_counter", "storm_neighbour", "storm_entry", "storm_failing"):
        sys.modules.pop(name, None)


async def test_each_environment_has_globals_of_its_own(folder: Path) -> None:
    source = HandlerSource.find(f"{folder}/storm_counter.py:handler")
    first, second = source.load(), source.load()
    await first.initialise()
    assert await first.invoke("event", "context") == ("event", "context", 1, ["initialised"])
    assert await first.invoke("event", "context") == ("event", "context", 2, ["initialised"])
    assert await second.invoke("event", "context") == ("event", "context", 1, [])


async def test_by_the_name_of_a_module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    source = HandlerSource.find("storm_counter:handler")
    assert repr(source) == "<HandlerSource storm_counter:handler>"
    first, second = source.load(), source.load()
    await first.invoke(1, 2)
    assert (await second.invoke(1, 2))[2] == 1
    assert sys.modules["storm_counter"].state.count == 1  # the first stays where others look for it


async def test_a_plain_function_runs_in_a_thread_and_its_meter_is_ours(folder: Path) -> None:
    handler = HandlerSource.find(f"{folder}/storm_counter.py:plain").load()
    METER.set(meter := Meter())
    with ThreadPoolExecutor(1) as executor:
        assert await handler.invoke(None, None, executor) != threading.get_ident()
        assert await handler.invoke(None, None) != threading.get_ident()
    assert meter.connects == 2


async def test_a_file_finds_its_neighbours(folder: Path) -> None:
    (folder / "storm_neighbour.py").write_text("WORD = 'hello'\n")
    (folder / "storm_entry.py").write_text(
        "from storm_neighbour import WORD\nasync def handler(event, context): return WORD\n"
    )
    assert await HandlerSource.find(f"{folder}/storm_entry.py:handler").load().invoke(None, None) == "hello"


async def test_what_a_handler_raises_comes_out(folder: Path) -> None:
    (folder / "storm_failing.py").write_text("def handler(event, context): raise KeyError('body')\n")
    handler = HandlerSource.find(f"{folder}/storm_failing.py:handler").load()
    await handler.initialise()  # there is nothing to do
    with pytest.raises(KeyError, match="body"):
        await handler.invoke(None, None)


def test_what_the_code_of_a_module_raises_comes_out_of_every_load(folder: Path) -> None:
    (folder / "storm_broken.py").write_text("raise RuntimeError('no configuration')\n")
    source = HandlerSource.find(f"{folder}/storm_broken.py:handler")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no configuration"):
            source.load()
    assert "storm_broken" not in sys.modules


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nosuch", "neither of careful, careless, leaky, order, read, report, upload nor module:function"),
        (":handler", "neither of"),
        ("json:", "neither of"),
        ("nosuch_module:handler", "no module nosuch_module"),
        ("nosuch_package.module:handler", "no module nosuch_package.module"),
        ("json.nosuch:handler", "no module json.nosuch"),
        ("/nosuch/file.py:handler", "no file /nosuch/file.py"),
        ("sys:exit", "sys is no module of Python code"),
    ],
)
def test_what_is_not_there_is_named(text: str, said: str) -> None:
    with pytest.raises(HandlerNotFound, match=said):
        HandlerSource.find(text)


@pytest.mark.parametrize("function", ["nosuch", "not_callable"])
def test_a_function_that_is_not_there(folder: Path, function: str) -> None:
    source = HandlerSource.find(f"{folder}/storm_counter.py:{function}")
    with pytest.raises(HandlerNotFound, match=f"storm_counter has no function {function}"):
        source.load()


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_handlers_are_coroutine_functions(name: str) -> None:
    handler = HandlerSource.find(name).load()
    coroutine = handler.invoke({"Records": []}, None)
    assert asyncio.iscoroutine(coroutine)
    coroutine.close()
