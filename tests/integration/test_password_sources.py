"""Our own password towards PostgreSQL changes while clients work: in a file, and in a secret of AWS's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from poolproxy.cli import cli
from poolproxy.demo.postgres import LocalPostgres
from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS, Direct, make_postgres
from tests.support.proxy import ProxyProcess
from tests.support.secrets_manager import ARN, SECRET_KEY, SecretsManager
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.wire import WireError

REFUSED = 'password authentication failed for user "app"'

#: Servers are replaced all the time: what they log in with matters at any moment.
RESTLESS = {"server_lifetime": 0.1, "pool_size": 3, "log_level": "debug"}


@pytest.fixture(scope="module")
def postgres() -> Iterator[LocalPostgres]:
    """A cluster whose role app has another password at times."""
    cluster = make_postgres()
    yield cluster
    cluster.close()


class Role:
    """app, as the server knows it."""

    def __init__(self, cluster: LocalPostgres) -> None:
        self.cluster = cluster
        self.superuser = Direct(cluster)
        self._begun = len(cluster.log_text())

    def has(self, password: str) -> None:
        """From now on."""
        self.superuser.rows(f"alter role app password '{password}'")

    def refusals(self) -> int:
        """Logins that the server has refused since the test began."""
        return self.cluster.log_text()[self._begun :].count(REFUSED)

    def close(self) -> None:
        self.superuser.close()


@pytest.fixture
def role(postgres: LocalPostgres) -> Iterator[Role]:
    role = Role(postgres)
    role.has("hunter1")
    yield role
    role.close()


@pytest.fixture
def secrets() -> Iterator[SecretsManager]:
    manager = SecretsManager(AWSCURRENT=version("hunter1"))
    yield manager
    manager.close()


def version(password: str, user: str = "app") -> str:
    """As RDS and AWS's rotation write it."""
    return json.dumps({"username": user, "password": password, "engine": "postgres"})


def start(
    stage: Stage, role: Role, manager: SecretsManager | None = None, **settings: object
) -> ProxyProcess:
    """A proxy that is app on the server, with whatever password these settings find."""
    url = f"postgres://app@{role.cluster.host}:{role.cluster.port}/{DATABASE}"
    return stage.fresh(
        manager.environment() if manager is not None else None,
        databases={DATABASE: {"url": url, **settings}},
        **RESTLESS,
    )


