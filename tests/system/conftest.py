"""System tests: they need what `make deps` installs, and every test in this folder has the marker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import make_postgres
from tests.support.stage import Stage

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder carries the marker."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def session_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(make_postgres(), tmp_path_factory.mktemp("proxies"))
    yield stage
    stage.close()


@pytest.fixture
def stage(session_stage: Stage) -> Iterator[Stage]:
    """The embedded PostgreSQL and proxies in front of it, with the invariants after the test."""
    session_stage.begin()
    yield session_stage
    session_stage.end()
