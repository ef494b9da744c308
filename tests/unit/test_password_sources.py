"""Which source of a password a database has: its own or an inherited one, and one that can be used."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from poolproxy.backend.providers import Providers
from poolproxy.cli import cli
from poolproxy.router import Router
from poolproxy.settings import InvalidSettings, PasswordSource, Settings, load
from tests.unit.backend.amazon import away

#: Without a password.
URL = "postgres://app@db.example/shop"
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-AbCdEf"
RDS = "postgres://app@shop.c1x2.eu-central-1.rds.amazonaws.com/shop"

TLS = {"sslmode": "require"}

ANYBODY: dict[str, Any] = {"users": {"app": {"password": "of clients"}, "ann": {"password": "of ann"}}}


def settings(table: Mapping[str, object], **above: object) -> Settings:
    """One database, shop, with a url without a password unless `table` has another one."""
    return Settings.model_validate({"databases": {"shop": {"url": URL, **table}}, **ANYBODY, **above})


def source(table: Mapping[str, object], **above: object) -> PasswordSource | None:
    return settings(table, **above).databases["shop"].password_source


class TestWhichOne:
    def test_none_is_the_rule(self) -> None:
        assert source({}) is None
        assert source({"url": "postgres://app:pw@db/shop"}) is None

    def test_its_own(self) -> None:
        assert source({"password_file": "/run/pw"}) == PasswordSource("password_file", "/run/pw")
        assert source({"password_secret": "shop", "aws_region": "eu-west-1"}) == PasswordSource(
            "password_secret", "shop", "eu-west-1"
        )
        assert source({"iam_auth": True, **TLS}) == PasswordSource("iam_auth")

    def test_one_for_all(self) -> None:
        assert source({}, password_file="/run/pw") == PasswordSource("password_file", "/run/pw")
        assert source({}, iam_auth=True, sslmode="require", aws_region="eu-west-1") == PasswordSource(
            "iam_auth", region="eu-west-1"
        )
        assert source({"password_secret": "x"}, aws_region="eu-west-1") == PasswordSource(
            "password_secret", "x", "eu-west-1"
        )

    def test_its_own_wins(self) -> None:
        """Any of its own, its url's password and "none" included."""
        assert source({"password_file": "/run/pw"}, iam_auth=True) == PasswordSource(
            "password_file", "/run/pw"
        )
        assert source({"url": "postgres://app:pw@db/shop"}, password_file="/run/pw") is None
        assert source({"iam_auth": False}, password_file="/run/pw") is None

    def test_from_the_environment(self, tmp_path: Path) -> None:
        """A name with _FILE at its end that is a setting's own means that setting."""
        found = load(
            environment={
                "DATABASE_URL": URL,
                "POOLPROXY_USERS__APP__PASSWORD": "of clients",
                "POOLPROXY_DATABASES__SHOP__PASSWORD_FILE": "/run/shop",
                "POOLPROXY_DATABASES__OTHER__URL": "postgres://app@db/other",
                "POOLPROXY_PASSWORD_FILE": "/run/pw",
            }
        )
        assert found.databases["shop"].password_file == "/run/shop"
        assert found.databases["other"].password_file == "/run/pw"

    def test_a_users_password_file_is_read_at_the_start(self, tmp_path: Path) -> None:
        (tmp_path / "password").write_text("of clients\n")
        found = load(
            environment={
                "DATABASE_URL": URL,
                "POOLPROXY_USERS__APP__PASSWORD_FILE": str(tmp_path / "password"),
            }
        )
        assert found.user_passwords() == {"app": "of clients"}