class Clients:
    """Some who never stop: a transaction each time, and a new session now and then."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self._url = proxy.url()
        self._over = threading.Event()
        self.done = 0
        self.errors: list[str] = []

    def work(self) -> None:
        try:
            while not self._over.is_set():
                with psycopg.connect(self._url, autocommit=True) as connection:
                    for _ in range(20):
                        assert connection.execute("select current_user").fetchone() == ("app",)
                        self.done += 1
        except Exception as error:
            self.errors.append(repr(error))

    @contextmanager
    def working(self, count: int = 3) -> Iterator[None]:
        threads = [threading.Thread(target=self.work) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
        assert self.errors == []


def new_servers(proxy: ProxyProcess, count: int = 3) -> None:
    """Until so many have logged in since now."""
    for _ in range(count):
        proxy.wait_log(lambda line: line["event"] == "server connected", since=len(proxy.log))


def refusal(proxy: ProxyProcess) -> str:
    """What a client is told that needs a server, be it for its greeting; empty where it gets one."""
    try:
        with proxy.login() as client:
            client.send(m.query("select 1"))
            told = client.read_until("ED")[-1]
    except WireError as error:
        told = error.message
    if told.letter == "D":
        return ""
    assert (told.fields["S"], told.fields["C"]) == ("FATAL", "08006")
    return told.fields["M"]


def is_secret(proxy: ProxyProcess, *said: object) -> None:
    """No password is anywhere that people look."""
    text = proxy.log_text() + proxy.get("/metrics")[1] + repr(said)
    assert not [word for word in ("hunter", SECRET_KEY, *filter(None, PASSWORDS.values())) if word in text]


def test_nobody_notices_that_a_secret_is_rotated(stage: Stage, role: Role, secrets: SecretsManager) -> None:
    """AWS's four steps, three times, with new servers all the time: the new secret is made, the server told
    of it, tried, and made current."""
    proxy = start(stage, role, secrets, password_secret=ARN)
    clients = Clients(proxy)
    with clients.working():
        new_servers(proxy)
        for number in (2, 3, 4):
            secrets.versions["AWSPENDING"] = version(f"hunter{number}")
            new_servers(proxy)
            role.has(f"hunter{number}")
            new_servers(proxy)
            secrets.versions = {
                "AWSPREVIOUS": secrets.versions["AWSCURRENT"],
                "AWSCURRENT": secrets.versions["AWSPENDING"],
            }
            new_servers(proxy)
    assert clients.done > 100
    assert proxy.troubles() == []
    # Those under way at the same time, of pool and control connections, and never again.
    assert 3 <= role.refusals() <= 3 * 6
    assert secrets.asked.count("AWSCURRENT") <= 1 + role.refusals()
    connects = proxy.metrics().by("poolproxy_server_connects_total", "result")
    assert connects.keys() == {"ok"}, "a login that took two tries is one"
    is_secret(proxy)
    eventually(lambda: proxy.threads() == 1, "no thread stays")


def test_rotation_that_alternates_two_users(stage: Stage, role: Role, secrets: SecretsManager) -> None:
    """app stays app: what its clone has for a turn is not for this pool."""
    proxy = start(stage, role, secrets, password_secret=ARN)
    clients = Clients(proxy)
    with clients.working(2):
        new_servers(proxy)
        secrets.versions = {
            "AWSPREVIOUS": version("hunter1"),
            "AWSCURRENT": version("hunter of the clone", "app_clone"),
        }
        secrets.versions["AWSPENDING"] = version("hunter2")
        role.has("hunter2")
        new_servers(proxy)
    assert proxy.troubles() == []
    is_secret(proxy)


def test_a_wrong_secret_is_told_and_not_hammered(stage: Stage, role: Role, secrets: SecretsManager) -> None:
    stage.expect_log("server connect failed|control query failed|catalogue not read")
    secrets.versions = {"AWSCURRENT": version("hunter of yore"), "AWSPENDING": version("hunter too soon")}
    proxy = start(stage, role, secrets, password_secret=ARN, min_pool_size=2)
    said = [refusal(proxy) for _ in range(10)]
    assert all(REFUSED in text for text in said)
    proxy.wait_log(lambda line: "not tried again yet" in line.get("reason", ""))
    tried = role.refusals()
    failed = proxy.metrics().value("poolproxy_server_connects_total", result="auth")
    # Pools and the question about the limit at the same time, two passwords each, and a few rounds at most.
    assert tried <= 24
    assert len(secrets.asked) <= 24
    assert failed > tried / 2, "most of what failed has not even been tried"
    secrets.versions = {"AWSCURRENT": version("hunter1")}
    eventually(lambda: proxy.metrics().value("poolproxy_servers", state="idle") == 2, "well again", 30)
    assert refusal(proxy) == ""
    is_secret(proxy, said)


def test_open_servers_stay(stage: Stage, role: Role, secrets: SecretsManager) -> None:
    stage.expect_log("server connect failed")
    stage.expect_log("catalogue not read|control query failed")
    proxy = start(stage, role, secrets, password_secret=ARN, server_lifetime=3600.0)
    with proxy.login() as client, proxy.login() as other:
        client.query("begin")
        role.has("hunter2")
        other.send(m.query("select 2"))
        proxy.wait_log(lambda line: line["event"] == "server connect failed")
        assert client.value("select 1") == "1"
        client.query("commit")
        assert other.read_until("ED")[-1].letter == "D", "it has waited for that server"
        other.read_ready()
    assert refusal(proxy) == ""
    is_secret(proxy)


def test_aws_is_away(stage: Stage, role: Role, secrets: SecretsManager) -> None:
    stage.expect_log("server connect failed|password not obtained|control query failed|catalogue not read")
    secrets.error = "AccessDeniedException"
    proxy = start(stage, role, secrets, password_secret=ARN)
    said = refusal(proxy)
    assert said.startswith(
        "there is no password for the proxy's login for pool app/app (password_secret: AWS denies access to "
        "it: allow secretsmanager:GetSecretValue"
    )
    line = proxy.wait_log(lambda line: line["event"] == "password not obtained")
    assert line["source"] == f"password_secret {ARN}"
    assert "role/shop may not do that" in line["detail"]
    assert "role/shop" not in said
    secrets.error = ""
    eventually(lambda: not refusal(proxy), "well again", 30)
    asked = len(secrets.asked)
    secrets.error = "InternalServiceError"
    with Clients(proxy).working(2):
        new_servers(proxy)
    assert len(secrets.asked) == asked, "what is known is known"
    assert role.refusals() == 0
    is_secret(proxy)


def replace(path: Path, text: str) -> None:
    """As agents do it."""
    new = path.with_name("new")
    new.write_text(text)
    new.replace(path)


def test_nobody_notices_that_a_file_is_replaced(stage: Stage, role: Role, tmp_path: Path) -> None:
    """The file first, then the role: meanwhile the server takes the earlier one."""
    path = tmp_path / "password"
    replace(path, "hunter1\n")
    proxy = start(stage, role, password_file=str(path))
    clients = Clients(proxy)
    with clients.working():
        for number in (2, 3):
            new_servers(proxy)
            replace(path, f"hunter{number}\n")
            new_servers(proxy)
            role.has(f"hunter{number}")
            new_servers(proxy)
        path.unlink()
        stage.expect_log("password not obtained.*what was known before is used")
        new_servers(proxy)
    assert clients.done > 100
    is_secret(proxy)
    eventually(lambda: proxy.threads() == 1, "no thread stays")


def test_a_file_that_comes_late(stage: Stage, role: Role, tmp_path: Path) -> None:
    stage.expect_log("server connect failed|password not obtained|control query failed")
    path = tmp_path / "password"
    proxy = start(stage, role, password_file=str(path), min_pool_size=1)
    said = refusal(proxy)
    assert "(password_file: it cannot be read (No such file or directory))" in said
    replace(path, "hunter1")
    proxy.wait_gauge("poolproxy_servers", 1, state="idle")
    is_secret(proxy, said)


def test_check_connects_with_it(role: Role, tmp_path: Path) -> None:
    path = tmp_path / "password"
    url = f"postgres://app@{role.cluster.host}:{role.cluster.port}/{DATABASE}"
    environment = {
        "POOLPROXY_DATABASES": json.dumps({"shop": {"url": url, "password_file": str(path)}}),
        "POOLPROXY_USERS__APP__PASSWORD": "of clients",
        "DATABASE_URL": "",
    }
    for text, code, said in (
        ("hunter1\n", 0, "as app: PostgreSQL"),
        ("hunter2\n", 1, f"FAILED: {REFUSED}"),
        ("\n", 1, "FAILED: password_file: it is empty"),
    ):
        path.write_text(text)
        result = CliRunner().invoke(cli, ["check", "--connect"], env=environment)
        assert result.exit_code == code, result.output
        assert said in result.output
        assert "hunter" not in result.output
