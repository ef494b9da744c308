"""The whole suite: which build runs, and the interpreted one when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import interpreted
from tests.support.certificates import Certificates

ROOT = Path(__file__).resolve().parent.parent

if interpreted.wanted():
    interpreted.install()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers begin with what takes long: begun last, it would keep one of them while the others are done."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_report_header() -> str:
    """Say in the header which build the results are about."""
    return interpreted.described(ROOT)


@pytest.fixture(scope="session")
def certificates() -> Iterator[Certificates]:
    """Of servers, clients and strangers; made once."""
    made = Certificates()
    yield made
    made.close()
