"""Method peer, and rules in directories: PostgreSQL and the proxy are given the same files, and say the same
to the same user of the operating system.
"""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolproxy.demo.postgres import LocalPostgres
from tests.integration.test_hba import first_answer
from tests.support.cluster import DATABASE, PASSWORDS, make_postgres
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.wire import Wire

ME = pwd.getpwuid(os.geteuid()).pw_name
#: A user whom no system has.
NAMELESS = 1_987_654

FILES = {
    "rules": "include_dir rules.d\nhost all all all scram-sha-256\n",
    "rules.d/2.conf": "local all all peer\n",
    "rules.d/10.conf": "local all app,md5user peer map=crew\n",
    "rules.d/1.conf.off": "local all all trust\n",
    "rules.d/.1.conf": "local all all trust\n",
    "maps": "include_dir maps.d\n",
    "maps.d/crew.conf": f"crew {ME} app\ncrew somebody md5user\n",
}


def write_files(folder: Path) -> None:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.fixture(scope="module")
def postgres() -> Iterator[LocalPostgres]:
    cluster = make_postgres()
    try:
        cluster.sql(f"""create role "{ME}" login password 'my secret'""")
        write_files(cluster.data_dir)
        (cluster.data_dir / "pg_ident.conf").write_text("include maps\n")
        cluster.reload(hba=("include rules",))
        cluster.restart()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def proxy(stage: Stage, postgres: LocalPostgres, tmp_path: Path) -> Iterator[ProxyProcess]:
    write_files(tmp_path)
    known = {user: {"password": text} for user, text in {**PASSWORDS, ME: "my secret"}.items() if text}
    with tempfile.TemporaryDirectory(prefix="pp") as folder:
        Path(folder).chmod(0o755)
        yield stage.fresh(
            databases={DATABASE: {"url": f"postgres://{postgres.host}:{postgres.port}/{DATABASE}"}},
            users=known,
            auth_hba_file=str(tmp_path / "rules"),
            auth_ident_file=str(tmp_path / "maps"),
            unix_socket_dir=folder,
        )


def socket_of(proxy: ProxyProcess) -> str:
    return f"{proxy.settings['unix_socket_dir']}/.s.PGSQL.{proxy.port}"


@contextmanager
def somebody_else(uid: int) -> Iterator[None]:
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    ("user", "comes_in"), [(ME, True), ("app", True), ("md5user", False), ("other", False)]
)
def test_as_postgresql_answers(
    stage: Stage, proxy: ProxyProcess, postgres: LocalPostgres, user: str, comes_in: bool
) -> None:
    theirs = first_answer(f"{postgres.socket_dir}/.s.PGSQL.{postgres.port}", user, DATABASE)
    ours = first_answer(socket_of(proxy), user, DATABASE)
    assert ours == theirs
    refusal = ("FATAL", "28000", f'Peer authentication failed for user "{user}"')
    assert ours == ((0,) if comes_in else refusal)
    if not comes_in:
        told = proxy.wait_log(lambda line: line["event"] == "peer may not be this user")
        assert (told["user"], told["system_user"], told["uid"]) == (user, ME, os.geteuid())
        assert proxy.metrics().value("poolproxy_rejections_total", reason="peer") == 1


def test_who_comes_in_is_himself(proxy: ProxyProcess) -> None:
    for user in (ME, "app"):
        with Wire.login(socket_of(proxy), user, "", DATABASE) as client:
            assert client.value("select current_user") == user
    assert proxy.metrics().value("poolproxy_logins_total", method="peer", result="ok") == 2


@pytest.mark.system  # where root runs the tests: who else could be somebody else
@pytest.mark.parametrize("uid", [NAMELESS, pwd.getpwnam("nobody").pw_uid])
def test_other_users_of_the_system(proxy: ProxyProcess, postgres: LocalPostgres, uid: int) -> None:
    """One whom the system has no name for, and one whose name is another."""
    for user in (ME, "app"):
        answers = []
        for path in (f"{postgres.socket_dir}/.s.PGSQL.{postgres.port}", socket_of(proxy)):
            with somebody_else(uid):
                answers.append(first_answer(path, user, DATABASE))
        assert answers == [("FATAL", "28000", f'Peer authentication failed for user "{user}"')] * 2


def test_tcp_asks_for_a_password_as_before(proxy: ProxyProcess) -> None:
    assert first_answer(proxy.address, "app", DATABASE) == (10,)
