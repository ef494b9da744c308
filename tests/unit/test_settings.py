"""Settings: urls, sources and their order, mistyped names, and that no error repeats a value."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from poolproxy.settings import (
    DatabaseSettings,
    InvalidSettings,
    Settings,
    UserSettings,
    descriptors_needed,
    fit_descriptors,
    load,
    parse_url,
)

URL = "postgres://app:s3cret@db.example:5433/orders"
SCRAM = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$" + "A" * 43 + "=:" + "A" * 43 + "="


def settings(**values: str) -> Settings:
    """DATABASE_URL and these variables, and nothing else."""
    return load(environment={"DATABASE_URL": URL, **values})


def problems(environment: Mapping[str, str], file: Path | None = None, **options: str) -> tuple[str, ...]:
    with pytest.raises(InvalidSettings) as raised:
        load(file, environment, options)
    return raised.value.problems


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


class TestUrl:
    def test_all_parts(self) -> None:
        url = parse_url("postgresql://us%40er:p%2Fw%3A@db.example:5433/na%20me?sslmode=prefer")
        assert (url.user, url.password, url.host, url.port, url.dbname) == (
            "us@er",
            "p/w:",
            "db.example",
            5433,
            "na me",
        )
        assert url.place == "db.example:5433"

    def test_what_is_left_out(self) -> None:
        url = parse_url("postgres://localhost")
        assert (url.user, url.password, url.port, url.dbname, url.unix_path) == (None, None, 5432, None, None)

    def test_ipv6(self) -> None:
        url = parse_url("postgres://u:p@[2001:db8::7]:6000/d")
        assert (url.host, url.port, url.place) == ("2001:db8::7", 6000, "[2001:db8::7]:6000")

    @pytest.mark.parametrize(
        "text", ["postgres://u@/d?host=/run/pg&port=5499", "postgres://u@%2Frun%2Fpg:5499/d"]
    )
    def test_unix_socket(self, text: str) -> None:
        assert parse_url(text).unix_path == "/run/pg/.s.PGSQL.5499"

    def test_parameters_win(self) -> None:
        url = parse_url("postgres://a:b@h:1/d?user=u&password=p%26&host=g&port=2&dbname=e")
        assert (url.user, url.password, url.host, url.port, url.dbname) == ("u", "p&", "g", 2, "e")

    def test_password_is_not_in_repr(self) -> None:
        assert "s3cret" not in repr(parse_url(URL))

    def test_what_libpq_says_of_tls_is_kept(self) -> None:
        said = "sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&sslnegotiation=direct&channel_binding=require"
        url = parse_url(f"{URL}?{said}&sslcert=a&sslkey=b")
        assert dict(url.tls) == {
            "sslmode": "verify-full",
            "sslrootcert": "/etc/ca.pem",
            "sslnegotiation": "direct",
            "channel_binding": "require",
            "sslcert": "a",
            "sslkey": "b",
        }

    @pytest.mark.parametrize("text", ["sslmode=on", "sslnegotiation=no", "channel_binding=yes"])
    def test_what_libpq_would_not_take_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=f"{text.partition('=')[0]} is none of"):
            parse_url(f"{URL}?{text}")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("mysql://hunter2@h/d", "starts with postgres://"),
            ("hunter2", "starts with postgres://"),
            ("postgres://u:hun/ter2@h/d", "percent-encode"),
            ("postgres://u:hun?ter2=1@h/d", "percent-encode"),
            ("postgres://u:hun#ter2@h/d", "percent-encode"),
            ("postgres://u:hun%ter2@h/d", "password has a %"),
            ("postgres://u:hunter2%ff@h/d", "not UTF-8"),
            ("postgres://u:hunter2%00@h/d", "zero byte"),
            ("postgres://u:hunter2\n@h/d", "unprintable"),
            ("postgres://u:hunter2@h:0/d", "port"),
            ("postgres://u:hunter2@h:65536/d", "port"),
            ("postgres://u:hunter2@h:x/d", "port"),
            ("postgres://u:hunter2@h/d?port=hunter2", "port"),
            ("postgres://u:hunter2@::1/d", "brackets|port"),
            ("postgres://u:hunter2@[::1/d", "malformed"),
            ("postgres:///d", "no host"),
            ("postgres://u:hunter2@h1,h2/d", "several hosts"),
            ("postgres://u:hunter2@h/d?sslmode=hunter2", "sslmode is none of"),
            ("postgres://u:hunter2@h/d?schema=public", 'not supported: "schema"'),
            ("postgres://u:hunter2@h/d?Hunter2", "not supported: one"),
        ],
    )
    def test_errors_name_the_part_and_repeat_nothing(self, text: str, message: str) -> None:
        with pytest.raises(ValueError, match=message) as raised:
            parse_url(text)
        assert "unter2" not in str(raised.value)

    @given(st.text())
    def test_any_text_is_parsed_or_refused(self, text: str) -> None:
        try:
            parse_url("postgres://" + text)
        except ValueError:
            return

    @given(st.text(min_size=1).filter(lambda text: "\0" not in text))
    def test_any_password_survives_percent_encoding(self, password: str) -> None:
        from urllib.parse import quote

        try:
            quoted = quote(password, safe="")
        except UnicodeEncodeError:
            return
        assert parse_url(f"postgres://u:{quoted}@h/d").password == password


class TestSources:
    def test_database_url_is_enough(self) -> None:
        found = settings()
        assert list(found.databases) == ["orders"]
        assert found.user_passwords() == {"app": "s3cret"}
        assert (found.listen_host, found.listen_port) == ("0.0.0.0", 6432)
        assert (found.http_host, found.http_port) == ("0.0.0.0", 9127)
        assert (found.pool_size, found.pool_mode, found.max_client_connections) == (20, "transaction", 10_000)
        assert (found.auth_method, found.connection_borrow_timeout) == ("scram-sha-256", 120)

    def test_database_url_without_a_name_takes_the_users(self) -> None:
        assert list(load(environment={"DATABASE_URL": "postgres://u:p@h"}).databases) == ["u"]

    def test_environment(self) -> None:
        found = settings(
            POOLPROXY_POOL_SIZE="7",
            POOLPROXY_AUTH_METHOD="MD5",
            POOLPROXY_LOG_LEVEL="DEBUG",
            POOLPROXY_DATABASES__SHOP__URL="postgres://u2:p2@h2/shop",
            POOLPROXY_DATABASES__SHOP__POOL_SIZE="3",
            POOLPROXY_USERS__REPORTING__PASSWORD="12345",
            poolproxy_min_pool_size="1",
        )
        assert (found.pool_size, found.auth_method, found.log_level) == (7, "md5", "debug")
        assert found.databases["shop"].pool_size == 3
        assert found.databases["orders"].pool_size == 7
        assert found.min_pool_size == 1
        assert found.user_passwords() == {"app": "s3cret", "u2": "p2", "reporting": "12345"}

    def test_lists(self, tmp_path: Path) -> None:
        file = write(
            tmp_path / "pp.toml",
            f'pin_on = ["lastval"]\nsession_pinning_filters = ["listen"]\n[databases.a]\nurl = "{URL}"\n',
        )
        found = load(file, {"POOLPROXY_DATABASES__A__PIN_ON": "currval, lastval"})
        assert (found.pin_on, found.session_pinning_filters) == (("lastval",), ("listen",))
        assert found.databases["a"].pin_on == ("currval", "lastval")
        with pytest.raises(InvalidSettings, match="session_pinning_filters"):
            settings(POOLPROXY_SESSION_PINNING_FILTERS="listen,load")

    def test_tables_as_json(self) -> None:
        found = load(environment={"POOLPROXY_DATABASES": '{"Orders": {"url": "postgres://u:p@h/x"}}'})
        assert found.databases["Orders"].location.dbname == "x"

    def test_file(self, tmp_path: Path) -> None:
        file = write(
            tmp_path / "pp.toml",
            f'pool_size = 5\n[databases.Shop]\nurl = "{URL}"\npool_mode = "session"\n'
            '[databases."*"]\nurl = "postgres://h"\n[users."Big.Boss"]\npassword = "x"\n',
        )
        found = load(file, {})
        assert (found.databases["Shop"].pool_mode, found.databases["*"].pool_mode) == (
            "session",
            "transaction",
        )
        assert found.databases["Shop"].pool_size == 5
        assert found.user_passwords()["Big.Boss"] == "x"

    def test_order(self, tmp_path: Path) -> None:
        (tmp_path / "secrets").mkdir()
        for name in ("pool_size", "min_pool_size", "max_pools", "drain_timeout"):
            write(tmp_path / "secrets" / name, "1\n")
        file = write(
            tmp_path / "pp.toml",
            f'pool_size = 2\nmin_pool_size = 2\nmax_pools = 2\nsecrets_dir = "{tmp_path}/secrets"\n',
        )
        environment = {"DATABASE_URL": URL, "POOLPROXY_POOL_SIZE": "3", "POOLPROXY_MAX_POOLS": "3"}
        found = load(file, environment, {"pool_size": "4"})
        assert (found.pool_size, found.max_pools, found.min_pool_size, found.drain_timeout) == (4, 3, 2, 1)

    def test_an_empty_variable_is_not_set(self) -> None:
        assert settings(POOLPROXY_POOL_SIZE="").pool_size == 20

    def test_url_in_the_environment_over_the_file(self, tmp_path: Path) -> None:
        file = write(
            tmp_path / "pp.toml", '[databases.orders]\nurl = "postgres://old:o@h/x"\npool_size = 3\n'
        )
        found = load(file, {"DATABASE_URL": URL})
        assert found.databases["orders"].location.user == "app"
        assert found.databases["orders"].pool_size == 3
        found = load(file, {"DATABASE_URL": URL, "POOLPROXY_DATABASES__ORDERS__URL": "postgres://n:n@h/x"})
        assert found.databases["orders"].location.user == "n"

    def test_file_variables(self, tmp_path: Path) -> None:
        url, password = write(tmp_path / "url", URL + "\n"), write(tmp_path / "password", " spaced \r\n")
        found = load(
            environment={
                "DATABASE_URL_FILE": str(url),
                "POOLPROXY_USERS__BOB__PASSWORD_FILE": str(password),
                "POOLPROXY_POOL_SIZE_FILE": str(write(tmp_path / "size", "9")),
            }
        )
        assert found.user_passwords() == {"app": "s3cret", "bob": " spaced "}
        assert found.pool_size == 9

    def test_secrets_directory_as_kubernetes_mounts_it(self, tmp_path: Path) -> None:
        data = tmp_path / "..2026_01_01"
        data.mkdir()
        write(data / "database_url", URL)
        write(data / "POOLPROXY_USERS__BOB__PASSWORD", "b0b\n")
        (tmp_path / "..data").symlink_to(data.name)
        for name in ("database_url", "POOLPROXY_USERS__BOB__PASSWORD"):
            (tmp_path / name).symlink_to(f"..data/{name}")
        (tmp_path / "users" / "eve").mkdir(parents=True)
        write(tmp_path / "users" / "eve" / "password", "e")
        found = load(environment={"POOLPROXY_SECRETS_DIR": str(tmp_path)})
        assert found.user_passwords() == {"app": "s3cret", "bob": "b0b", "eve": "e"}

    def test_the_process_environment_is_read_by_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in os.environ if name.upper().startswith("POOLPROXY_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("DATABASE_URL", URL)
        monkeypatch.setenv("POOLPROXY_POOL_SIZE", "11")
        assert load().pool_size == 11
        # Building one by hand depends on the arguments alone.
        assert Settings(databases={"a": DatabaseSettings(url=SecretStr(URL))}).pool_size == 20

    def test_kubernetes_service_links_are_not_settings(self) -> None:
        links = {
            "POOLPROXY_SERVICE_HOST": "10.0.0.7",
            "POOLPROXY_SERVICE_PORT": "6432",
            "POOLPROXY_SERVICE_PORT_METRICS": "9127",
            "POOLPROXY_PORT": "tcp://10.0.0.7:6432",
            "POOLPROXY_PORT_6432_TCP": "tcp://10.0.0.7:6432",
            "POOLPROXY_PORT_6432_TCP_PROTO": "tcp",
            "POOLPROXY_PORT_6432_TCP_PORT": "6432",
            "POOLPROXY_PORT_6432_TCP_ADDR": "10.0.0.7",
            "POOLPROXY_METRICS_PORT": "tcp://10.0.0.7:9127",
            "POOLPROXY_METRICS_SERVICE_HOST": "10.0.0.7",
        }
        assert settings(**links) == settings()
        assert settings(POOLPROXY_CONFIG="x", POOLPROXY_INTERPRETED="1") == settings()


class TestMistypedNames:
    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("POOLPROXY_POOL_SISE", "POOLPROXY_POOL_SIZE"),
            ("POOLPROXY_PORT", "POOLPROXY_HTTP_PORT"),
            ("POOLPROXY_DATABASE__APP__URL", "POOLPROXY_DATABASES__APP__URL"),
            ("POOLPROXY_USER__APP__PASSWORD_FILE", "POOLPROXY_USERS__APP__PASSWORD_FILE"),
            ("POOLPROXY_DATABASE_URL", "DATABASE_URL"),
            ("POOLPROXY_CONFG", "POOLPROXY_CONFIG"),
            ("POOLPROXY_DATABASES__APP__POOL_SISE", "pool_size"),
            ("POOLPROXY_USERS__APP__PASSWROD", "password"),
        ],
    )
    def test_in_the_environment(self, name: str, meant: str) -> None:
        found = problems({"DATABASE_URL": URL, name: "hunter2"})
        assert f"{name}: unknown setting, did you mean {meant}?" in found
        assert "hunter2" not in "".join(found)

    def test_without_an_idea(self) -> None:
        assert problems({"DATABASE_URL": URL, "POOLPROXY_QQQQ": "1"}) == ("POOLPROXY_QQQQ: unknown setting",)

    def test_in_the_file(self, tmp_path: Path) -> None:
        file = write(
            tmp_path / "pp.toml", f'pool_sise = 1\n[databases.app]\nurl = "{URL}"\npol_size = 1\nxyzzy = 1\n'
        )
        assert sorted(problems({}, file)) == [
            f"databases.app.pol_size ({file}): unknown setting, did you mean pool_size?",
            f"databases.app.xyzzy ({file}): unknown setting",
            f"pool_sise ({file}): unknown setting, did you mean pool_size?",
        ]

    def test_on_the_command_line(self) -> None:
        assert problems({"DATABASE_URL": URL}, pool_sice="1") == (
            "--set pool_sice: unknown setting, did you mean --set pool_size?",
        )

    def test_in_the_secrets_directory(self, tmp_path: Path) -> None:
        write(tmp_path / "databse_url", URL)
        found = problems({"POOLPROXY_SECRETS_DIR": str(tmp_path)})
        assert found[0].startswith(f"{tmp_path}/databse_url: unknown setting")

    def test_control_characters_are_escaped(self) -> None:
        assert "\x1b" not in "".join(problems({"DATABASE_URL": URL, "POOLPROXY_\x1b[31m": "1"}))


class TestWrongValues:
    def test_each_is_named_by_its_source(self, tmp_path: Path) -> None:
        file = write(
            tmp_path / "pp.toml", f'max_pools = "hunter2"\n[databases.app]\nurl = "{URL}"\npool_size = -4\n'
        )
        found = problems({"POOLPROXY_POOL_MODE": "hunter2"}, file, listen_port="hunter2")
        assert {line.split(": ")[0] for line in found} == {
            f"max_pools ({file})",
            f"databases.app.pool_size ({file})",
            "POOLPROXY_POOL_MODE",
            "listen_port (command line)",
        }
        assert "POOLPROXY_POOL_MODE: Input should be 'transaction' or 'session'" in found

    @pytest.mark.parametrize(
        ("environment", "message"),
        [
            ({}, "no database: set DATABASE_URL"),
            ({"DATABASE_URL": "postgres://h/d"}, "nobody could log in"),
            (
                {"DATABASE_URL": "postgres://h", "POOLPROXY_AUTH_METHOD": "trust"},
                "neither a database nor a user",
            ),
            ({"DATABASE_URL": URL, "POOLPROXY_MIN_POOL_SIZE": "30"}, "min_pool_size of database 'orders'"),
            ({"DATABASE_URL": URL, "POOLPROXY_DRAIN_TIMEOUT": "nan"}, "POOLPROXY_DRAIN_TIMEOUT"),
            ({"DATABASE_URL": URL, "POOLPROXY_UNIX_SOCKET_MODE": "0999"}, "POOLPROXY_UNIX_SOCKET_MODE"),
            (
                {"DATABASE_URL": URL, "POOLPROXY_USERS__A__PASSWORD": "md5" + "0" * 32},
                "md5 form stored for user 'a'",
            ),
            (
                {"DATABASE_URL": URL, "POOLPROXY_MOCK_SALT_KEY": "guessed"},
                "^POOLPROXY_MOCK_SALT_KEY: at least 16 characters: [^']*$",
            ),
            (
                {"DATABASE_URL": URL, "POOLPROXY_USERS__A__POOL_SIZE": "3"},
                "PASSWORD: this setting is required|required",
            ),
            (
                {"DATABASE_URL": URL, "POOLPROXY_DATABASES__A": "hunter2"},
                "POOLPROXY_DATABASES__A: this is a table",
            ),
            ({"DATABASE_URL": URL, "POOLPROXY_USERS": "hunter2"}, "POOLPROXY_USERS: not a JSON object"),
            (
                {"DATABASE_URL": URL, "POOLPROXY_DATABASES__A__URL": "postgres://app:x@h/a"},
                "different passwords",
            ),
            (
                {"DATABASE_URL": URL, "DATABASE_URL_FILE": "/x"},
                "DATABASE_URL and DATABASE_URL_FILE are both set",
            ),
            ({"DATABASE_URL_FILE": "/nonexistent/file"}, "DATABASE_URL_FILE: the file cannot be read"),
            ({"POOLPROXY_SECRETS_DIR": "/nonexistent"}, "secrets_dir: /nonexistent is not a directory"),
        ],
    )
    def test_messages(self, environment: dict[str, str], message: str) -> None:
        with pytest.raises(InvalidSettings, match=message):
            load(environment=environment)

    def test_unreadable_files(self, tmp_path: Path) -> None:
        assert "cannot be read" in problems({}, tmp_path / "none.toml")[0]
        assert "not valid TOML" in problems({}, write(tmp_path / "bad.toml", "password = hunter2"))[0]
        binary = tmp_path / "binary"
        binary.write_bytes(b"\xff\xfe")
        assert "not UTF-8" in problems({}, binary)[0]
        assert "not UTF-8" in problems({"DATABASE_URL_FILE": str(binary)})[0]
        binary.write_bytes(b"x" * (1 << 21))
        assert "larger" in problems({"DATABASE_URL_FILE": str(binary)})[0]

    def test_users_table_settles_whose_password_counts(self) -> None:
        found = settings(
            POOLPROXY_DATABASES__A__URL="postgres://app:other@h/a", POOLPROXY_USERS__APP__PASSWORD="mine"
        )
        assert found.user_passwords() == {"app": "mine"}

    def test_stored_forms_with_their_method(self) -> None:
        md5 = "md5" + "0123456789abcdef" * 2
        assert settings(POOLPROXY_USERS__A__PASSWORD=SCRAM).users["a"].plain_password is None
        assert (
            settings(POOLPROXY_USERS__A__PASSWORD=md5, POOLPROXY_AUTH_METHOD="md5").users["a"].plain_password
            is None
        )
        assert settings(POOLPROXY_USERS__A__PASSWORD="md5 is old").users["a"].plain_password == "md5 is old"
        both = settings(
            POOLPROXY_USERS__A__PASSWORD=md5, POOLPROXY_USERS__B__PASSWORD=SCRAM, POOLPROXY_AUTH_METHOD="md5"
        )
        assert both.user_passwords().keys() >= {"a", "b"}


class TestSecretsStaySecret:
    SECRETS = ("hunter2-url", "hunter2-user", "hunter2-shop")

    def good(self) -> dict[str, str]:
        return {
            "DATABASE_URL": "postgres://app:hunter2-url@h/app",
            "POOLPROXY_USERS__BOB__PASSWORD": "hunter2-user",
            "POOLPROXY_DATABASES__SHOP__URL": "postgres://shop:hunter2-shop@h/shop",
        }

    def test_in_repr_str_and_dump(self) -> None:
        found = load(environment=self.good())
        location = found.databases["shop"].location
        text = f"{found!r} {found} {found.model_dump()} {found.model_dump_json()} {location!r}"
        assert set(found.user_passwords().values()) == set(self.SECRETS)
        assert not [secret for secret in self.SECRETS if secret in text]

    @pytest.mark.parametrize(
        "mistake",
        [
            {"POOLPROXY_POOL_SIZE": "x"},
            {"POOLPROXY_POOL_SISE": "x"},
            {"POOLPROXY_MIN_POOL_SIZE": "30"},
            {"POOLPROXY_DATABASES__SHOP__URL": "postgres://shop:hunter2-shop@h:port/shop"},
            {"POOLPROXY_DATABASES__SHOP__URL": "postgres://shop:hun/hunter2-shop@h/shop"},
            {"POOLPROXY_DATABASES__SHOP__URI": "postgres://shop:hunter2-shop@h/shop"},
            {"POOLPROXY_DATABASES": '{"shop": {"url": "postgres://shop:hunter2-shop@h/shop"}'},
            {"POOLPROXY_DATABASES": '{"x": {"url": ["postgres://shop:hunter2-shop@h/shop"]}}'},
            {"POOLPROXY_USERS__BOB": "hunter2-user"},
            {"POOLPROXY_USERS__BOB__PASSWORD__X": "hunter2-user"},
            {"POOLPROXY_AUTH_METHOD": "md5", "POOLPROXY_USERS__EVE__PASSWORD": "SCRAM-SHA-256$hunter2-user"},
            {"DATABASE_URL": "postgres://app:hunter2-url@h/app?password=hunter2-url&hunter2-url=1"},
            {"DATABASE_URL": "postgres://shop:hunter2-url@h/app"},
            {"DATABASE_URL": "hunter2-url"},
        ],
    )
    def test_in_errors_with_their_whole_traceback(self, mistake: dict[str, str]) -> None:
        with pytest.raises(InvalidSettings) as raised:
            load(environment=self.good() | mistake)
        text = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
        assert not [secret for secret in self.SECRETS if secret in text]

    def test_in_errors_of_models_built_by_hand(self) -> None:
        with pytest.raises(ValidationError) as raised:
            Settings.model_validate(
                {"databases": {"a": {"url": "hunter2-url"}}, "users": {"b": {"password": ["hunter2-user"]}}}
            )
        assert "hunter2" not in str(raised.value)


class TestCompleteness:
    def test_databases_inherit_what_they_do_not_set(self) -> None:
        found = Settings(
            pool_size=50,
            idle_transaction_timeout=9,
            databases={"a": DatabaseSettings(url=SecretStr(URL), min_pool_size=30)},
            users={"u": UserSettings(password=SecretStr("p"), pool_size=2)},
        )
        database = found.databases["a"]
        assert (database.pool_size, database.min_pool_size, database.idle_transaction_timeout) == (50, 30, 9)

    def test_it_is_frozen(self) -> None:
        with pytest.raises(ValidationError):
            settings().pool_size = 3  # type: ignore[misc]

    def test_every_setting_is_described(self) -> None:
        for model in (Settings, DatabaseSettings, UserSettings):
            assert not [name for name, field in model.model_fields.items() if not field.description]

    @pytest.mark.parametrize(("host", "advised"), [("0.0.0.0", True), ("127.0.0.1", False), ("::1", False)])
    def test_trust_off_loopback_is_advised_against(self, host: str, advised: bool) -> None:
        found = settings(POOLPROXY_AUTH_METHOD="trust", POOLPROXY_LISTEN_HOST=host)
        assert any("trust" in line for line in found.advice()) is advised
        assert not any("trust" in line for line in settings(POOLPROXY_LISTEN_HOST=host).advice())

    @pytest.mark.parametrize(("host", "advised"), [("0.0.0.0", True), ("127.0.0.1", False), ("::1", False)])
    def test_passwords_that_others_could_listen_to_are_advised_against(
        self, host: str, advised: bool
    ) -> None:
        found = settings(POOLPROXY_LISTEN_HOST=host)
        assert any("not encrypted" in line for line in found.advice()) is advised
        assert not settings(POOLPROXY_LISTEN_HOST=host, POOLPROXY_TLS_MODE="disable").advice()


class TestTls:
    """What cannot be is said at the start, with the setting's name."""

    @pytest.mark.parametrize(
        ("variables", "message"),
        [
            ({"TLS_MODE": "require"}, "tls_mode require needs tls_cert_file"),
            ({"REQUIRE_TLS": "true"}, "tls_mode require needs tls_cert_file"),
            ({"TLS_KEY_FILE": "k"}, "tls_key_file is there without tls_cert_file"),
            ({"TLS_CERT_FILE": "c", "TLS_MODE": "verify-full"}, "needs tls_ca_file"),
            ({"TLS_CERT_FILE": "c", "TLS_CRL_FILE": "r"}, "tls_crl_file is there without tls_ca_file"),
            ({"SSLMODE": "verify-full"}, "sslmode verify-full needs sslrootcert"),
            ({"SSLMODE": "require", "SSLROOTCERT": "system"}, "needs sslmode verify-full"),
            ({"SSLMODE": "prefer", "SSLROOTCERT": "system"}, "needs sslmode verify-full"),
            ({"SSLNEGOTIATION": "direct"}, "sslnegotiation = direct needs sslmode require or more"),
            ({"SSLMODE": "disable", "CHANNEL_BINDING": "require"}, "channel_binding = require needs TLS"),
            ({"SSLKEY": "k"}, "sslkey is there without sslcert"),
        ],
    )
    def test_what_is_refused(self, variables: dict[str, str], message: str) -> None:
        with pytest.raises(InvalidSettings, match=message):
            settings(**{f"POOLPROXY_{name}": value for name, value in variables.items()})

    @pytest.mark.parametrize(
        ("variables", "mode"),
        [
            ({"POOLPROXY_SSLROOTCERT": "system"}, "verify-full"),
            ({"DATABASE_URL": f"{URL}?sslrootcert=system"}, "verify-full"),
            ({"DATABASE_URL": f"{URL}?sslrootcert=bundle.pem", "POOLPROXY_SSLROOTCERT": "system"}, "prefer"),
            ({"POOLPROXY_SSLROOTCERT": "bundle.pem"}, "prefer"),
            ({"POOLPROXY_DATABASES__ORDERS__SSLROOTCERT": "system"}, "verify-full"),
        ],
    )
    def test_authorities_of_the_system_are_for_verify_full(
        self, variables: dict[str, str], mode: str
    ) -> None:
        """As libpq has it, where nothing says otherwise."""
        (database,) = settings(**variables).databases.values()
        assert database.tls["sslmode"] == mode

    def test_require_tls_says_no_less_than_tls_mode(self) -> None:
        def mode(**variables: str) -> str:
            given = {f"POOLPROXY_{name}": value for name, value in variables.items()}
            return settings(POOLPROXY_TLS_CERT_FILE="c", POOLPROXY_TLS_CA_FILE="a", **given).client_tls_mode

        assert mode() == "prefer"
        assert mode(REQUIRE_TLS="true") == "require"
        assert mode(REQUIRE_TLS="true", TLS_MODE="verify-full") == "verify-full"

    def test_the_urls_own_wins(self) -> None:
        found = settings(
            DATABASE_URL="postgres://u:p@h/d?sslmode=require", POOLPROXY_SSLMODE="disable"
        ).databases["d"]
        assert found.tls["sslmode"] == "require"
        assert found.tls["sslnegotiation"] == "postgres"

    def test_a_host_name_stands_for_one_database(self) -> None:
        tables = {name: {"url": "postgres://u:p@h/x", "tls_hostnames": ["db.example"]} for name in "ab"}
        with pytest.raises(ValidationError, match="stands there for two databases"):
            Settings.model_validate({"databases": tables})


