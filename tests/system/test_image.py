"""The container image: what is in it, and that it serves as an unprivileged process 1 on a read-only root."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from poolproxy.demo.postgres import LocalPostgres, free_port
from tests.system.image import Buildah, Container, Image, run

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(600)]

PACKAGE = "opt/poolproxy/lib"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if os.geteuid() != 0:
        pytest.fail("building and running the image needs root: sudo make test-system")
    scratch = tmp_path_factory.mktemp("image")
    try:
        yield Buildah(scratch).build()
    finally:
        run("rm", "-rf", "--one-file-system", scratch)


@pytest.fixture(scope="module")
def postgres() -> Iterator[LocalPostgres]:
    with LocalPostgres() as server:
        yield server


@pytest.fixture
def settings(postgres: LocalPostgres) -> dict[str, str]:
    return {
        "DATABASE_URL": postgres.url(),
        "POOLPROXY_LISTEN_HOST": "127.0.0.1",
        "POOLPROXY_LISTEN_PORT": "0",
        "POOLPROXY_HTTP_HOST": "127.0.0.1",
        "POOLPROXY_HTTP_PORT": str(free_port()),
    }


@pytest.fixture
def container(image: Image, settings: dict[str, str], tmp_path: Path) -> Iterator[Container]:
    with image.start(tmp_path / "log", settings) as running:
        yield running


def connect(container: Container, postgres: LocalPostgres) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host="127.0.0.1",
        port=container.event("listening")["port"],
        user=postgres.superuser,
        password=postgres.password,
        dbname="postgres",
    )


def test_configuration(image: Image) -> None:
    user, group = image.config["User"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert set(image.config["ExposedPorts"]) == {"6432/tcp", "9127/tcp"}
    assert image.config["StopSignal"] == "SIGTERM"
    assert image.config["Healthcheck"]["Test"] == ["CMD", image.command[0], "healthcheck"]
    assert image.command[1:] == ["run"]
    assert set(image.environment) == {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}


def test_contents(image: Image) -> None:
    package = next((image.root / PACKAGE).glob("python3.*/site-packages/poolproxy"))
    assert list(package.glob("_core.*.so"))
    assert not list(package.rglob("*.c"))
    for absent in ("usr/bin/gcc", "src", "opt/poolproxy/bin/pip"):
        assert not (image.root / absent).exists(), absent


def test_serves_as_unprivileged_process_one_on_a_read_only_root(
    container: Container, postgres: LocalPostgres, settings: dict[str, str]
) -> None:
    with connect(container, postgres) as connection:
        row = connection.execute("select current_database(), inet_server_port()").fetchone()
    assert row == ("postgres", postgres.port)

    assert container.status("NSpid")[-1] == "1"
    assert container.status("Uid") == ["10001"] * 4
    assert container.status("Gid") == ["10001"] * 4
    assert int(container.status("CapEff")[0], 16) == 0
    mounts = [line.split() for line in Path(f"/proc/{container.pid}/mountinfo").read_text().splitlines()]
    assert all("ro" in fields[5].split(",") for fields in mounts if fields[4] == "/")

    assert container.execute(*container.image.config["Healthcheck"]["Test"][1:], settings=settings) == 0


def test_sigterm_ends_it_with_status_zero(container: Container, postgres: LocalPostgres) -> None:
    with connect(container, postgres) as connection:
        connection.execute("select 1")
        connection.commit()
        os.kill(container.pid, signal.SIGTERM)
        assert container.process.wait(30) == 0
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")


def test_health_check_fails_where_nothing_runs(
    image: Image, settings: dict[str, str], tmp_path: Path
) -> None:
    command = image.config["Healthcheck"]["Test"][1:]
    with image.start(tmp_path / "log", settings, command) as running:
        assert running.process.wait(30) == 1


def test_without_a_database_it_says_what_is_missing(image: Image, tmp_path: Path) -> None:
    with image.start(tmp_path / "log", {}) as running:
        assert running.process.wait(30) == 2
    assert "DATABASE_URL" in (tmp_path / "log").read_text()
