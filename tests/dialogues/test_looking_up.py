"""A login waits for what it has to prove: the door asks, and is told later, or never."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, cast

import pytest
from scramp import ScramClient  # type: ignore[import-untyped]

from poolproxy.auth.credentials import UserSecret, user_secret
from poolproxy.backend.inquiring import Tell
from poolproxy.errors import AuthenticationFailed, UsersNotLookedUp
from poolproxy.protocol.scram import secret_from_password
from tests.dialogues.stage import ClientPeer, Stage
from tests.dialogues.words import END, ended
from tests.support import messages as m
from tests.support.messages import message

OFFER = message("R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0")
BOB = user_secret("bob", secret_from_password("pencil").format(), b"k" * 32)
NOBODY = UserSecret(BOB.scram, BOB.md5, known=False, scram_only=True)
KNOCK = m.startup({"user": "bob", "database": "app"})


class Inquirer:
    """Remembers who asks; the test answers."""

    def __init__(self, settle: Callable[[], None]) -> None:
        self._settle = settle
        self.at_hand: dict[str, UserSecret] = {}
        self.waiting: list[tuple[str, Tell]] = []
        self.doubted: list[str] = []
        self.unable = False

    def ask(self, user: str, tell: Tell) -> UserSecret | None:
        if self.unable:
            raise UsersNotLookedUp
        if user not in self.at_hand:
            self.waiting.append((user, tell))
        return self.at_hand.get(user)

    def doubt(self, user: str) -> None:
        self.doubted.append(user)

    def answer(self, secret: UserSecret | None) -> None:
        """Tell whoever asked last; None: that it cannot be had."""
        self.waiting.pop()[1](secret, UsersNotLookedUp() if secret is None else None)
        self._settle()


Make = Callable[..., tuple[Stage, Inquirer]]


@pytest.fixture
def inquiring(stages: Callable[..., Stage]) -> Make:
    def make(method: str = "scram-sha-256", **settings: Any) -> tuple[Stage, Inquirer]:
        databases = {"app": {"url": "postgres://app:secret@db:5432/app"}}
        lookup = {"url": "postgres://looker:secret@db:5432/app"}
        asked = {"auth_query": "select $1", "auth_query_database": "lookup"}
        stage = stages(
            auth_method=method, databases={**databases, "lookup": lookup}, users={}, **asked, **settings
        )
        inquirer = Inquirer(stage.settle)
        stage.door.inquirer = cast(Any, inquirer)
        return stage, inquirer

    return make


def proof(client: ClientPeer, password: str) -> None:
    """What a client says from the offer on, up to its proof."""
    dialogue = ScramClient(["SCRAM-SHA-256"], "bob", password)
    first = dialogue.get_client_first().encode()
    client >> message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
    dialogue.set_server_first(client.take().body[4:].decode())
    client >> message("p", dialogue.get_client_final().encode())


def test_it_goes_on_when_it_is_told(inquiring: Make) -> None:
    stage, inquirer = inquiring()
    server, client = stage.server(stage.pool("bob")), stage.knock()
    client >> KNOCK
    stage.nothing_more()
    assert [user for user, _ in inquirer.waiting] == ["bob"]
    inquirer.answer(BOB)
    client << OFFER
    proof(client, "pencil")
    server.learn()
    assert client.take().body[:4] == struct.pack("!i", 12)
    client.greeted()
    assert stage.door.login_results == {("scram-sha-256", "ok"): 1}
    assert inquirer.doubted == []


@pytest.mark.parametrize("early", [True, False])
def test_who_is_told_later_that_it_failed_and_leaves_holds_nothing(inquiring: Make, early: bool) -> None:
    """It was not read while it waited; it is when its answer is held back, so that its end is seen."""
    stage, inquirer = inquiring(failed_login_delay=5)
    client = stage.knock()
    client >> KNOCK
    if early:
        client.leave()
    inquirer.waiting.pop()[1](None, AuthenticationFailed(user="bob"))
    stage.settle()
    if not early:
        assert len(stage.door.failures) == 1
        client.leave()
    assert len(stage.door.failures) == 0
    assert not stage.door.logins


def test_what_is_at_hand_is_not_waited_for(inquiring: Make) -> None:
    stage, inquirer = inquiring()
    inquirer.at_hand["bob"] = BOB
    client = stage.knock()
    client >> KNOCK
    client << OFFER


def test_users_of_the_settings_are_not_asked_for(inquiring: Make) -> None:
    stage, inquirer = inquiring()
    client = stage.knock()
    client >> m.startup({"user": "app", "database": "app"})
    client << OFFER
    assert inquirer.waiting == []


def test_trust_asks_nothing(inquiring: Make) -> None:
    stage, inquirer = inquiring("trust")
    stage.server(stage.pool("bob"))
    assert stage.client(user="bob").pid
    assert inquirer.waiting == []


@pytest.mark.parametrize("secret", [BOB, NOBODY], ids=["known", "unknown"])
def test_a_wrong_password(inquiring: Make, secret: UserSecret) -> None:
    """The same words for both, and what was believed is doubted for both. The mock's own is of no use."""
    stage, inquirer = inquiring()
    client = stage.knock()
    client >> KNOCK
    inquirer.answer(secret)
    client << OFFER
    proof(client, "wrong" if secret.known else "pencil")
    client << ended("28P01") << END
    assert inquirer.doubted == ["bob"]


