"""SCRAM-SHA-256: the RFC's exchange, an independent implementation as oracle, and hostile peers."""

from __future__ import annotations

import base64
import contextlib
import hmac
import re
from collections.abc import Callable

import pytest
import scramp  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from poolproxy.errors import ProtocolViolation, UnexpectedServerAnswer
from poolproxy.protocol import scram
from poolproxy.protocol.scram import ProofRejected, ScramClient, ScramSecret, ScramServer

# RFC 7677, section 3.
CLIENT_NONCE = b"rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
CLIENT_FIRST = b"n,,n=user,r=" + CLIENT_NONCE
SERVER_FIRST = b"r=" + CLIENT_NONCE + SERVER_NONCE + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
WITHOUT_PROOF = b"c=biws,r=" + CLIENT_NONCE + SERVER_NONCE
CLIENT_FINAL = WITHOUT_PROOF + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

SECRET = scram.secret_from_password("pencil", salt=SALT)
KEYS = scram.derive_keys("pencil", SALT, 4096)


class Ahead(ScramServer):
    """Signs as soon as it has asked."""

    def first(self, client_first: bytes) -> bytes:
        asked = super().first(client_first)
        self.ahead()
        return asked


both_kinds = pytest.mark.parametrize("kind", [ScramServer, Ahead])


def server(kind: type[ScramServer] = ScramServer) -> ScramServer:
    return kind(SECRET, SERVER_NONCE)


def client() -> ScramClient:
    return ScramClient(CLIENT_NONCE, user=b"user")


class TestRfc7677:
    @both_kinds
    def test_as_server(self, kind: type[ScramServer]) -> None:
        exchange = server(kind)
        assert exchange.first(CLIENT_FIRST) == SERVER_FIRST
        assert exchange.final(CLIENT_FINAL) == SERVER_FINAL

    def test_as_client(self) -> None:
        exchange = client()
        assert exchange.first() == CLIENT_FIRST
        assert exchange.challenge(SERVER_FIRST) == (SALT, 4096)
        assert exchange.final(KEYS) == CLIENT_FINAL
        exchange.verify(SERVER_FINAL)


class TestOracle:
    """scramp, a separate implementation, on the other end."""

    @given(
        st.text("pass wörd#é", min_size=1, max_size=20),
        st.integers(4096, 4200),
        st.binary(min_size=16, max_size=40),
    )
    @settings(deadline=None, max_examples=25)
    def test_its_client_logs_in_to_our_server(self, password: str, iterations: int, salt: bytes) -> None:
        exchange = ScramServer(scram.secret_from_password(password, iterations, salt))
        theirs = scramp.ScramClient(["SCRAM-SHA-256"], "bob", password)
        theirs.set_server_first(exchange.first(theirs.get_client_first().encode()).decode())
        theirs.set_server_final(exchange.final(theirs.get_client_final().encode()).decode())

    @given(st.text("pass wörd#é", min_size=1, max_size=20), st.binary(min_size=16, max_size=40))
    @settings(deadline=None, max_examples=25)
    def test_our_client_logs_in_to_its_server(self, password: str, salt: bytes) -> None:
        mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
        stored = mechanism.make_auth_info(password, iteration_count=4096, salt=salt)
        theirs = mechanism.make_server(lambda user: stored)
        exchange = ScramClient(scram.new_nonce(), user=b"bob")
        theirs.set_client_first(exchange.first().decode())
        keys = scram.derive_keys(password, *exchange.challenge(theirs.get_server_first().encode()))
        theirs.set_client_final(exchange.final(keys).decode())
        exchange.verify(theirs.get_server_final().encode())

    def test_its_client_with_another_password_is_rejected(self) -> None:
        exchange = ScramServer(SECRET)
        theirs = scramp.ScramClient(["SCRAM-SHA-256"], "bob", "pencil?")
        theirs.set_server_first(exchange.first(theirs.get_client_first().encode()).decode())
        with pytest.raises(ProofRejected):
            exchange.final(theirs.get_client_final().encode())


