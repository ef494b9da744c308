"""The floors of the building: a module imports only from lower floors, or from its own folder, and never in
a circle.

Read from the source text, so that no module has to be importable: `.py` by its syntax tree, `.pyx` and
`.pxd` by their import and cimport lines. ARCHITECTURE.md says what each floor is for.
"""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "poolproxy"

#: The ground is what everybody may stand on, floor 0 included: vocabulary without any behaviour of its own.
GROUND = -1
FLOORS = {
    "errors": GROUND,
    "counters": GROUND,
    "_version": GROUND,
    "_loader": GROUND,
    "log": 0,
    "protocol": 0,
    "transport": 0,
    "session": 1,
    "settings": 1,
    "access": 3,
    "renewal": 4,
    "auth": 2,
    "pool": 2,
    "tls": 2,
    "route": 1,
    "router": 2,
    "event_loop": 3,
    "backend": 3,
    "frontend": 4,
    "admin": 4,
    "metrics": 5,
    "http": 5,
    "app": 6,
    "cli": 7,
    "__main__": 7,
    "demo": 7,
}
#: On the same floor: HTTP serves what the metrics render, the entrance leads to the commands and the demo.
NEIGHBOURS = {("http", "metrics"), ("__main__", "cli"), ("cli", "demo")}
#: The lowest floor that may know an event loop.
LOOP_FLOOR = 3
LOOPS = {"asyncio", "uvloop", "asyncpg", "anyio", "trio"}

_CYTHON_IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import\s+(.+)|c?import\s+([\w.]+))", re.MULTILINE)


def sources() -> list[Path]:
    found = [p for suffix in ("py", "pyx", "pxd") for p in (ROOT / PACKAGE).rglob(f"*.{suffix}")]
    return sorted(found)


def module_name(path: Path) -> str:
    """`poolproxy.protocol.framing`; a package is named without `__init__`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in sources()}


def resolved(module: str, names: list[str]) -> set[str]:
    """`from module import names`: the modules it reaches, submodules rather than their package."""
    submodules = {f"{module}.{name}" for name in names} & MODULES
    rest = any(f"{module}.{name}" not in MODULES for name in names)
    return submodules | ({module} if rest or not names else set())


def imports(path: Path) -> set[str]:
    """Every module that this source imports, wherever the import stands."""
    text = path.read_text("utf-8")
    found: set[str] = set()
    if path.suffix != ".py":
        for origin, names, plain in _CYTHON_IMPORT.findall(text):
            bare = [name.split()[0].strip("()") for name in names.split(",") if name.strip("() ")]
            found |= resolved(origin, bare) if origin else {plain}
        return found
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= resolved(node.module or "", [alias.name for alias in node.names])
    return found


def folder(module: str) -> str:
    """The name a floor is given to: the folder or the module right below the package."""
    return module.split(".")[1] if "." in module else ""


def graph() -> dict[str, set[str]]:
    """Our modules, each with those of ours that it imports. A `.pxd` counts for the module it declares."""
    edges: dict[str, set[str]] = {module: set() for module in MODULES}
    for path in sources():
        edges[module_name(path)] |= imports(path)
    return edges


OURS = {module: {i for i in found if i.split(".")[0] == PACKAGE} for module, found in graph().items()}


@pytest.mark.parametrize("module", sorted(OURS))
def test_imports_only_from_lower_floors(module: str) -> None:
    here = folder(module)
    if not here:
        allowed = {f"{PACKAGE}._version", f"{PACKAGE}._loader"}
        assert OURS[module] <= allowed, "the package itself imports its version and its loader alone"
        return
    assert here in FLOORS, f"{module} stands on no floor: give it one here and in ARCHITECTURE.md"
    for imported in OURS[module]:
        there = folder(imported)
        if not there or there == here:
            continue
        allowed = FLOORS[there] < FLOORS[here] or (here, there) in NEIGHBOURS
        assert allowed, f"{module} (F{FLOORS[here]}) imports {imported} (F{FLOORS[there]})"


def test_no_circle() -> None:
    edges = {module: {i for i in found if i in OURS and i != module} for module, found in OURS.items()}
    try:
        tuple(TopologicalSorter(edges).static_order())
    except CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_event_loop_below_its_floor(path: Path) -> None:
    here = folder(module_name(path))
    if here and FLOORS.get(here, 0) >= LOOP_FLOOR:
        return
    found = {name.split(".")[0] for name in imports(path)} & LOOPS
    assert not found, f"{path.relative_to(ROOT)} knows {found}, below floor {LOOP_FLOOR}"


def test_the_check_sees_what_it_should() -> None:
    """The check is alive: a Cython cimport, a submodule import and a nested import are all read."""
    package = f"{PACKAGE}.protocol"
    assert resolved(package, ["codes", "SOMETHING"]) == {f"{package}.codes", package}
    assert _CYTHON_IMPORT.findall("from a.b cimport c as d, e\ncimport x.y\n") == [
        ("a.b", "c as d, e", ""),
        ("", "", "x.y"),
    ]
    assert any(OURS.values())
