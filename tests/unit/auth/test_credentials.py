"""Secrets as settings give them, and mocks that look like them."""

from __future__ import annotations

import pytest

from poolproxy.auth.credentials import Credentials, user_secret
from poolproxy.protocol.md5 import md5_hash
from poolproxy.protocol.scram import ScramSecret, secret_from_password

KEY = b"k" * 32


def stored(password: str) -> str:
    return secret_from_password(password, salt=b"s" * 16).format()


class TestUserSecret:
    def test_a_password_serves_both_methods(self) -> None:
        secret = user_secret("bob", "pencil", KEY)
        assert secret.scram == secret_from_password("pencil", salt=secret.scram.salt)
        assert secret.md5 == md5_hash("bob", "pencil")

    def test_a_scram_secret_serves_scram_only(self) -> None:
        first, second = (user_secret("bob", stored("pencil"), KEY) for _ in range(2))
        assert first.scram == ScramSecret.parse(stored("pencil"))
        assert first.md5 != second.md5, "a mock, random each time"

    def test_an_md5_hash_serves_md5_only(self) -> None:
        first, second = (
            user_secret("bob", md5_hash("bob", "pencil").replace("a", "A"), KEY) for _ in range(2)
        )
        assert first.md5 == md5_hash("bob", "pencil")
        assert first.scram.stored_key != second.scram.stored_key, "a mock, random each time"
        assert first.scram.salt == second.scram.salt

    def test_an_empty_password_matches_nothing(self) -> None:
        secret = user_secret("bob", "", KEY)
        empty = secret_from_password("", salt=secret.scram.salt)
        assert secret.scram.stored_key != empty.stored_key
        assert secret.md5 != md5_hash("bob", "")

    def test_a_malformed_secret_is_not_taken_for_a_password_nor_repeated(self) -> None:
        with pytest.raises(ValueError, match=r"^not a SCRAM-SHA-256 secret$"):
            user_secret("bob", "SCRAM-SHA-256$4096:hunter2", KEY)

    def test_nothing_secret_in_a_repr(self) -> None:
        secret = user_secret("bob", "pencil", KEY)
        assert secret.md5 not in repr(secret)
        assert secret.md5 not in repr(Credentials({"bob": secret}, KEY))


class TestLookup:
    def test_known_users(self) -> None:
        secret = user_secret("bob", "pencil", KEY)
        credentials = Credentials({"bob": secret}, KEY)
        assert credentials.lookup("bob") is secret
        assert secret.known
        assert "bob" in credentials
        assert len(credentials) == 1

    def test_from_passwords(self) -> None:
        credentials = Credentials.from_passwords({"bob": "pencil", "eve": stored("x")}, KEY)
        assert credentials.lookup("bob") == user_secret("bob", "pencil", KEY)
        assert credentials.lookup("eve").scram == ScramSecret.parse(stored("x"))

    def test_an_unknown_user_gets_a_mock_that_looks_real(self) -> None:
        credentials = Credentials.from_passwords({"bob": "pencil"}, KEY)
        real, mock = credentials.lookup("bob"), credentials.lookup("eve")
        assert not mock.known
        assert "eve" not in credentials
        assert mock.scram.iterations == real.scram.iterations == 4096
        assert len(mock.scram.salt) == len(real.scram.salt) == 16
        assert len(mock.md5) == len(real.md5)
        assert ScramSecret.parse(mock.scram.format()) == mock.scram

    def test_salts_stay_for_known_and_unknown_alike_across_logins_and_reloads(self) -> None:
        before = Credentials.from_passwords({"bob": "pencil"}, KEY)
        reloaded = Credentials.from_passwords({"bob": "changed"}, KEY)
        for user in ("bob", "eve", b"\xff".decode("utf-8", "surrogateescape")):
            salts = {c.lookup(user).scram.salt for c in (before, before, reloaded)}
            assert len(salts) == 1

    def test_a_name_keeps_its_salt_when_it_becomes_known(self) -> None:
        without, having = (Credentials.from_passwords(users, KEY) for users in ({}, {"eve": "x"}))
        assert without.lookup("eve").scram.salt == having.lookup("eve").scram.salt

    def test_salts_differ_by_user_and_by_process(self) -> None:
        here, elsewhere = Credentials({}, KEY), Credentials({}, b"e" * 32)
        salts = {c.lookup(user).scram.salt for c in (here, elsewhere) for user in ("bob", "eve")}
        assert len(salts) == 4

    def test_a_mocks_keys_follow_from_nothing_a_client_sees(self) -> None:
        here, again = Credentials({}, KEY), Credentials({}, KEY)
        assert here.lookup("eve").scram.stored_key != again.lookup("eve").scram.stored_key
        assert here.lookup("eve").md5 != again.lookup("eve").md5

    def test_a_weak_process_key_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 16"):
            Credentials({}, b"short")
