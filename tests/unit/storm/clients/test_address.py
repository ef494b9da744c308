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
    ("query", "tls"),
    [
        ("", ("", "")),
        ("?sslmode=prefer&sslrootcert=ca.pem", ("", "")),
        ("?sslmode=require", ("require", "")),
        ("?sslmode=require&sslrootcert=ca.pem", ("require", "ca.pem")),
        ("?sslmode=verify-ca&sslrootcert=ca.pem", ("verify-ca", "ca.pem")),
        ("?sslrootcert=system&sslmode=verify-full", ("verify-full", "system")),
    ],
)
def test_how_tls_is_meant(query: str, tls: tuple[str, str]) -> None:
    address = parse(f"postgres://app@db/app{query}")
    assert (address.sslmode, address.sslrootcert) == tls
    assert address.parameters == ()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://app@db/app", "begins with postgres"),
        ("postgres://db/app", "no user"),
        (
            "postgres://app:hidden@db/app?sslmode=yes",
            "sslmode=yes is not one of disable, allow, prefer, require",
        ),
        ("postgres://app:hidden@db/app?sslmode=verify-full", "sslmode=verify-full needs sslrootcert"),
        (
            "postgres://app:hidden@db/app?sslmode=verify-ca&sslrootcert=",
            "sslmode=verify-ca needs sslrootcert",
        ),
        ("postgres://app:hidden@db/app?sslmode=require&sslcert=my.pem", "does not know sslcert"),
        ("postgres://app:hidden@db/app?sslnegotiation=direct", "does not know sslnegotiation"),
    ],
)
def test_what_it_cannot_do_is_said_without_the_password(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse(url)
    assert "hidden" not in str(caught.value)
