"""Integration tests: a real PostgreSQL, real proxies, and the invariants after every test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cluster import DATABASE, Direct, make_postgres
from tests.support.environments import Make, Note, hosts_of
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage


@pytest.fixture(scope="session")
def session_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(make_postgres(), tmp_path_factory.mktemp("proxies"))
    yield stage
    stage.close()


@pytest.fixture(scope="module", autouse=True)
def shared_proxies(session_stage: Stage) -> Iterator[None]:
    """Those that no test of the module had last are looked at as well."""
    yield
    session_stage.check_shared()


@pytest.fixture(autouse=True)
def stage(session_stage: Stage) -> Iterator[Stage]:
    """The stage most tests share. Set up before, and so checked after, everything else of the test."""
    session_stage.begin()
    yield session_stage
    session_stage.end()


@pytest.fixture
def direct(stage: Stage) -> Direct:
    """SQL as superuser, past the proxy."""
    return stage.direct


@pytest.fixture
def proxy(stage: Stage) -> ProxyProcess:
    """Transaction mode, five servers: for tests that ask for nothing special."""
    return stage.proxy()


@pytest.fixture
def narrow(stage: Stage) -> ProxyProcess:
    """Transaction mode with one server: whoever comes next gets the server of whoever came before."""
    return stage.proxy(pool_size=1)


@pytest.fixture
def note(tmp_path: Path) -> Callable[[], Note]:
    """Makes files that functions write to."""
    return lambda: Note(tmp_path)


@pytest.fixture
async def hosts(stage: Stage) -> AsyncIterator[Make]:
    """Makes hosts of environments that are processes, with the cluster as their database."""
    async with hosts_of(stage.postgres.url(DATABASE)) as make:
        yield make
