"""Rules of pg_hba.conf: PostgreSQL and the proxy are given the same file, and say the same.

PostgreSQL's own reading of any line is its view pg_hba_file_rules, which reads the file when it is asked.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from poolproxy.auth.hba import InvalidRules, Rule, network_of, parse
from poolproxy.auth.rule_files import pattern_of
from poolproxy.demo.postgres import LocalPostgres
from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS, make_postgres
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.wire import Wire, WireError

LINES = (
    "local  all            postgres                  scram-sha-256",
    "host   all            postgres   all            scram-sha-256",
    "# comes first, and decides",
    'host   second         "trusted"  all            reject',
    f'host   "{DATABASE}",\\\n  second  app,other  127.0.0.0/8  scram-sha-256',
    "host   all            /^md5      127.0.0.1 255.255.255.255  md5",
    "host   all            trusted    all            trust",
    "hostssl all           nobody     all            trust",
    "host   all            nobody     10.0.0.0/8     trust",
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[LocalPostgres]:
    """A cluster with these rules, and somebody whom a rule for md5 meets though his secret is SCRAM's."""
    cluster = make_postgres(hba=LINES)
    try:
        cluster.sql("create role md5scram login password 'md5scram secret'")
        yield cluster
    finally:
        cluster.close()


def superuser(cluster: LocalPostgres) -> psycopg.Connection[Any]:
    return psycopg.connect(cluster.url("postgres", cluster.superuser, cluster.password), autocommit=True)


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    path = tmp_path / "pg_hba.conf"
    path.write_text("\n".join(LINES) + "\n")
    return path


@pytest.fixture
def proxy(stage: Stage, postgres: LocalPostgres, rules_file: Path) -> ProxyProcess:
    with superuser(postgres) as connection:
        (secret,) = connection.execute(
            "select rolpassword from pg_authid where rolname = 'md5scram'"
        ).fetchone() or ("",)
    stage.expect_log("get in without a password")
    url = f"postgres://{postgres.host}:{postgres.port}"
    known = {user: {"password": text} for user, text in PASSWORDS.items() if text}
    return stage.fresh(
        databases={name: {"url": f"{url}/{name}"} for name in (DATABASE, "second", "bounded")},
        users={**known, "md5scram": {"password": secret}},
        auth_hba_file=str(rules_file),
    )


def first_answer(address: Any, user: str, database: str) -> tuple[Any, ...]:
    """What is asked for: the code of an authentication request; or what an error says."""
    with Wire(address) as wire:
        wire.send(m.startup({"user": user, "database": database}))
        message = wire.read()
        if message.letter == "E":
            return message.fields["S"], message.sqlstate, message.fields["M"]
        return (struct.unpack_from("!i", message.body)[0],)


@pytest.mark.parametrize(
    ("user", "database", "asked"),
    [
        ("app", DATABASE, 10),
        ("app", "second", 10),
        ("app", "bounded", None),
        ("other", DATABASE, 10),
        ("md5user", DATABASE, 5),
        ("md5scram", DATABASE, 10),
        ("trusted", DATABASE, 0),
        ("trusted", "second", None),
        ("nobody", DATABASE, None),
        ("stranger", "nowhere", None),
    ],
)
def test_as_postgresql_answers(
    stage: Stage, proxy: ProxyProcess, postgres: LocalPostgres, user: str, database: str, asked: int | None
) -> None:
    stage.expect_log("28000|login")
    expected = first_answer((postgres.host, postgres.port), user, database)
    found = first_answer(proxy.address, user, database)
    assert found == expected
    assert found == (asked,) or (asked is None and found[1] == "28000")


def test_a_stored_form_proves_itself_by_its_own_method(stage: Stage, proxy: ProxyProcess) -> None:
    """Whom the rule for md5 meets. Its password is not known here; what it has proved opens its server."""
    with Wire.login(proxy.address, "md5scram", "md5scram secret", DATABASE) as client:
        assert client.value("select current_user") == "md5scram"
    assert proxy.metrics().value("poolproxy_logins_total", method="scram-sha-256", result="ok") == 1


@pytest.mark.parametrize("user", ["app", "md5user", "trusted"])
def test_who_may_come_in_does(proxy: ProxyProcess, user: str) -> None:
    with Wire.login(proxy.address, user, PASSWORDS[user], DATABASE) as client:
        assert client.value("select current_user") == user


def test_a_wrong_password_is_one_by_rule_too(stage: Stage, proxy: ProxyProcess) -> None:
    stage.expect_log("28P01|login|password")
    for user in ("app", "md5user", "md5scram"):
        with pytest.raises(WireError, match="28P01"):
            Wire.login(proxy.address, user, "wrong", DATABASE)


def test_what_is_refused_is_counted_by_its_reason(stage: Stage, proxy: ProxyProcess) -> None:
    stage.expect_log("28000|login")
    for user, database in (("trusted", "second"), ("nobody", DATABASE)):
        first_answer(proxy.address, user, database)
    assert proxy.metrics().value("poolproxy_rejections_total", reason="hba") == 2


def test_a_unix_socket_is_local(stage: Stage, tmp_path: Path) -> None:
    rules = tmp_path / "hba"
    rules.write_text("local all app scram-sha-256\nhost all app all reject\n")
    with tempfile.TemporaryDirectory(prefix="pp") as folder:
        proxy = stage.fresh(auth_hba_file=str(rules), unix_socket_dir=folder)
        stage.expect_log("28000|login")
        path = str(Path(folder) / f".s.PGSQL.{proxy.port}")
        with Wire.login(path, "app", PASSWORDS["app"], DATABASE) as client:
            assert client.value("select 1") == "1"
        assert first_answer(proxy.address, "app", DATABASE)[2].startswith("pg_hba.conf rejects connection")
        assert first_answer(path, "other", DATABASE)[2] == (
            f'no pg_hba.conf entry for host "[local]", user "other", database "{DATABASE}", no encryption'
        )


