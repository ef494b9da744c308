"""We log in to a server: every method, every early end, and servers that are not what they seem."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolproxy.auth.server_login import (
    Channel,
    ScramKeyCache,
    ServerGreeting,
    ServerRefusedLogin,
    server_login,
)
from poolproxy.errors import UnexpectedServerAnswer
from poolproxy.protocol import codes, scram
from poolproxy.protocol import messages as m
from poolproxy.protocol.auth_methods import ALL, required_methods
from poolproxy.protocol.md5 import md5_hash, md5_response
from tests.unit.auth.driven import Driven, split

OK = m.authentication_ok()
WELCOME = (
    m.parameter_status("server_version", "18.1")
    + m.parameter_status("TimeZone", "UTC")
    + m.parameter_status("TimeZone", "Europe/Berlin")
    + m.backend_key_data(4711, b"k" * 32)
    + m.ready_for_query(codes.STATUS_IDLE)
)
GREETING = ServerGreeting(
    {b"server_version": b"18.1", b"TimeZone": b"Europe/Berlin"}, 4711, b"k" * 32, codes.STATUS_IDLE
)
SASL = m.authentication_sasl(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"])
SECRET = scram.secret_from_password("pencil", salt=b"s" * 16)


def start(
    password: str | None = "pencil",
    *,
    private: bool = False,
    channel: Channel | None = None,
    keys: ScramKeyCache | None = None,
    methods: frozenset[str] = ALL,
) -> Driven[ServerGreeting]:
    cache = ScramKeyCache() if keys is None else keys
    over = channel or Channel(private)
    return Driven(server_login("bob", password, {"database": "shop"}, over, cache, methods))


def answered(sent: bytes) -> bytes:
    """The body of the one password or SASL message sent."""
    ((kind, body),) = split(sent)
    assert kind == codes.PASSWORD
    return body


def up_to_proof(login: Driven[ServerGreeting], server: scram.ScramServer) -> bytes:
    """A server's part up to the client's last message, which is returned."""
    mechanism, client_first = m.sasl_initial_fields(answered(login.feed(SASL)))
    assert mechanism == b"SCRAM-SHA-256"
    assert client_first is not None
    return answered(login.feed(m.authentication_sasl_continue(server.first(client_first))))


def scram_login(login: Driven[ServerGreeting], secret: scram.ScramSecret = SECRET) -> None:
    server = scram.ScramServer(secret)
    server_final = server.final(up_to_proof(login, server))
    login.feed(m.authentication_sasl_final(server_final) + OK + WELCOME)


REQUESTS = {
    "none": OK,
    "password": m.authentication_cleartext(),
    "md5": m.authentication_md5(b"salt"),
    "scram-sha-256": SASL,
}


class TestRequireAuth:
    """A server cannot talk us down."""

    @pytest.mark.parametrize("required", REQUESTS)
    @pytest.mark.parametrize("asked", REQUESTS)
    def test_what_is_not_allowed_is_not_answered(self, required: str, asked: str) -> None:
        login = start(private=True, methods=required_methods(required))
        if asked == required:
            login.feed(REQUESTS[asked])
            return
        with pytest.raises(ServerRefusedLogin, match="not by require_auth") as refused:
            login.feed(REQUESTS[asked])
        assert refused.value.sqlstate == "28000"
        assert login.sent == b""

    def test_an_early_ok_is_no_proof(self) -> None:
        login = start(methods=required_methods("!none"))
        login.feed(SASL)
        with pytest.raises(UnexpectedServerAnswer):
            login.feed(OK + WELCOME)


class TestMethods:
    def test_it_asks_for_protocol_3_2_at_once(self) -> None:
        assert start().sent == m.startup_message({"user": "bob", "database": "shop"}, minor=2)

    @pytest.mark.parametrize("password", [None, "pencil"])
    def test_trust(self, password: str | None) -> None:
        login = start(password)
        assert login.feed(OK + WELCOME) == b""
        assert login.result == GREETING

    def test_scram(self) -> None:
        login = start()
        scram_login(login)
        assert login.result == GREETING
        assert login.offloaded == 1

    def test_md5(self) -> None:
        login = start()
        sent = login.feed(m.authentication_md5(b"salt"))
        assert sent == m.password_message(md5_response(md5_hash("bob", "pencil"), b"salt"))
        login.feed(OK + WELCOME)
        assert login.result == GREETING

    def test_cleartext_over_a_unix_socket(self) -> None:
        login = start(private=True)
        assert login.feed(m.authentication_cleartext()) == m.password_message("pencil")
        login.feed(OK + WELCOME)
        assert login.result == GREETING

    def test_cleartext_over_the_network_is_refused(self) -> None:
        with pytest.raises(ServerRefusedLogin, match="cleartext") as caught:
            start().feed(m.authentication_cleartext())
        assert caught.value.sqlstate == "28000"

    @pytest.mark.parametrize("asked", [SASL, m.authentication_md5(b"salt"), m.authentication_cleartext()])
    def test_without_a_password(self, asked: bytes) -> None:
        with pytest.raises(ServerRefusedLogin, match="none is configured") as caught:
            start(None, private=True).feed(asked)
        assert caught.value.sqlstate == "28P01"

    @pytest.mark.parametrize(
        ("code", "name"), [(2, "Kerberos"), (7, "GSSAPI"), (9, "SSPI"), (99, "method 99")]
    )
    def test_other_methods_are_refused_by_name(self, code: int, name: str) -> None:
        with pytest.raises(ServerRefusedLogin, match=name):
            start().feed(m.message(codes.AUTHENTICATION, code.to_bytes(4, "big")))

    def test_other_mechanisms_are_refused_by_name(self) -> None:
        with pytest.raises(ServerRefusedLogin, match="OAUTHBEARER"):
            start().feed(m.authentication_sasl(["OAUTHBEARER", "SCRAM-SHA-256-PLUS"]))


class TestGreeting:
    def test_a_server_that_takes_no_cancel_requests(self) -> None:
        login = start()
        login.feed(OK + m.ready_for_query(codes.STATUS_IDLE))
        assert login.result == ServerGreeting({}, 0, b"", codes.STATUS_IDLE)

    def test_an_older_server_negotiates(self) -> None:
        login = start()
        login.feed(m.negotiate_protocol_version(0, []) + OK + WELCOME)
        assert login.result == GREETING

    def test_a_server_cannot_negotiate_upwards(self) -> None:
        with pytest.raises(UnexpectedServerAnswer, match=r"3\.3 offered"):
            start().feed(m.negotiate_protocol_version(3, []))

    def test_notices_are_passed_over_anywhere(self) -> None:
        notice = m.notice_response_fields("WARNING", "01000", "hello")
        login = start()
        login.feed(notice + m.negotiate_protocol_version(0, []) + notice + OK + notice + WELCOME)
        assert login.result == GREETING

    def test_the_cancel_key_stays_out_of_the_repr(self) -> None:
        assert "kkkk" not in repr(GREETING)


class TestRefusals:
    REFUSAL = m.error_response_fields("FATAL", "53300", "sorry, too many clients already")

    @pytest.mark.parametrize(
        "before", [b"", m.negotiate_protocol_version(0, []), OK, OK + m.parameter_status("a", "b"), SASL]
    )
    def test_an_error_at_any_point(self, before: bytes) -> None:
        with pytest.raises(ServerRefusedLogin, match="53300: sorry, too many clients") as caught:
            start().feed(before + self.REFUSAL)
        assert caught.value.sqlstate == "53300"
        assert caught.value.message == "sorry, too many clients already"

    def test_a_garbled_error_is_still_one_and_fit_for_a_log(self) -> None:
        with pytest.raises(ServerRefusedLogin) as caught:
            start().feed(m.message(codes.ERROR_RESPONSE, b"Mevil\n\x1b[31m" + b"x" * 9999))
        assert caught.value.sqlstate == "XX000"
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 600

    def test_the_password_is_never_in_it(self) -> None:
        with pytest.raises(ServerRefusedLogin) as caught:
            start(private=False).feed(m.authentication_cleartext())
        assert "pencil" not in repr(caught.value)


class TestImpostors:
    def test_one_that_does_not_know_the_secret(self) -> None:
        login = start()
        server = scram.ScramServer(SECRET)
        up_to_proof(login, server)
        with pytest.raises(UnexpectedServerAnswer, match="does not know our password"):
            login.feed(m.authentication_sasl_final(b"v=" + b"A" * 43 + b"="))

    @pytest.mark.parametrize(
        "early", [OK, m.authentication_cleartext(), m.ready_for_query(codes.STATUS_IDLE)]
    )
    def test_one_that_skips_its_proof(self, early: bytes) -> None:
        login = start(private=True)
        up_to_proof(login, scram.ScramServer(SECRET))
        with pytest.raises(UnexpectedServerAnswer):
            login.feed(early)

    @pytest.mark.parametrize("again", [m.authentication_cleartext(), m.authentication_md5(b"salt"), SASL])
    def test_one_that_asks_again(self, again: bytes) -> None:
        login = start(private=True)
        login.feed(m.authentication_md5(b"salt"))
        with pytest.raises(UnexpectedServerAnswer):
            login.feed(again)

    def test_one_that_asks_for_too_much_work(self) -> None:
        login = start()
        _, client_first = m.sasl_initial_fields(answered(login.feed(SASL)))
        assert client_first is not None
        nonce = client_first.partition(b"r=")[2]
        with pytest.raises(UnexpectedServerAnswer, match="iterations"):
            login.feed(m.authentication_sasl_continue(b"r=%bx,s=AAAA,i=2000000000" % nonce))
        assert login.offloaded == 0

    @pytest.mark.parametrize(
        "said",
        [
            m.authentication_sasl_continue(b"r=x,s=AAAA,i=1"),
            m.authentication_sasl_final(b"v=x"),
            m.message(codes.AUTHENTICATION, b"\0\0\0\5abc"),
            m.message(codes.AUTHENTICATION, b""),
            m.message(codes.AUTHENTICATION, b"\0\0\0\x0a"),
            m.parameter_status("a", "b"),
            m.ready_for_query(codes.STATUS_IDLE),
            m.data_row([b"x"]),
            m.negotiate_protocol_version(0, []) * 2,
            OK + OK,
            OK + m.data_row([b"x"]),
            OK + m.message(codes.PARAMETER_STATUS, b"half"),
            OK + m.message(codes.READY_FOR_QUERY, b"?"),
            OK + m.message(codes.BACKEND_KEY_DATA, b"\0\0\0\1"),
        ],
    )
    def test_what_is_not_due(self, said: bytes) -> None:
        with pytest.raises((UnexpectedServerAnswer, ServerRefusedLogin)):
            start().feed(said)


class TestKeyCache:
    def test_stretching_is_needed_once(self) -> None:
        keys = ScramKeyCache()
        logins = [start(keys=keys) for _ in range(3)]
        for login in logins:
            scram_login(login)
        assert [login.offloaded for login in logins] == [1, 0, 0]
        assert all(login.result == GREETING for login in logins)

    def test_a_new_salt_or_password_is_stretched_again(self) -> None:
        keys = ScramKeyCache()
        scram_login(start(keys=keys))
        resalted, changed = start(keys=keys), start("other", keys=keys)
        scram_login(resalted, scram.secret_from_password("pencil", salt=b"t" * 16))
        scram_login(changed, scram.secret_from_password("other", salt=b"s" * 16))
        assert (resalted.offloaded, changed.offloaded, len(keys)) == (1, 1, 3)

    def test_only_what_a_server_accepted_is_kept(self) -> None:
        keys = ScramKeyCache()
        login = start("wrong", keys=keys)
        server = scram.ScramServer(SECRET)
        last = up_to_proof(login, server)
        with pytest.raises(scram.ProofRejected):
            server.final(last)
        with pytest.raises(ServerRefusedLogin):
            login.feed(m.error_response_fields("FATAL", "28P01", "no"))
        assert len(keys) == 0

    def test_it_is_bounded_and_forgets_the_least_recently_used(self) -> None:
        keys, some = ScramKeyCache(size=2), scram.ScramKeys(b"c" * 32, b"s" * 32)
        keys.put("a", b"salt", 1, some)
        keys.put("b", b"salt", 1, some)
        assert keys.get("a", b"salt", 1) is some
        keys.put("c", b"salt", 1, some)
        assert len(keys) == 2
        assert keys.get("b", b"salt", 1) is None
        assert keys.get("a", b"salt", 1) is some

    def test_neighbouring_triples_do_not_meet(self) -> None:
        keys, some = ScramKeyCache(), scram.ScramKeys(b"c" * 32, b"s" * 32)
        keys.put("bc", b"a", 1, some)
        assert keys.get("c", b"ab", 1) is None
        assert keys.get("bc", b"a", 11) is None


_said = st.lists(
    st.sampled_from(
        [
            OK,
            SASL,
            WELCOME,
            m.authentication_md5(b"salt"),
            m.authentication_cleartext(),
            m.authentication_sasl_continue(b"r=x,s=AAAA,i=1"),
            m.negotiate_protocol_version(1, ["x"]),
            m.notice_response_fields("NOTICE", "00000", "x"),
            m.error_response_fields("FATAL", "28P01", "x"),
        ]
    )
    | st.builds(m.message, st.sampled_from(list(b"RKSZENvAD1")), st.binary(max_size=40)),
    max_size=6,
).map(b"".join)


@given(_said)
@settings(deadline=None, max_examples=300)
def test_any_server_gets_an_answer_or_an_error_of_ours(said: bytes) -> None:
    login = start(private=True)
    with contextlib.suppress(UnexpectedServerAnswer, ServerRefusedLogin):
        for kind, body in split(said):
            if login.done:
                break
            login.feed(m.message(kind, body))
