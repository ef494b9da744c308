"""Routes: which pool and which server a client gets, and what is not for it."""

from __future__ import annotations

import pytest

from poolproxy import router as router_module
from poolproxy.errors import UnknownDatabase
from poolproxy.protocol.scram import secret_from_password
from poolproxy.router import Router, Target
from poolproxy.settings import Settings

APP = "postgres://app:pw@db:5433/orders"


def router(auth_method: str = "scram-sha-256", users: object = None, **urls: object) -> Router:
    """A router for databases given as url or as table."""
    databases = {name: {"url": url} if isinstance(url, str) else url for name, url in urls.items()}
    return Router(
        Settings.model_validate({"databases": databases, "users": users or {}, "auth_method": auth_method})
    )


def test_key_is_what_the_client_said_and_target_what_the_url_says() -> None:
    route = router(users={"bob": {"password": "x"}}, shop=APP).route("bob", "shop")
    assert (route.database, route.user) == ("shop", "bob")
    assert route.target == Target(
        host="db", port=5433, unix_path=None, dbname="orders", user="app", password="pw"
    )


def test_database_without_a_dbname_is_its_own_name() -> None:
    assert router(shop="postgres://app:pw@db").route("app", "shop").target.dbname == "shop"


def test_url_without_a_user_takes_the_clients_and_its_password() -> None:
    routes = router(users={"bob": {"password": "b0b"}}, shop="postgres://db")
    assert (routes.route("bob", "shop").target.user, routes.route("bob", "shop").target.password) == (
        "bob",
        "b0b",
    )


def test_a_stored_password_cannot_be_used_towards_servers() -> None:
    routes = router(users={"bob": {"password": secret_from_password("x").format()}}, shop="postgres://db")
    assert routes.route("bob", "shop").target.password is None


def test_url_with_a_user_without_a_password_finds_it_in_users() -> None:
    assert router(users={"app": {"password": "known"}}, shop="postgres://app@db").route(
        "app", "shop"
    ).target.password == ("known")


def test_unix_socket() -> None:
    target = router(shop="postgres://app:pw@/orders?host=/run/pg").route("app", "shop").target
    assert (target.host, target.unix_path) == ("/run/pg", "/run/pg/.s.PGSQL.5432")


def test_unknown_database() -> None:
    with pytest.raises(UnknownDatabase, match='"nothere"'):
        router(shop=APP).route("app", "nothere")


def test_any_database_takes_the_clients_names() -> None:
    routes = router("trust", shop=APP, **{"*": "postgres://any"})
    assert routes.route("eve", "whatever").target == Target("any", 5432, None, "whatever", "eve", None)
    assert routes.route("eve", "shop").target.host == "db"


def test_any_database_keeps_the_urls_user_and_the_clients_database() -> None:
    target = router(**{"*": "postgres://app:pw@any/postgres"}).route("app", "whatever").target
    assert (target.dbname, target.user, target.password) == ("whatever", "app", "pw")


class TestUsersOfUrls:
    """A user that exists only because a url names it must not become the user of another url."""

    URLS = {"a": "postgres://ann:1@db/a", "b": "postgres://bob:2@db/b", "c": "postgres://db/c"}  # noqa: RUF012

    def test_may_use_their_own_database_and_those_without_a_user(self) -> None:
        routes = router(**self.URLS)
        assert routes.route("ann", "a").target.user == "ann"
        assert routes.route("ann", "c").target.user == "ann"

    def test_may_not_use_another_users(self) -> None:
        with pytest.raises(UnknownDatabase):
            router(**self.URLS).route("ann", "b")

    def test_may_when_they_are_listed(self) -> None:
        assert router(users={"ann": {"password": "1"}}, **self.URLS).route("ann", "b").target.user == "bob"

    def test_may_under_trust_where_a_name_proves_nothing(self) -> None:
        assert router("trust", **self.URLS).route("ann", "b").target.user == "bob"


class TestLimits:
    def test_from_the_database(self) -> None:
        table = {
            "url": APP,
            "pool_size": 7,
            "min_pool_size": 3,
            "pool_mode": "session",
            "connection_borrow_timeout": 1.5,
            "idle_transaction_timeout": 2.5,
            "max_connections": 40,
            "max_connections_percent": 80,
            "max_idle_connections_percent": 10,
            "max_parallel_connects": 2,
            "init_query": "SET search_path = x",
            "server_connect_timeout": 3,
            "server_lifetime": 4,
            "server_idle_timeout": 5,
            "server_rescue_timeout": 6,
            "max_prepared_statements": 60,
            "max_client_prepared_statements": 70,
        }
        route = router(shop=table).route("app", "shop")
        for name, value in table.items():
            if name != "url":
                assert getattr(route, name) == value, name

    def test_of_the_user_before_the_databases(self) -> None:
        table = {"url": APP, "pool_size": 7, "min_pool_size": 5}
        own = {"app": {"password": "x", "pool_size": 2, "pool_mode": "session"}, "bob": {"password": "y"}}
        routes = router(users=own, shop=table)
        route = routes.route("app", "shop")
        assert (route.pool_size, route.min_pool_size, route.pool_mode) == (2, 2, "session")
        route = routes.route("bob", "shop")
        assert (route.pool_size, route.min_pool_size, route.pool_mode) == (7, 5, "transaction")


def test_equal_questions_get_the_same_object() -> None:
    routes = router(shop=APP)
    assert routes.route("app", "shop") is routes.route("app", "shop")


def test_routes_are_forgotten_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "MAX_CACHED_ROUTES", 2)
    routes = router("trust", **{"*": "postgres://any"})
    first = routes.route("u", "0")
    for number in range(3):
        routes.route("u", str(number))
    again = routes.route("u", "0")
    assert again == first
    assert again is not first


def test_fixed_routes_are_those_known_before_any_client() -> None:
    routes = router(
        users={"u": {"password": "x"}}, a=APP, b="postgres://db", **{"*": "postgres://app:pw@any"}
    )
    assert [(route.database, route.user) for route in routes.fixed_routes()] == [("a", "app")]


def test_no_password_in_repr() -> None:
    route = router(shop="postgres://app:hunter2@db").route("app", "shop")
    assert route.target.password == "hunter2"
    assert "hunter2" not in repr(route)


def test_where_auth_query_is_asked_and_as_whom() -> None:
    def routes(**values: object) -> Router:
        databases = {"shop": {"url": APP}, "lookup": {"url": "postgres://looker:pw@db/orders"}}
        return Router(Settings.model_validate({"databases": databases, **values}))

    assert routes().lookup_route() is None
    asking = routes(auth_query="select $1", auth_query_database="lookup")
    route = asking.lookup_route()
    assert route is not None
    assert (route.database, route.target.user, route.target.password) == ("lookup", "looker", "pw")
    assert asking.route("found", "shop").target.user == "app"
    with pytest.raises(UnknownDatabase):
        asking.route("found", "lookup")
