"""Clients log in: each method's dialogue, what a wrong client gets, and that strangers learn nothing."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolproxy.auth.client_login import AuthMethod, Secrets, client_login
from poolproxy.auth.credentials import Credentials, UserSecret
from poolproxy.errors import AuthenticationFailed, ChannelBindingFailed, ProtocolViolation
from poolproxy.protocol import codes, messages, scram
from poolproxy.protocol.md5 import md5_hash, md5_response
from tests.unit.auth import work
from tests.unit.auth.driven import DrivenClient, split

PASSWORDS = {
    "bob": "pencil",
    "stored": scram.secret_from_password("pencil", salt=b"s" * 16).format(),
    "hashed": md5_hash("hashed", "pencil"),
    "empty": "",
}
CREDENTIALS = Credentials.from_passwords(PASSWORDS, b"k" * 32)


class Kept(Secrets):
    """The secrets above, or one for everybody."""

    def __init__(self, only: UserSecret | None = None) -> None:
        self.only = only

    def secret(self, user: str) -> UserSecret:
        return self.only or CREDENTIALS.lookup(user)


def zeros(size: int) -> bytes:
    return bytes(size)


def start(method: AuthMethod, user: str) -> DrivenClient:
    return DrivenClient(client_login(method, user, Kept(), zeros))


def sasl_data(sent: bytes, code: int) -> bytes:
    """The data of the one Authentication message sent, which must be this one."""
    ((kind, body),) = split(sent)
    assert kind == codes.AUTHENTICATION
    found, data = messages.authentication_fields(body)
    assert found == code
    return data


def scram_answers(login: DrivenClient, password: str, binding: bytes | None = None) -> bytes:
    """An honest client up to its last message, which is returned rather than fed."""
    client = scram.ScramClient(scram.new_nonce(), binding=binding)
    mechanism = scram.MECHANISM if binding is None else scram.MECHANISM_PLUS
    challenge = login.feed(messages.sasl_initial_response(mechanism, client.first()))
    salt, iterations = client.challenge(sasl_data(challenge, codes.AUTH_SASL_CONTINUE))
    return messages.sasl_response(client.final(scram.derive_keys(password, salt, iterations)))


def md5_answer(login: DrivenClient, user: str, password: str) -> bytes:
    salt = sasl_data(login.sent, codes.AUTH_MD5)
    return messages.password_message(md5_response(md5_hash(user, password), salt))


def answer(method: AuthMethod, login: DrivenClient, user: str, password: str) -> bytes:
    if method == "password":
        return messages.password_message(password)
    return scram_answers(login, password) if method == "scram-sha-256" else md5_answer(login, user, password)


class TestScram:
    @pytest.mark.parametrize("user", ["bob", "stored"])
    def test_the_dialogue(self, user: str) -> None:
        login = start("scram-sha-256", user)
        assert login.sent == messages.authentication_sasl(["SCRAM-SHA-256"])
        client = scram.ScramClient(b"client-nonce")
        challenge = login.feed(messages.sasl_initial_response("SCRAM-SHA-256", client.first()))
        server_first = sasl_data(challenge, codes.AUTH_SASL_CONTINUE)
        assert server_first.startswith(b"r=client-nonceAAAAAAAAAAAAAAAAAAAAAAAA,s=")
        keys = scram.derive_keys("pencil", *client.challenge(server_first))
        assert login.feed(messages.sasl_response(client.final(keys))) == b"", "the caller sends the rest"
        client.verify(sasl_data(login.result, codes.AUTH_SASL_FINAL))

    def test_the_first_message_may_come_apart(self) -> None:
        login, client = start("scram-sha-256", "bob"), scram.ScramClient(b"abc")
        asked = login.feed(messages.sasl_initial_response("SCRAM-SHA-256", None))
        assert asked == messages.authentication_sasl_continue(b"")
        challenge = sasl_data(login.feed(messages.sasl_response(client.first())), codes.AUTH_SASL_CONTINUE)
        keys = scram.derive_keys("pencil", *client.challenge(challenge))
        login.feed(messages.sasl_response(client.final(keys)))
        client.verify(sasl_data(login.result, codes.AUTH_SASL_FINAL))

    @pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "PLAIN", "", "scram-sha-256"])
    def test_another_mechanism_is_refused(self, mechanism: str) -> None:
        with pytest.raises(ProtocolViolation, match="mechanism"):
            start("scram-sha-256", "bob").feed(messages.sasl_initial_response(mechanism, b"n,,n=,r=abc"))

    @pytest.mark.parametrize(
        "said",
        [
            messages.query("select 1"),
            messages.terminate(),
            messages.password_message("pencil"),
            messages.sasl_initial_response("SCRAM-SHA-256", b"p=tls-unique,,n=,r=abc"),
            messages.sasl_initial_response("SCRAM-SHA-256", b""),
        ],
    )
    def test_anything_else_is_refused(self, said: bytes) -> None:
        with pytest.raises(ProtocolViolation):
            start("scram-sha-256", "bob").feed(said)


class TestMd5:
    @pytest.mark.parametrize("user", ["bob", "hashed"])
    def test_the_dialogue(self, user: str) -> None:
        login = start("md5", user)
        assert login.sent == messages.authentication_md5(bytes(4))
        assert login.feed(md5_answer(login, user, "pencil")) == b""
        assert login.result == b""

    @pytest.mark.parametrize(
        "said", [messages.query("select 1"), messages.sasl_response(b"md5"), b"p\0\0\0\4"]
    )
    def test_anything_else_is_refused(self, said: bytes) -> None:
        with pytest.raises(ProtocolViolation):
            start("md5", "bob").feed(said)

    def test_the_password_itself_is_no_answer(self) -> None:
        with pytest.raises(AuthenticationFailed):
            start("md5", "bob").feed(messages.password_message("pencil"))

    def test_the_salt_is_new_each_time(self) -> None:
        salts = iter([b"1234", b"5678"])
        for salt in (b"1234", b"5678"):
            login = DrivenClient(client_login("md5", "bob", Kept(), lambda _: next(salts)))
            assert login.sent == messages.authentication_md5(salt)


class TestTrust:
    @pytest.mark.parametrize("user", ["bob", "nobody"])
    def test_asks_nothing(self, user: str) -> None:
        login = start("trust", user)
        assert login.sent == b""
        assert login.result == b""


class TestPassword:
    @pytest.mark.parametrize("user", ["bob", "stored", "hashed"])
    def test_the_dialogue(self, user: str) -> None:
        login = start("password", user)
        assert login.sent == messages.authentication_cleartext()
        assert not login.done
        login.feed(messages.password_message("pencil"))
        assert login.done

    def test_what_is_stored_is_no_password(self) -> None:
        for user in ("stored", "hashed"):
            with pytest.raises(AuthenticationFailed):
                start("password", user).feed(messages.password_message(PASSWORDS[user]))

    def test_bytes_that_are_no_text(self) -> None:
        with pytest.raises(AuthenticationFailed):
            start("password", "bob").feed(messages.message(codes.PASSWORD, b"\xff\xfe\0"))


class TestBinding:
    """SCRAM-SHA-256-PLUS: to the certificate that we have shown, and nobody takes it away unseen."""

    @staticmethod
    def start(binding: bytes | None = b"certificate") -> DrivenClient:
        return DrivenClient(client_login("scram-sha-256", "bob", Kept(), zeros, binding))

    def log_in(self, login: DrivenClient, client: scram.ScramClient, mechanism: bytes) -> None:
        challenge = login.feed(messages.sasl_initial_response(mechanism, client.first()))
        salt, iterations = client.challenge(sasl_data(challenge, codes.AUTH_SASL_CONTINUE))
        login.feed(messages.sasl_response(client.final(scram.derive_keys("pencil", salt, iterations))))

    def test_both_are_offered_and_the_better_one_first(self) -> None:
        offered = messages.sasl_mechanisms(sasl_data(self.start().sent, codes.AUTH_SASL))
        assert list(offered) == [scram.MECHANISM_PLUS, scram.MECHANISM]
        assert list(messages.sasl_mechanisms(sasl_data(self.start(None).sent, codes.AUTH_SASL))) == [
            scram.MECHANISM
        ]

    @pytest.mark.parametrize("bound", [True, False])
    def test_who_can_binds_and_who_cannot_need_not(self, bound: bool) -> None:
        login = self.start()
        client = scram.ScramClient(b"nonce", binding=b"certificate" if bound else None)
        self.log_in(login, client, scram.MECHANISM_PLUS if bound else scram.MECHANISM)
        assert login.done

    def test_another_certificate_is_somebody_in_between(self) -> None:
        with pytest.raises(ChannelBindingFailed, match="to another certificate than ours"):
            self.log_in(self.start(), scram.ScramClient(b"nonce", binding=b"another"), scram.MECHANISM_PLUS)

    def test_who_believes_that_we_cannot_has_been_told_so_by_somebody_else(self) -> None:
        client = scram.ScramClient(b"nonce", header=scram.UNOFFERED_HEADER)
        with pytest.raises(ChannelBindingFailed, match="believes it was not"):
            self.log_in(self.start(), client, scram.MECHANISM)
        login = self.start(None)
        self.log_in(login, scram.ScramClient(b"nonce", header=scram.UNOFFERED_HEADER), scram.MECHANISM)
        assert login.done

    @pytest.mark.parametrize(
        ("mechanism", "first", "binding"),
        [
            (scram.MECHANISM_PLUS, b"n,,n=,r=abc", b"certificate"),
            (scram.MECHANISM_PLUS, b"p=tls-unique,,n=,r=abc", b"certificate"),
            (scram.MECHANISM_PLUS, b"p=tls-server-end-point,a=bob,n=,r=abc", b"certificate"),
            (scram.MECHANISM_PLUS, b"p=", b"certificate"),
            (scram.MECHANISM, b"p=tls-server-end-point,,n=,r=abc", b"certificate"),
            (scram.MECHANISM_PLUS, b"p=tls-server-end-point,,n=,r=abc", None),
        ],
    )
    def test_what_does_not_fit_together(self, mechanism: bytes, first: bytes, binding: bytes | None) -> None:
        with pytest.raises(ProtocolViolation):
            self.start(binding).feed(messages.sasl_initial_response(mechanism, first))


METHODS: list[AuthMethod] = ["scram-sha-256", "md5", "password"]


@pytest.mark.parametrize("method", METHODS)
class TestFailures:
    @pytest.mark.parametrize(
        ("user", "password"),
        [("bob", "wrong"), ("bob", ""), ("nobody", "pencil"), ("nobody", ""), ("empty", ""), ("", "pencil")],
    )
    def test_fails(self, method: AuthMethod, user: str, password: str) -> None:
        login = start(method, user)
        last = answer(method, login, user, password)
        with pytest.raises(AuthenticationFailed) as caught:
            login.feed(last)
        assert caught.value.message == f'password authentication failed for user "{user}"'
        assert "pencil" not in str(caught.value)

    def test_a_mock_fails_even_if_its_keys_were_known(self, method: AuthMethod) -> None:
        known = CREDENTIALS.lookup("bob")
        mock = type(known)(known.scram, known.md5, known=False)
        login = DrivenClient(client_login(method, "bob", Kept(mock), zeros))
        last = answer(method, login, "bob", "pencil")
        with pytest.raises(AuthenticationFailed):
            login.feed(last)


def test_a_secret_of_the_other_kind_fails_like_a_wrong_password() -> None:
    login = start("scram-sha-256", "hashed")
    last = scram_answers(login, "pencil")
    with pytest.raises(AuthenticationFailed):
        login.feed(last)
    login = start("md5", "stored")
    last = md5_answer(login, "stored", "pencil")
    with pytest.raises(AuthenticationFailed):
        login.feed(last)


@pytest.mark.parametrize("method", METHODS)
class TestStrangersLearnNothing:
    """An unknown user and a wrong password: the same messages, shapes and errors."""

    def shape(self, method: AuthMethod, user: str) -> list[object]:
        login = start(method, user)
        shape: list[object] = [login.sent]
        if method == "scram-sha-256":
            client = scram.ScramClient(b"client-nonce")
            sent = login.feed(messages.sasl_initial_response(scram.MECHANISM, client.first()))
            salt, iterations = client.challenge(sasl_data(sent, codes.AUTH_SASL_CONTINUE))
            shape += [sent[0], len(sent), len(salt), iterations]
            last = messages.sasl_response(client.final(scram.derive_keys("wrong", salt, iterations)))
        else:
            last = answer(method, login, user, "wrong")
        with pytest.raises(AuthenticationFailed) as caught:
            login.feed(last)
        return [*shape, messages.error_response(caught.value).replace(user.encode(), b"USER")]

    def test_the_same_dialogue(self, method: AuthMethod) -> None:
        assert self.shape(method, "bob") == self.shape(method, "nob")


@pytest.fixture(scope="module")
def counted() -> dict[str, tuple[bool, list[str]]]:
    """Login -> whether it succeeds, and what was computed."""
    program = [sys.executable, "-m", "tests.unit.auth.work"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return {login: (succeeds, found) for login, (succeeds, found) in json.loads(done.stdout).items()}


#: What a login by this method has to compute.
COMPUTED = {
    # Two signatures of two hashes each, and the key that the proof is good for.
    "scram-sha-256": {"blake2s": 1, "sha256": 5, "comparison": 1},
    "md5": {"blake2s": 1, "md5": 1, "comparison": 1},
    "password": {"blake2s": 1, "pbkdf2": 1, "hmac": 2, "sha256": 1, "md5": 1, "comparison": 2},
}


@pytest.mark.parametrize("user", work.STRANGERS)
@pytest.mark.parametrize("way", work.WAYS)
def test_the_same_work(counted: dict[str, tuple[bool, list[str]]], way: str, user: str) -> None:
    """Whether the password is right or wrong, and whether anybody has the name; however it is stored."""
    method = work.WAYS[way][0]
    right, wrong, unknown = (counted[f"{way}: {user}, {proof}"] for proof in ("right", "wrong", "unknown"))
    serves = {"bob": True, "stored": method != "md5", "hashed": method != "scram-sha-256", "empty": False}
    assert (right[0], wrong[0], unknown[0]) == (serves[user], False, False)
    assert right[1] == wrong[1] == unknown[1]
    assert Counter(what.split()[0] for what in unknown[1]) == COMPUTED[method]


@given(
    st.sampled_from(METHODS),
    st.lists(
        st.builds(
            messages.message,
            st.sampled_from([codes.PASSWORD, codes.PASSWORD, codes.QUERY]),
            st.binary(max_size=60)
            | st.binary(max_size=40).map(lambda raw: messages.sasl_initial_response("SCRAM-SHA-256", raw)[5:])
            | st.just(messages.sasl_initial_response("SCRAM-SHA-256", b"n,,n=,r=abc")[5:])
            | st.just(messages.sasl_initial_response("SCRAM-SHA-256", None)[5:])
            | st.just(b"c=biws,r=abcAAAAAAAAAAAAAAAAAAAAAAAA,p=" + b"A" * 43 + b"="),
        ),
        max_size=4,
    ),
    st.sampled_from(["bob", "nobody"]),
)
@settings(deadline=None, max_examples=300)
def test_no_bytes_log_in_without_the_password(method: AuthMethod, said: list[bytes], user: str) -> None:
    login = start(method, user)
    with contextlib.suppress(ProtocolViolation, AuthenticationFailed):
        for message in said:
            login.feed(message)
    assert not login.done


class TestAhead:
    """What is done while the client is at work, and not before it has been asked."""

    class Counting(Kept):
        asked = 0

        def secret(self, user: str) -> UserSecret:
            self.asked += 1
            return super().secret(user)

    def test_the_client_is_asked_before_it_is_looked_up_and_looked_up_once(self) -> None:
        secrets = self.Counting()
        login = client_login("scram-sha-256", "bob", secrets, zeros)
        login.begin()
        assert secrets.asked == 0
        login.ahead()
        login.ahead()
        assert secrets.asked == 1
        client = scram.ScramClient(scram.new_nonce())
        body = messages.sasl_initial_response(scram.MECHANISM, client.first())[5:]
        login.answer(codes.PASSWORD, body)
        assert secrets.asked == 1
