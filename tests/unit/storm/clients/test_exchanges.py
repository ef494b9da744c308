from __future__ import annotations

import base64
import hashlib
import hmac
import re

import pytest

from benchmarks.storm.clients.address import Address
from benchmarks.storm.clients.errors import ConnectFailed, ProtocolError
from benchmarks.storm.clients.exchanges import Answer, Exchange, Login
from tests.dialogues import words
from tests.support import messages as m
from tests.unit.storm.clients import backend

ADDRESS = Address("db", 5432, "bob", "pencil", "shop", (("application_name", "storm"),))
END_OF_LOGIN = backend.OK + words.parameter("server_version", "18.0") + backend.KEY + backend.READY


def feed(exchange: Exchange, data: bytes) -> bytes:
    """What it says to these messages."""
    return b"".join(exchange.take(kind, body) for kind, body in backend.split(data))


# Logging in.


def test_the_startup_message_has_the_parameters_of_the_url() -> None:
    expected = {"user": "bob", "database": "shop", "client_encoding": "UTF8", "application_name": "storm"}
    assert Login(ADDRESS).first() == m.startup(expected)


def test_trust() -> None:
    login = Login(ADDRESS)
    assert feed(login, END_OF_LOGIN) == b""
    assert login.done
    assert login.error is None


def test_cleartext() -> None:
    login = Login(ADDRESS)
    assert feed(login, backend.authentication(3)) == m.message("p", b"pencil\0")
    assert not login.done
    feed(login, END_OF_LOGIN)
    assert login.done


def test_md5() -> None:
    """PostgreSQL manual, message flow: concat('md5', md5(concat(md5(concat(password, user)), salt)))."""
    inner = hashlib.md5(b"pencilbob").hexdigest().encode()
    outer = hashlib.md5(inner + b"salt").hexdigest().encode()
    login = Login(ADDRESS)
    assert feed(login, backend.authentication(5, b"salt")) == m.message("p", b"md5" + outer + b"\0")
    feed(login, END_OF_LOGIN)
    assert login.done


class ScramServer:
    """The other end of SCRAM-SHA-256, by the formulas of RFC 5802, section 3."""

    offer = backend.authentication(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")

    def __init__(self, login: Login, password: bytes = b"pencil") -> None:
        self._salted = hashlib.pbkdf2_hmac("sha256", password, b"salty", 4096)
        ((kind, body),) = backend.split(feed(login, self.offer))
        mechanism, _, rest = body.partition(b"\0")
        assert (kind, mechanism) == (ord("p"), b"SCRAM-SHA-256")
        assert int.from_bytes(rest[:4], "big") == len(rest) - 4
        header, bare = rest[4:7], rest[7:]
        assert (header, bare[:5]) == (b"n,,", b"n=,r=")  # the user is in the StartupMessage
        first = bare[3:] + b"more,s=" + base64.b64encode(b"salty") + b",i=4096"
        ((_, self._final),) = backend.split(feed(login, backend.authentication(11, first)))
        without_proof, _, self._proof = self._final.rpartition(b",p=")
        assert without_proof == b"c=biws," + bare[3:] + b"more"
        self._signed = b",".join((bare, first, without_proof))

    def knows_the_client(self) -> bool:
        """Whether the client has proved that it knows the password."""
        client_key = hmac.digest(self._salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), self._signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return base64.b64decode(self._proof) == proof

    def final(self) -> bytes:
        """The server's own proof."""
        server_key = hmac.digest(self._salted, b"Server Key", "sha256")
        signature = hmac.digest(server_key, self._signed, "sha256")
        return backend.authentication(12, b"v=" + base64.b64encode(signature))


def test_scram() -> None:
    login = Login(ADDRESS)
    server = ScramServer(login)
    assert server.knows_the_client()
    assert feed(login, server.final()) == b""
    feed(login, END_OF_LOGIN)
    assert login.done


def test_scram_with_another_password() -> None:
    """Neither believes the other."""
    login = Login(ADDRESS)
    server = ScramServer(login, b"crayon")
    assert not server.knows_the_client()
    with pytest.raises(ProtocolError, match="does not know the secret"):
        feed(login, server.final())


def test_scram_refuses_a_server_that_proves_nothing() -> None:
    login = Login(ADDRESS)
    ScramServer(login)
    with pytest.raises(ProtocolError, match="without a proof"):
        feed(login, backend.OK)


@pytest.mark.parametrize("nonsense", [b"", b"r=x", b"r=x,s=AAAA,i=many", b"r=x,s=A,i=4096"])
def test_scram_with_nonsense_in_it(nonsense: bytes) -> None:
    login = Login(ADDRESS)
    feed(login, backend.authentication(10, b"SCRAM-SHA-256\0\0"))
    with pytest.raises(ProtocolError, match="SCRAM failed"):
        feed(login, backend.authentication(11, nonsense))


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (backend.authentication(7), "authentication 7"),
        (backend.authentication(11, b"r=x"), "authentication 11"),
        (backend.authentication(10, b"SCRAM-SHA-1\0\0"), "no SCRAM-SHA-256"),
        (backend.READY, "'Z' during login"),
        (words.tag("SELECT 1"), "'C' during login"),
        (backend.OK + backend.OK, "'R' during login"),
    ],
)
def test_what_no_server_says_during_login(said: bytes, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=re.escape(complaint)):
        feed(Login(ADDRESS), said)