class TestNamesOfOneDatabase:
    """They share its connections: whose limits would hold if they differed?"""

    @staticmethod
    def databases(**tables: dict[str, Any]) -> Settings:
        place = "postgres://u:p@db:5433"
        full = {name: {"url": f"{place}/shop", **table} for name, table in tables.items()}
        return Settings.model_validate({"databases": full, "users": {"bob": {"password": "x"}}})

    @pytest.mark.parametrize(
        ("one", "other", "setting"),
        [
            ({"max_connections": 2}, {"max_connections": 10}, "max_connections"),
            ({"max_connections_percent": 5}, {}, "max_connections_percent"),
            ({"max_connections": 2}, {}, "max_connections and max_connections_percent"),
            ({}, {"max_idle_connections_percent": 5}, "max_idle_connections_percent"),
        ],
    )
    def test_different_limits_are_refused(
        self, one: dict[str, Any], other: dict[str, Any], setting: str
    ) -> None:
        with pytest.raises(ValidationError) as caught:
            self.databases(a=one, c={"url": "postgres://u:p@db:5433/elsewhere"}, b=other)
        message = "databases 'a' and 'b' are one database, 'shop' on db:5433, and share its connections: "
        assert f"{message}give both the same {setting}" in str(caught.value)
        assert "u:p" not in str(caught.value)

    def test_the_same_limits_will_do(self) -> None:
        """Whatever else differs, and a percentage that does not count."""
        found = self.databases(
            a={"max_connections": 5, "pool_size": 3, "pool_mode": "session"},
            b={"max_connections": 5, "max_connections_percent": 7},
        )
        assert found.databases["b"].max_connections == 5

    @pytest.mark.parametrize(
        "url", ["postgres://u:p@db:5433/other", "postgres://u:p@db/shop", "postgres://u:p@db2:5433/shop"]
    )
    def test_other_databases_and_servers_have_their_own(self, url: str) -> None:
        self.databases(a={"max_connections": 2}, b={"url": url, "max_connections": 10})

    def test_a_url_without_a_dbname(self) -> None:
        with pytest.raises(ValidationError, match="databases 'a' and 'shop' are one database"):
            self.databases(a={"max_connections": 2}, shop={"url": "postgres://u:p@db:5433"})

    def test_a_database_that_any_name_reaches_too(self) -> None:
        any_name = {"url": "postgres://db:5433", "max_connections": 9}
        with pytest.raises(ValidationError, match="databases 'a' and '\\*' are one database, 'shop'"):
            self.databases(a={}, **{"*": any_name})
        self.databases(shop={}, **{"*": any_name})  # "shop" is not reached by "*"
        self.databases(a={}, **{"*": {**any_name, "url": "postgres://db2:5433"}})