#: What to read: each line on its own, and whether it is a rule here (None: PostgreSQL's, not ours).
READ = {
    "local all all trust": True,
    "local all all peer": True,
    "local all all peer map=crew": None,  # there is no such map
    "local all all peer clientcert=verify-ca": False,
    "host all all 127.0.0.1/32 peer": False,
    "hostssl all all all peer map=crew": False,
    "host all all 127.0.0.1/32 md5": True,
    "host  all\tall  10.1.2.3/8\tscram-sha-256": True,
    "host all all 10.1.2.3 255.0.0.0 reject": True,
    "host all all ::1/128 trust": True,
    "host all all fd00:: ffff:ffff:: trust": True,
    "host all all all trust": True,
    'host "all","b c" "d""e",+f all trust': None,
    'host "all","b c" "d""e","+f" all trust': True,
    "host a,b c , d all trust": False,  # a comma behind a blank begins the next field
    "host a, b,c d all trust": True,
    "host sameuser /^a.*$ all trust # end": True,
    'host "/^(a|b)$" all all trust': True,
    "hostssl replication all all trust": True,
    "hostnossl all all all md5": True,
    "hostgssenc all all all trust": True,
    "hostnogssenc all all all trust": True,
    "host all all samenet trust": None,
    "host samerole all all trust": None,
    "host all all .example.org trust": None,
    "host all all all ident": None,
    "hosts all all all trust": False,
    "host all": False,
    "host all all": False,
    "host all all all": False,
    "host all all 10.0.0.1 trust": False,
    "host all all 10.0.0.0/33 trust": False,
    "host all all 10.0.0.0/x trust": False,
    "host all all 10.0.0.0 ffff:: trust": False,
    "host all all all nonsense": False,
    "host all all all md5,trust": False,
    "host all all all trust x": False,
    "host all all all trust x=y": False,
    "host,local all all all trust": False,
    "host all all 10.0.0.0/8,11.0.0.0/8 trust": False,
    "host /( all all trust": False,
}


@pytest.fixture(scope="module")
def own_reading(postgres: LocalPostgres) -> dict[str, dict[str, Any]]:
    """What PostgreSQL makes of each line; nothing is reloaded, so its own rules stay what they are."""
    with superuser(postgres) as connection:
        (name,) = connection.execute("show hba_file").fetchone() or ("",)
        path = Path(name)
        before = path.read_text()
        path.write_text("\n".join(READ) + "\n")
        try:
            cursor = connection.execute("select * from pg_hba_file_rules")
            columns = [column.name for column in cursor.description or ()]
            rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
        finally:
            path.write_text(before)
    lines = list(READ)
    return {lines[row["line_number"] - 1]: row for row in rows}


def ours(line: str) -> Rule | None:
    def read(name: str, beside: str) -> tuple[str, str]:
        raise FileNotFoundError(2, "No such file or directory")

    try:
        (rule,) = parse("hba", line, read)
    except InvalidRules:
        return None
    return rule


@pytest.mark.parametrize("line", READ)
def test_as_postgresql_reads(own_reading: dict[str, dict[str, Any]], line: str) -> None:
    theirs, rule = own_reading[line], ours(line)
    error = theirs["error"] or ""
    if error.endswith("is not supported by this build"):
        error = ""  # it has read it
    assert (not error) == (READ[line] is not False), error
    assert (rule is not None) == (READ[line] is True)
    if rule is None:
        return
    assert rule.method == theirs["auth_method"]
    for names, column, same in ((rule.databases, "database", "sameuser"), (rule.users, "user_name", "")):
        patterns = (pattern.pattern.replace(r"\Z", "$") for pattern in names.patterns)
        said = {*names.names, *(f"/{pattern}" for pattern in patterns)}
        said |= {"all"} if names.all else set()
        said |= {same} if names.same else set()
        assert said == {name for name in theirs[column] if name != "replication"}
    if theirs["netmask"] is None:
        assert rule.networks is None
    else:
        assert rule.networks == (network_of(theirs["address"], theirs["netmask"]),)


#: Regular expressions, and names that one of them or another finds.
PATTERNS = (
    *("^app$", "^app", "app$", "^app|other$", "^(app$|other)", "^.*_admin$", "^.$", "^a[^b]c$", "^$", ""),
    *(r"^app\$", r"^app\$$", r"^app\\$", "^app[$]", "^app[]$]$", "^app[^]$]$", r"^app[\]$]$"),
    *("^app(?#[)$", "(?m)^app$", "(?m)^a.p$", "(?s)^a.p$", "(?x)^app $ # ["),
)
NAMES = (
    *(
        "",
        "app",
        "app\n",
        "\napp",
        "app\nother",
        "other\n",
        "other",
        "x\n_admin",
        "_admin\n",
        "\n",
        "a\nc",
        "a\np",
    ),
    *("app$", "app$x", "app$\n", "app\\", "app\\\n", "app]", "app]\n", "appx", "app\n\n"),
)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_as_postgresql_finds(postgres: LocalPostgres, pattern: str) -> None:
    """Its regular expressions are those of SQL, without a language."""
    with superuser(postgres) as connection:
        rows = connection.execute(
            'select name, name collate "C" ~ %s from unnest(%s::text[]) as name', (pattern, list(NAMES))
        ).fetchall()
    compiled = pattern_of(pattern)
    assert {name: compiled.search(name) is not None for name in NAMES} == dict(rows)
