"""Secrets as settings give them, and mocks that look like them."""

from __future__ import annotations

import pytest

from poolproxy.auth.credentials import LONGEST_SALT, Credentials, process_key, user_secret
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


def of_a_kind(iterations: int, salt_length: int = 16) -> str:
    return secret_from_password("pencil", iterations, b"s" * salt_length).format()


def kind(credentials: Credentials, user: str) -> tuple[int, int, bool]:
    """What of a secret can be seen by who does not know it."""
    secret = credentials.lookup(user)
    return secret.scram.iterations, len(secret.scram.salt), secret.scram_only


STRANGERS = [f"stranger {number}" for number in range(400)]


class TestKindsOfMocks:
    """Whoever does not exist is of the kind of somebody who does."""

    @pytest.mark.parametrize(
        "stored",
        ["pencil", of_a_kind(4096), of_a_kind(10_000), of_a_kind(4096, 24), md5_hash("bob", "pencil")],
        ids=["password", "scram", "iterations", "salt", "md5"],
    )
    def test_where_all_are_of_one(self, stored: str) -> None:
        credentials = Credentials.from_passwords({"bob": stored, "pete": stored}, KEY)
        assert {kind(credentials, user) for user in ("bob", "pete", *STRANGERS)} == {kind(credentials, "bob")}

    def test_where_there_are_several(self) -> None:
        """As many of each as there are of that kind, and each always of its own."""
        users = {"a": of_a_kind(4096), "b": of_a_kind(10_000), "c": of_a_kind(10_000, 20), "d": "pencil"}
        credentials = Credentials.from_passwords(users, KEY)
        again = Credentials.from_passwords(users, KEY)
        kinds = [kind(credentials, user) for user in STRANGERS]
        for user in users:
            assert 60 <= kinds.count(kind(credentials, user)) <= 140, "400 of 4 kinds"
        assert kinds == [kind(again, user) for user in STRANGERS]

    def test_one_who_comes_changes_few(self) -> None:
        users = {f"user {number}": of_a_kind(4096 if number % 2 else 10_000) for number in range(20)}
        before = Credentials.from_passwords(users, KEY)
        after = Credentials.from_passwords({**users, "new": of_a_kind(4096)}, KEY)
        assert sum(kind(before, user) != kind(after, user) for user in STRANGERS) < 40

    def test_a_salt_of_any_length(self) -> None:
        credentials = Credentials.from_passwords({"bob": of_a_kind(4096, 100)}, KEY)
        assert kind(credentials, "nobody") == (4096, LONGEST_SALT, True)

    def test_none_can_be_matched(self) -> None:
        credentials = Credentials.from_passwords({"bob": of_a_kind(10_000)}, KEY)
        first, second = (Credentials.from_passwords({"bob": of_a_kind(10_000)}, KEY) for _ in range(2))
        assert not credentials.lookup("nobody").known
        assert first.lookup("nobody").scram.stored_key != second.lookup("nobody").scram.stored_key


class TestTheKeyOfSalts:
    def test_it_is_the_same_wherever_the_same_is_configured(self) -> None:
        salts = [
            Credentials({}, process_key(text)).lookup("nobody").scram.salt
            for text in ("a key of ours 16", "a key of ours 16", "another of 16 or", "", "")
        ]
        assert salts[0] == salts[1]
        assert len(set(salts)) == 4