class TestDescriptors:
    @staticmethod
    def settings(**differing: Any) -> Settings:
        values = {"databases": {"shop": {"url": URL}}, "max_client_connections": 1000}
        return Settings.model_validate({**values, **differing})

    def test_what_fits_is_silent(self) -> None:
        needed = descriptors_needed(1000, 20)
        assert fit_descriptors(self.settings(), needed) == (needed, ())

    def test_what_does_not_fit_names_both_numbers_and_the_cure(self) -> None:
        with pytest.raises(InvalidSettings, match=r"10000 clients .* may open 1024 .* to 876 or less"):
            fit_descriptors(self.settings(max_client_connections=10_000), 1024)

    def test_servers_alone_are_too_many(self) -> None:
        with pytest.raises(InvalidSettings, match=r"2000 servers .* or lower pool_size, max_connections or"):
            fit_descriptors(self.settings(pool_size=2000), 1024)

    @pytest.mark.parametrize(
        ("differing", "servers"),
        [
            ({}, 20),
            ({"users": {"a": {"password": "x"}, "b": {"password": "x", "pool_size": 5}}}, 20 + 20 + 5),
            ({"users": {"a": {"password": "x"}, "b": {"password": "x"}}, "max_pools": 2}, 40),
            ({"users": {"a": {"password": "x"}, "b": {"password": "x"}}, "max_connections": 30}, 30),
            (
                {"databases": {name: {"url": f"{URL}{name}", "pool_size": 7} for name in "abc"}},
                3 * 7,
            ),
            (
                {"databases": {name: {"url": URL, "pool_size": 7, "max_connections": 9} for name in "abc"}},
                9,
            ),
            ({"auth_method": "trust", "max_pools": 100}, 100 * 20),
            ({"auth_method": "trust", "max_pools": 100, "max_connections": 300}, 300),
            ({"databases": {"*": {"url": URL}}, "max_pools": 50}, 50 * 20),
            ({"databases": {"*": {"url": URL, "max_connections": 3}}, "max_pools": 50}, 50 * 3),
        ],
    )
    def test_all_servers_that_can_be_opened_count(self, differing: dict[str, Any], servers: int) -> None:
        needed, _ = fit_descriptors(self.settings(**differing), 1_000_000)
        assert needed == descriptors_needed(1000, servers)

    def test_whom_only_clients_name_is_no_reason_to_refuse(self) -> None:
        """They may never come; the limit is used as far as it goes, and the operator is told."""
        open_files, (advice,) = fit_descriptors(self.settings(auth_method="trust"), 5000)
        assert open_files == 5000
        assert advice.startswith("max_pools: 1000 pools may open 20000 servers")
        assert "need 21128 open files, but this process may open 5000" in advice