class TestMac:
    @given(st.binary(max_size=64), st.lists(st.binary(max_size=200), max_size=3))
    def test_is_hmac(self, key: bytes, said: list[bytes]) -> None:
        mac = scram.Mac(key)
        assert [mac.digest(m) for m in said] == [hmac.digest(key, m, "sha256") for m in said]

    def test_a_longer_key_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at most 64"):
            scram.Mac(bytes(65))


class TestSecret:
    def test_the_stored_form_is_postgresqls(self) -> None:
        text = SECRET.format()
        assert re.fullmatch(r"SCRAM-SHA-256\$4096:W22ZaJ0SNY7soEsUEjb6gQ==\$[\w+/]{43}=:[\w+/]{43}=", text)
        assert ScramSecret.parse(text) == SECRET

    def test_salts_are_random_and_of_postgresqls_length(self) -> None:
        first, second = (scram.secret_from_password("x", iterations=1) for _ in range(2))
        assert first.salt != second.salt
        assert len(first.salt) == 16

    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: "",
            lambda text: text[:-1],
            lambda text: text + "=",
            lambda text: text + "$",
            lambda text: text.replace("4096", "0"),
            lambda text: text.replace("4096", "-1"),
            lambda text: text.replace("4096", "4_096"),
            lambda text: text.replace("4096", "9999999999"),
            lambda text: text.replace("4096", "4" * 5000),
            lambda text: text.replace("256$", "512$"),
            lambda text: text.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
            lambda text: text.replace("W22Z", "é22Z"),
            lambda text: text.replace(":", ";"),
        ],
    )
    def test_a_malformed_one_is_refused_and_not_repeated(self, damage: Callable[[str], str]) -> None:
        with pytest.raises(ValueError, match=r"^not a SCRAM-SHA-256 secret$") as caught:
            ScramSecret.parse(damage(SECRET.format()))
        assert caught.value.__suppress_context__ or caught.value.__context__ is None

    def test_keys_stay_out_of_every_repr(self) -> None:
        assert repr(SECRET) == "ScramSecret(iterations=4096)"
        assert "client_key" not in repr(KEYS)


