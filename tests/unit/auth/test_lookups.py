"""What auth_query's answers mean, and how long they are believed: with a clock of the test's own."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from poolproxy.auth.credentials import Credentials, UserSecret, user_secret
from poolproxy.auth.lookups import DOUBT, Answer, Lookups, Mocks, OddAnswer, password_of, time_of
from poolproxy.protocol.scram import DEFAULT_ITERATIONS

KEY = b"k" * 32
SECRET = user_secret("bob", "pencil", KEY)


def found(valid_until: float = math.inf) -> Answer:
    return Answer(SECRET, found=True, valid_until=valid_until)


def unknown(user: str = "nobody") -> Answer:
    return Mocks(KEY).answer(user)


class TestAnswers:
    def test_an_expired_one_keeps_its_salt_and_cannot_be_matched(self) -> None:
        answer = found(valid_until=1000.0)
        assert answer.outcome(1000.0) == "found", "as PostgreSQL has it: valid until, not up to"
        assert answer.secret_at(1000.0) is SECRET
        assert answer.outcome(1000.5) == "expired"
        expired = answer.secret_at(1000.5)
        assert expired == UserSecret(SECRET.scram, SECRET.md5, known=False)

    def test_a_mock_is_that_of_the_other_credentials(self) -> None:
        """A name's salt does not tell whether it was looked up."""
        secret, mock = unknown().secret, Credentials({}, KEY).lookup("nobody")
        assert (secret.scram.salt, secret.scram.iterations) == (mock.scram.salt, DEFAULT_ITERATIONS)
        assert (len(secret.scram.salt), secret.known, secret.scram_only) == (16, False, True)

    def test_a_mock_is_like_those_that_postgresql_makes_up(self) -> None:
        mocks = Mocks(KEY)
        salt = mocks.answer("nobody").secret.scram.salt
        mocks.learn("md5", 10_000)
        secret = mocks.answer("nobody").secret
        assert (secret.scram_only, secret.scram.iterations, secret.scram.salt) == (False, 10_000, salt)

    def test_nothing_shows_in_a_repr(self) -> None:
        assert "pencil" not in repr(found())
        assert SECRET.md5 not in repr(found())


class TestRows:
    @pytest.mark.parametrize(
        ("rows", "password"),
        [
            ([], None),
            ([(None, None)], None),
            ([(None, "x", None)], None),
            ([("bob", None)], None),
            ([("bob", "")], None),
            ([("bob", "pencil")], "pencil"),
            ([("bob", "pencil", None)], "pencil"),
        ],
    )
    def test_a_password_or_none(self, rows: list[tuple[object, ...]], password: str | None) -> None:
        assert password_of("bob", rows) == password

    @pytest.mark.parametrize(
        "rows",
        [
            [("bob", "pencil"), ("bob", "pencil")],
            [("bob", "pencil"), ("eve", "pencil")],
            [("Bob", "pencil")],
            [(5, "pencil")],
            [("bob", b"pencil")],
        ],
    )
    def test_what_is_odd_says_nothing_of_the_row(self, rows: list[tuple[object, ...]]) -> None:
        with pytest.raises(OddAnswer) as caught:
            password_of("bob", rows)
        assert "pencil" not in str(caught.value)

    def test_times(self) -> None:
        assert time_of(None) == math.inf
        assert time_of(datetime.fromtimestamp(1234.5, UTC)) == 1234.5
        assert time_of(datetime.max.replace(tzinfo=UTC)) > 2e11, "infinity"
        assert time_of(datetime.min.replace(tzinfo=UTC)) < 0, "-infinity"
        for odd in (datetime(2020, 1, 1), "2020-01-01", 5):
            with pytest.raises(OddAnswer):
                time_of(odd)


@pytest.mark.parametrize("answer", [found(), unknown()], ids=["found", "unknown"])
class TestBelieving:
    """Whether a name is found or not makes no difference."""

    def test_for_the_ttl_from_the_question_on(self, answer: Answer) -> None:
        lookups = Lookups(60.0)
        lookups.put("name", answer, 100.0)
        assert lookups.get("name", 159.9) is answer
        assert lookups.get("name", 160.0) is None
        assert len(lookups) == 0

    def test_a_failed_login_makes_it_doubtful(self, answer: Answer) -> None:
        lookups = Lookups(60.0)
        lookups.put("name", answer, 100.0)
        lookups.doubt("name")
        assert lookups.get("name", 100.0 + DOUBT - 0.1) is answer
        assert lookups.get("name", 100.0 + DOUBT) is None

    def test_one_that_fails_later_ends_it_at_once(self, answer: Answer) -> None:
        lookups = Lookups(60.0)
        lookups.put("name", answer, 100.0)
        assert lookups.get("name", 130.0) is answer
        lookups.doubt("name")
        assert lookups.get("name", 130.0) is None

    def test_a_doubt_prolongs_nothing(self, answer: Answer) -> None:
        lookups = Lookups(1.0)
        lookups.put("name", answer, 100.0)
        lookups.doubt("name")
        lookups.doubt("other")
        assert lookups.get("name", 101.0) is None

    def test_without_a_ttl_nothing_is_kept(self, answer: Answer) -> None:
        lookups = Lookups(0.0)
        lookups.put("name", answer, 100.0)
        assert lookups.get("name", 100.0) is None

    def test_a_newer_answer_counts(self, answer: Answer) -> None:
        """A name that has become another kind is not known twice."""
        lookups = Lookups(60.0)
        lookups.put("name", answer, 100.0)
        other = unknown() if answer.found else found()
        lookups.put("name", other, 110.0)
        assert lookups.get("name", 165.0) is other
        assert len(lookups) == 1

    def test_what_nobody_asks_for_is_forgotten_too(self, answer: Answer) -> None:
        lookups = Lookups(60.0)
        for number in range(10):
            lookups.put(str(number), answer, 100.0 + number)
        lookups.purge(164.0)
        assert len(lookups) == 5


def test_strangers_are_bounded_and_push_out_nobody_who_is_known() -> None:
    lookups = Lookups(60.0, most_found=2, most_unknown=3)
    for user in ("one", "two", "three"):
        lookups.put(user, found(), 100.0)
    for number in range(1000):
        lookups.put(f"stranger {number}", unknown(), 101.0)
    assert len(lookups) == 5
    assert lookups.get("one", 102.0) is None
    assert lookups.get("two", 102.0) is not None
    assert lookups.get("stranger 999", 102.0) is not None
    assert lookups.get("stranger 996", 102.0) is None