class TestAuthQuery:
    DATABASES: ClassVar = {"shop": {"url": URL}, "lookup": {"url": "postgres://looker:pw@db/orders"}}

    def made(self, **values: Any) -> Settings:
        databases = {name: dict(table) for name, table in self.DATABASES.items()}
        ours = {"databases": databases, "auth_query": "select $1", "auth_query_database": "lookup"}
        return Settings.model_validate({**ours, **values})

    def test_it_lets_in_whom_no_setting_names(self) -> None:
        databases = {
            "shop": {"url": "postgres://db/orders"},
            "lookup": {"url": "postgres://looker@db/orders"},
        }
        assert self.made(databases=databases).user_passwords() == {}
        with pytest.raises(ValidationError, match="nobody could log in"):
            self.made(databases=databases, auth_query="")

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"auth_query": "select 1"}, r"no \$1"),
            ({"auth_query_database": ""}, "auth_query_database: say which"),
            ({"auth_query_database": "nowhere"}, r"no \[databases.nowhere\]"),
            ({"databases": {"shop": {"url": URL}, "lookup": {"url": "postgres://db"}}}, "it names none"),
            ({"databases": {"*": {"url": URL}}, "auth_query_database": "*"}, r"no \[databases.\*\]"),
        ],
    )
    def test_what_could_not_work_is_refused(self, values: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            self.made(**values)

    def test_the_database_of_lookups_is_for_users_of_the_settings(self) -> None:
        made = self.made(users={"ann": {"password": "x"}})
        lookup, shop = made.databases["lookup"], made.databases["shop"]
        users = ("ann", "looker", "app", "found")
        assert [user for user in users if made.may_use(user, lookup)] == ["ann", "looker"]
        assert [user for user in users if made.may_use(user, shop)] == ["ann", "app", "found"]
        without = self.made(auth_query="")
        assert without.may_use("found", without.databases["lookup"]), "it is like any other then"

    def test_the_only_database_is_for_both_and_warned_of(self) -> None:
        only = self.made(databases={"shop": {"url": URL}}, auth_query_database="")
        assert only.lookup_database == "shop"
        assert only.may_use("found", only.databases["shop"])
        warned = [line for line in only.advice() if "auth_query_database is not set" in line]
        assert len(warned) == 1
        assert not [line for line in self.made().advice() if "auth_query" in line]

    def test_trust_never_asks(self) -> None:
        advice = self.made(auth_method="trust", listen_host="127.0.0.1").advice()
        assert advice == ("auth_query is never asked: auth_method is trust",)