class TestHostileClient:
    @pytest.mark.parametrize(
        ("message", "what"),
        [
            (b"", "malformed"),
            (b"n", "malformed"),
            (b"n,,", "malformed"),
            (b"x,,n=,r=abc", "malformed"),
            (b"p=tls-server-end-point,,n=,r=abc", "channel binding"),
            (b"n,a=admin,n=,r=abc", "authorization identity"),
            (b"n,,m=ext,n=,r=abc", "malformed"),
            (b"n,,r=abc,n=", "malformed"),
            (b"n,,n=bob", "malformed"),
            (b"n,,n=bob,x=abc", "malformed"),
            (b"n,,n=,r=", "nonce"),
            (b"n,,n=,r=a b", "nonce"),
            (b"n,,n=,r=a\x7fb", "nonce"),
            (b"n,,n=,r=\xc3\xa9", "nonce"),
            (b"n,,n=,r=" + b"a" * 1025, "nonce"),
            (b"n,,n=,r=abc\0", "malformed"),
            (b"n,,n=\0,r=abc", "malformed"),
        ],
    )
    def test_first_message(self, message: bytes, what: str) -> None:
        with pytest.raises(ProtocolViolation, match=what):
            server().first(message)

    def test_binding_that_we_do_not_offer_is_no_fault_of_the_clients(self) -> None:
        exchange, theirs = server(), ScramClient(CLIENT_NONCE, header=b"y,,")
        theirs.challenge(exchange.first(theirs.first()))
        theirs.verify(exchange.final(theirs.final(KEYS)))

    def test_the_header_cannot_be_changed_on_the_way(self) -> None:
        # Somebody between us turned "y" into "n" to hide that the client could bind.
        exchange, theirs = server(), ScramClient(CLIENT_NONCE, header=b"y,,")
        theirs.challenge(exchange.first(theirs.first().replace(b"y,,", b"n,,")))
        with pytest.raises(ProtocolViolation, match="does not continue"):
            exchange.final(theirs.final(KEYS))

    @both_kinds
    def test_optional_extensions_are_ignored_and_signed(self, kind: type[ScramServer]) -> None:
        exchange = server(kind)
        exchange.first(CLIENT_FIRST + b",x=1,y=2")
        with pytest.raises(ProofRejected):
            exchange.final(CLIENT_FINAL)

    @both_kinds
    def test_extensions_ahead_of_the_proof_are_signed_with_it(self, kind: type[ScramServer]) -> None:
        exchange = server(kind)
        without_proof = WITHOUT_PROOF + b",x=1,y=2"
        signed = b",".join((CLIENT_FIRST[3:], exchange.first(CLIENT_FIRST), without_proof))
        signature = hmac.digest(SECRET.stored_key, signed, "sha256")
        proof = bytes(key ^ mask for key, mask in zip(KEYS.client_key, signature, strict=True))
        assert exchange.final(without_proof + b",p=" + base64.b64encode(proof)).startswith(b"v=")

    @pytest.mark.parametrize(
        "message",
        [
            b"",
            b",p=",
            WITHOUT_PROOF,
            WITHOUT_PROOF + b",p=",
            WITHOUT_PROOF + b",p=AAAA",
            WITHOUT_PROOF + b",p=!!!!",
            CLIENT_FINAL + b"=",
            CLIENT_FINAL + b",x=1",
            CLIENT_FINAL.replace(b"biws", b"eSws"),
            CLIENT_FINAL.replace(b"$k0", b"$k1"),
            CLIENT_FINAL.replace(b"$k0", b"$k0k"),
            CLIENT_FINAL.replace(b"r=rOpr", b"r="),
        ],
    )
    def test_final_message(self, message: bytes) -> None:
        exchange = server()
        exchange.first(CLIENT_FIRST)
        with pytest.raises(ProtocolViolation):
            exchange.final(message)

    @both_kinds
    def test_a_proof_serves_once(self, kind: type[ScramServer]) -> None:
        exchange = server(kind)
        exchange.first(CLIENT_FIRST)
        exchange.final(CLIENT_FINAL)
        with pytest.raises(ProtocolViolation):
            exchange.final(CLIENT_FINAL)

    def test_a_proof_without_a_first_message_is_refused(self) -> None:
        with pytest.raises(ProtocolViolation):
            server().final(b",x=1,p=" + base64.b64encode(bytes(32)))

    def test_a_replayed_login_is_refused(self) -> None:
        exchange = ScramServer(SECRET)
        exchange.first(CLIENT_FIRST)
        with pytest.raises(ProtocolViolation, match="does not continue"):
            exchange.final(CLIENT_FINAL)

    @both_kinds
    @given(place=st.integers(0, 31), change=st.integers(1, 255))
    @settings(deadline=None)
    def test_a_proof_with_any_byte_changed_is_rejected(
        self, kind: type[ScramServer], place: int, change: int
    ) -> None:
        proof = bytearray(base64.b64decode(CLIENT_FINAL.rpartition(b"p=")[2]))
        proof[place] ^= change
        exchange = server(kind)
        exchange.first(CLIENT_FIRST)
        with pytest.raises(ProofRejected):
            exchange.final(WITHOUT_PROOF + b",p=" + base64.b64encode(proof))

    def test_the_stored_secret_is_no_password(self) -> None:
        thief = scram.ScramKeys(SECRET.stored_key, SECRET.server_key)
        exchange, theirs = server(), client()
        theirs.challenge(exchange.first(theirs.first()))
        with pytest.raises(ProofRejected):
            exchange.final(theirs.final(thief))