def test_what_came_behind_the_startup_message_waits(inquiring: Make) -> None:
    stage, inquirer = inquiring()
    client = stage.knock()
    first = b"n,,n=,r=nonce"
    client >> KNOCK + message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
    stage.nothing_more()
    inquirer.answer(BOB)
    client << OFFER
    assert client.take().body.startswith(struct.pack("!i", 11) + b"r=nonce")


def test_a_negotiation_is_answered_once(inquiring: Make) -> None:
    stage, inquirer = inquiring()
    client = stage.knock()
    client >> m.startup({"user": "bob", "database": "app", "_pq_.x": "1"}, 0x00030003)
    stage.nothing_more()
    inquirer.answer(BOB)
    assert client.take().letter == "v"
    client << OFFER


def test_md5_with_a_scram_secret(inquiring: Make) -> None:
    """As PostgreSQL and PgBouncer have it."""
    stage, inquirer = inquiring("md5")
    client = stage.knock()
    client >> KNOCK
    inquirer.answer(BOB)
    client << OFFER
    (login,) = stage.door.logins
    assert login.method == "scram-sha-256"


def test_md5_with_what_md5_stores(inquiring: Make) -> None:
    stage, inquirer = inquiring("md5")
    client = stage.knock()
    client >> KNOCK
    inquirer.answer(user_secret("bob", "pencil", b"k" * 32))
    assert client.take().body[:4] == struct.pack("!i", 5)


@pytest.mark.parametrize("at_once", [True, False])
def test_it_cannot_be_asked_for(inquiring: Make, at_once: bool) -> None:
    stage, inquirer = inquiring()
    inquirer.unable = at_once
    client = stage.knock()
    client >> KNOCK
    if not at_once:
        inquirer.answer(None)
    client << ended("57P03", "cannot be looked up") << END
    assert stage.door.rejections == {"auth_query": 1}
    assert inquirer.doubted == []


def test_who_has_left_is_told_nothing(inquiring: Make) -> None:
    stage, inquirer = inquiring()
    client = stage.knock()
    client >> KNOCK
    client.hang_up()
    stage.settle()
    inquirer.answer(BOB)
    stage.settle()
    assert not stage.door.logins


def test_who_has_been_given_up_is_told_nothing_more(inquiring: Make) -> None:
    """By client_login_timeout, and by the end of the proxy."""
    stage, inquirer = inquiring(client_login_timeout=5)
    client = stage.knock()
    client >> KNOCK
    stage.later(6)
    client << ended("08P01") << END
    late = stage.knock()
    late >> KNOCK
    stage.door.drain()
    stage.settle()
    late << ended("57P01") << END
    for _ in range(2):
        inquirer.answer(BOB)
    stage.settle()
    assert not stage.door.logins