class TestWhatCannotBeUsed:
    @pytest.mark.parametrize(
        ("table", "message"),
        [
            (
                {"password_file": "/x", "password_secret": "y"},
                "several sources, password_file and password_secret: give one",
            ),
            (
                {"url": "postgres://app:hunter2@db/shop", "password_file": "/x"},
                "several sources, password_file and its url: give one",
            ),
            ({"url": "postgres://db/shop", "password_file": "/x"}, "its url names no user, whose password"),
            ({"url": "postgres://db/shop", "password_secret": "x"}, "its url names no user, whose password"),
            (
                {"url": "postgres:///shop?host=/run/pg", "iam_auth": True, **TLS},
                "over TLS, not by a Unix socket",
            ),
            ({"iam_auth": True}, "with sslmode prefer there may be none: set sslmode to require"),
        ],
    )
    def test_is_refused_for_this_database(self, table: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message) as caught:
            settings(table)
        assert "database 'shop': " in str(caught.value)
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
    def test_tokens_where_there_may_be_no_tls(self, mode: str) -> None:
        """Whether the settings say so or, before them, the url."""
        for table in ({"sslmode": mode}, {"sslmode": "require", "url": f"{URL}?sslmode={mode}"}):
            with pytest.raises(ValueError, match=f"with sslmode {mode} there may be none"):
                settings({"iam_auth": True, **table})

    @pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
    def test_tokens_where_there_is(self, mode: str) -> None:
        for table in ({"sslmode": mode}, {"url": f"{URL}?sslmode={mode}"}):
            found = source({"iam_auth": True, **table}, sslrootcert="/etc/rds.pem")
            assert found == PasswordSource("iam_auth")

    def test_tokens_of_any_user(self) -> None:
        assert source({"url": "postgres://db/shop", "iam_auth": True, **TLS}) == PasswordSource("iam_auth")


class TestProviders:
    @pytest.fixture(autouse=True)
    def nowhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        away(monkeypatch)

    @staticmethod
    def router(found: Settings) -> Router:
        return Router(found, Providers(found).provider)

    def test_a_target_has_one_where_the_settings_say_so(self) -> None:
        target = self.router(settings({"password_file": "/run/pw"})).route("app", "shop").target
        assert "password_file /run/pw" in repr(target.provider)
        assert self.router(settings({})).route("app", "shop").target.provider is None

    def test_it_goes_before_what_clients_log_in_with(self) -> None:
        target = self.router(settings({"password_secret": ARN})).route("ann", "shop").target
        assert (target.user, target.provider is None) == ("app", False)

    def test_one_for_all_targets_of_a_source(self) -> None:
        """What is asked for at the same time is asked for once."""
        found = settings({"password_secret": ARN})
        router = self.router(found)
        assert router.route("app", "shop").target.provider is router.route("ann", "shop").target.provider, (
            "both are app there"
        )
        providers = Providers(found)
        secret = PasswordSource("password_secret", ARN)
        assert providers.provider(secret, "app", "one", 1) is not providers.provider(secret, "ann", "one", 1)

    def test_tokens_are_of_a_user_at_an_endpoint(self) -> None:
        providers = Providers(settings({"url": RDS, "iam_auth": True, **TLS}))
        iam = PasswordSource("iam_auth", region="eu-west-1")
        known = providers.provider(iam, "app", "db", 5432)
        assert providers.provider(iam, "app", "db", 5432) is known
        assert providers.provider(iam, "ann", "db", 5432) is not known
        assert providers.provider(iam, "app", "db", 5433) is not known
        assert providers.provider(iam, "app", "other", 5432) is not known

    def test_those_whom_nobody_needs_are_forgotten(self) -> None:
        """Who logs in as anybody does not fill the memory."""
        providers = Providers(settings({"url": RDS, "iam_auth": True, **TLS}))
        iam = PasswordSource("iam_auth", region="eu-west-1")
        kept = providers.provider(iam, "app", "db", 5432)
        for number in range(100):
            providers.provider(iam, f"user{number}", "db", 5432)
        gc.collect()
        assert list(providers._known.values()) == [kept]

    def test_regions_are_found_or_asked_for(self) -> None:
        Providers(settings({"password_secret": ARN}))
        Providers(settings({"url": RDS, "iam_auth": True, **TLS}))
        for table in ({"password_secret": "shop"}, {"iam_auth": True, **TLS}):
            Providers(settings({**table, "aws_region": "eu-west-1"}))
            with pytest.raises(InvalidSettings, match="aws_region is not set"):
                Providers(settings(table))

    def test_botocore_is_asked_for_at_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "botocore.session", None)
        Providers(settings({"password_file": "/run/pw"}))
        with pytest.raises(InvalidSettings, match=r"password_secret needs botocore: pip install"):
            Providers(settings({"password_secret": ARN}))

    def test_check_says_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        environment = {
            "DATABASE_URL": URL,
            "POOLPROXY_USERS__APP__PASSWORD": "of clients",
            "POOLPROXY_PASSWORD_SECRET": ARN,
        }
        result = CliRunner().invoke(cli, ["check"], env=environment)
        assert result.exit_code == 0, result.output
        monkeypatch.setitem(sys.modules, "botocore.session", None)
        result = CliRunner().invoke(cli, ["check"], env=environment)
        assert result.exit_code == 2
        assert "password_secret needs botocore: pip install 'poolproxy[aws]'" in result.output