class TestHostileServer:
    @pytest.mark.parametrize(
        ("message", "what"),
        [
            (b"", "malformed"),
            (b"e=other-error", "malformed"),
            (b"m=ext," + SERVER_FIRST, "malformed"),
            (SERVER_FIRST.replace(b",i=4096", b""), "malformed"),
            (SERVER_FIRST.replace(b"r=rOpr", b"r=XXXX"), "nonce"),
            (b"r=" + CLIENT_NONCE + b",s=AAAA,i=4096", "nonce"),
            (b"r=" + CLIENT_NONCE + b"x" * 3000 + b",s=AAAA,i=4096", "nonce"),
            (SERVER_FIRST.replace(b"s=W22Z", b"s=!22Z"), "salt"),
            (SERVER_FIRST.replace(b"W22ZaJ0SNY7soEsUEjb6gQ==", b""), "salt"),
            (SERVER_FIRST.replace(b"W22ZaJ0SNY7soEsUEjb6gQ==", base64.b64encode(bytes(1025))), "salt"),
            (SERVER_FIRST.replace(b"4096", b"0"), "iterations"),
            (SERVER_FIRST.replace(b"4096", b"-1"), "iterations"),
            (SERVER_FIRST.replace(b"4096", b"100001"), "iterations"),
            (SERVER_FIRST.replace(b"4096", b"9" * 5000), "iterations"),
            (SERVER_FIRST.replace(b"4096", b""), "iterations"),
        ],
    )
    def test_first_message(self, message: bytes, what: str) -> None:
        with pytest.raises(UnexpectedServerAnswer, match=what):
            client().challenge(message)

    @pytest.mark.parametrize(
        "message",
        [
            b"",
            b"v=",
            b"v=!",
            b"v=AAAA",
            b"e=invalid-proof",
            b"v=" + base64.b64encode(bytes(32)),
            SERVER_FINAL[2:],
        ],
    )
    def test_an_impostor_is_recognised(self, message: bytes) -> None:
        exchange = client()
        exchange.challenge(SERVER_FIRST)
        exchange.final(KEYS)
        with pytest.raises(UnexpectedServerAnswer):
            exchange.verify(message)

    def test_a_signature_before_our_proof_is_refused(self) -> None:
        with pytest.raises(UnexpectedServerAnswer):
            client().verify(b"v=")


# Lists of attributes, right and wrong, as a fuzzer's peer would send them.
_attributes = st.lists(
    st.builds(
        lambda name, value: name + b"=" + value,
        st.sampled_from([b"r", b"n", b"c", b"p", b"s", b"i", b"m", b"v", b"e", b"x", b""]),
        st.sampled_from([CLIENT_NONCE, CLIENT_NONCE + SERVER_NONCE, b"4096", b"AAAA", b"biws"])
        | st.binary(max_size=9),
    ),
    max_size=6,
).map(b",".join)


class TestAnyBytes:
    @given(
        st.sampled_from([b"n,,", b"y,,", b"", b"p=x,,"]), _attributes | st.binary(), _attributes | st.binary()
    )
    @settings(deadline=None, max_examples=300)
    def test_from_a_client(self, header: bytes, first: bytes, final: bytes) -> None:
        exchange = server()
        with contextlib.suppress(ProtocolViolation, ProofRejected):
            exchange.first(header + first)
            exchange.final(final)
            pytest.fail("logged in without the password")

    @given(_attributes | st.binary())
    @settings(deadline=None, max_examples=300)
    def test_from_a_server(self, first: bytes) -> None:
        exchange = client()
        with contextlib.suppress(UnexpectedServerAnswer):
            salt, iterations = exchange.challenge(first)
            assert 0 < len(salt) <= scram.MAX_SALT_LENGTH
            assert 0 < iterations <= scram.MAX_ITERATIONS


def test_nonces_are_printable_and_new() -> None:
    nonces = {scram.new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert all(re.fullmatch(rb"[A-Za-z0-9+/]{24}", nonce) for nonce in nonces)
