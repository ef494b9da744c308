from __future__ import annotations

import pytest

from benchmarks.storm.clients.address import Address, parse


def test_a_whole_url() -> None:
    url = "postgres://app%40x:se%2Fcret@db.example:6432/orders?application_name=storm&search_path=a%2Cb"
    assert parse(url) == Address(
        "db.example",
        6432,
        "app@x",
        "se/cret",
        "orders",
        (("application_name", "storm"), ("search_path", "a,b")),
    )


def test_what_is_left_away() -> None:
    assert parse("postgresql://app@") == Address("localhost", 5432, "app", "", "app")


def test_ipv6() -> None:
    address = parse("postgres://app@[::1]:5433/app")
    assert (address.host, address.port, str(address)) == ("::1", 5433, "::1:5433")


def test_a_unix_socket() -> None:
    address = parse("postgres://app@/app?host=/run/postgresql&port=5433")
    assert address.socket_path == str(address) == "/run/postgresql/.s.PGSQL.5433"
    assert address.parameters == ()


def test_the_query_may_say_everything() -> None:
    url = "postgres:///?host=10.0.0.7&port=1&user=u&password=p&dbname=d&sslmode=disable"
    assert parse(url) == Address("10.0.0.7", 1, "u", "p", "d")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://app@db/app", "begins with postgres"),
        ("postgres://db/app", "no user"),
        ("postgres://app:hidden@db/app?sslmode=require", "no TLS: sslmode=require"),
        ("postgres://app:hidden@db/app?sslmode=verify-full", "no TLS"),
    ],
)
def test_what_it_cannot_do_is_said_without_the_password(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse(url)
    assert "hidden" not in str(caught.value)
