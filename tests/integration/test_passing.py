"""Pass-through: the settings have no password, only what PostgreSQL stores of it, or not even that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import trustme

from poolproxy.protocol.scram import secret_from_password
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage


def stored(stage: Stage, user: str) -> str:
    """What PostgreSQL stores of a role's password."""
    cluster = stage.postgres
    with psycopg.connect(cluster.url("postgres", cluster.superuser, cluster.password)) as connection:
        row = connection.execute("select rolpassword from pg_authid where rolname = %s", [user]).fetchone()
    assert row is not None
    return str(row[0])


def ask(proxy: ProxyProcess, user: str, password: str, **options: Any) -> str:
    try:
        with psycopg.connect(
            host="127.0.0.1", port=proxy.port, user=user, password=password, dbname=DATABASE, **options
        ) as connection:
            row = connection.execute("select current_user").fetchone()
            assert row is not None
            return str(row[0])
    except psycopg.OperationalError as error:
        return str(error)


def test_what_a_client_proves_opens_the_server(stage: Stage) -> None:
    secret = stored(stage, "app")
    assert secret.startswith("SCRAM-SHA-256$")
    proxy = stage.fresh(users={"app": {"password": secret}})
    assert ask(proxy, "app", PASSWORDS["app"]) == "app"
    assert ask(proxy, "app", PASSWORDS["app"]) == "app"


def test_another_secret_of_the_same_password_does_not(stage: Stage) -> None:
    """Its salt is another: the key that it gives away is none of the server's."""
    for pattern in ("server connect failed", "catalogue not read", "control query failed", "28P01|login"):
        stage.expect_log(pattern)
    proxy = stage.fresh(users={"app": {"password": secret_from_password(PASSWORDS["app"]).format()}})
    assert "is not the one that clients are checked against here" in ask(proxy, "app", PASSWORDS["app"])


def test_a_password_in_clear_text_is_passed_on_whatever_the_server_asks(stage: Stage, tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    users = {
        user: {"password": secret_from_password(PASSWORDS[user]).format()} for user in ("app", "md5user")
    }
    proxy = stage.fresh(users=users, auth_method="password", tls_cert_file=str(tmp_path / "server.pem"))
    for user in users:
        assert ask(proxy, user, PASSWORDS[user], sslmode="require") == user


def test_scram_proves_nothing_to_a_server_that_asks_for_md5(stage: Stage) -> None:
    for pattern in ("server connect failed", "catalogue not read", "control query failed", "28P01|login"):
        stage.expect_log(pattern)
    proxy = stage.fresh(users={"md5user": {"password": secret_from_password(PASSWORDS["md5user"]).format()}})
    assert "the server asks for an md5 hash" in ask(proxy, "md5user", PASSWORDS["md5user"])


def test_a_token_is_tried_on_the_server_and_passed_on(stage: Stage, tmp_path: Path) -> None:
    """The server takes clear text over TLS, as Amazon RDS does; what a client brings is worth what it
    says."""
    issued = trustme.CA().issue_cert("127.0.0.1")
    certificate = str(tmp_path / "server.pem")
    issued.private_key_and_cert_chain_pem.write_to_path(certificate)
    for pattern in ("28P01|login", "28000|login"):
        stage.expect_log(pattern)
    token = "127.0.0.1:5432/?Action=connect&DBUser=app&X-Amz-Expires=900"
    server = stage.fresh(
        databases={DATABASE: {"url": stage.postgres.url(DATABASE, "app", PASSWORDS["app"])}},
        users={"app": {"password": token}},
        auth_method="password",
        tls_cert_file=certificate,
    )
    proxy = stage.fresh(
        databases={DATABASE: {"url": f"postgres://127.0.0.1:{server.port}/{DATABASE}?sslmode=require"}},
        users={},
        auth_method="iam",
        tls_cert_file=certificate,
    )
    try:
        assert "connection requires TLS" in ask(proxy, "app", token, sslmode="disable")
        for user, brought in (("app", "another"), ("stranger", token)):
            answer = ask(proxy, user, brought, sslmode="require")
            assert f'password authentication failed for user "{user}"' in answer
        for _ in range(3):
            assert ask(proxy, "app", token, sslmode="require") == "app"
        # One trial; whatever else has come is pools' and questions', by the token that was passed on.
        ended = server.metrics().by("poolproxy_logins_total", "result")
        assert ended["failed"] == 2
        assert ended["ok"] >= 2
    finally:
        assert proxy.stop() == 0