@pytest.mark.parametrize(
    "asked",
    [
        backend.authentication(3),
        backend.authentication(5, b"salt"),
        backend.authentication(10, b"SCRAM-SHA-256\0\0"),
    ],
)
def test_a_password_is_asked_for_and_there_is_none(asked: bytes) -> None:
    with pytest.raises(ConnectFailed, match="asks for a password"):
        feed(Login(Address("db", 5432, "bob", "", "shop")), asked)


def test_a_server_that_refuses() -> None:
    login = Login(ADDRESS)
    feed(login, words.fatal("53300", "sorry, too many clients already"))
    assert login.done
    assert repr(login.error) == "<ServerError FATAL 53300 'sorry, too many clients already'>"


# Asking.


def test_rows_and_tag() -> None:
    answer = Answer(keep=True)
    described = backend.described(id=backend.INT4, name=backend.TEXT)
    feed(answer, words.PARSED + words.BOUND + described + backend.row(b"1", b"one"))
    assert (answer.done, answer.rows) == (False, [(1, "one")])
    feed(answer, backend.row(b"2", None) + words.tag("SELECT 2") + backend.READY)
    assert answer.done
    assert answer.rows == [(1, "one"), (2, None)]
    assert answer.tag == "SELECT 2"


def test_rows_that_nobody_wants_are_dropped() -> None:
    answer = Answer(keep=False)
    feed(answer, backend.described(id=backend.INT4) + backend.row(b"1") + words.done("SELECT 1"))
    assert (answer.rows, answer.tag, answer.done) == ([], "SELECT 1", True)


def test_an_error_lasts_until_the_server_is_ready() -> None:
    answer = Answer(keep=True)
    feed(answer, words.error("22012", "division by zero"))
    assert (answer.done, answer.tag) == (False, "")
    feed(answer, words.ready("E"))
    assert answer.done
    assert answer.error is not None
    assert answer.error.sqlstate == "22012"


def test_nothing_comes_after_a_fatal_error() -> None:
    answer = Answer(keep=True)
    feed(answer, words.fatal("57P01"))
    assert answer.done


def test_asides_and_steps_are_heard_and_forgotten() -> None:
    answer = Answer(keep=True)
    asides = words.notice("hello") + words.notification("c", "p") + words.parameter("TimeZone", "UTC")
    feed(answer, asides + words.NO_DATA + words.EMPTY + backend.READY)
    assert (answer.rows, answer.tag, answer.error) == ([], "", None)


@pytest.mark.parametrize("said", [words.COPY_IN, words.COPY_OUT, words.COPY_BOTH, backend.OK, m.message("?")])
def test_what_no_server_says_to_a_plain_statement(said: bytes) -> None:
    with pytest.raises(ProtocolError, match="in answer to a statement"):
        feed(Answer(keep=True), said)
