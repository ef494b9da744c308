"""What must never be shown: secrets, in the log, in what an object says of itself, in a traceback."""

from __future__ import annotations

import base64
import gc
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from scramp import ScramClient  # type: ignore[import-untyped]

from poolproxy import app, log
from poolproxy.auth.credentials import Credentials
from poolproxy.frontend.door import FrontDoor
from poolproxy.frontend.login import Login
from poolproxy.log import RepeatGate
from poolproxy.protocol.md5 import md5_hash
from poolproxy.protocol.scram import ScramSecret, derive_keys, secret_from_password
from poolproxy.transport.poller import Pollable
from tests.dialogues.stage import PASSWORD, ClientPeer, Stage
from tests.support import messages as m
from tests.support.captured import captured

STORED = secret_from_password("stored horse", salt=b"0123456789abcdef")
KEYS = derive_keys("stored horse", b"0123456789abcdef", STORED.iterations)
URL_PASSWORD = "url%20horse"
MD5 = md5_hash("old", "old horse")
USERS = {"app": {"password": PASSWORD}, "stored": {"password": STORED.format()}, "old": {"password": MD5}}
DATABASES = {
    "app": {"url": "postgres://db:5432/app"},
    "own": {"url": f"postgres://owner:{URL_PASSWORD}@db:5432/own"},
}


def spelled(secret: bytes) -> list[str]:
    """A secret as it may be shown: as text, as bytes, in hexadecimal, in base64."""
    return [repr(secret)[2:-1], secret.hex(), base64.b64encode(secret).decode()]


SECRETS = [
    *(
        text
        for word in (PASSWORD, "stored horse", "url horse", "old horse")
        for text in spelled(word.encode())
    ),
    *(text for key in (STORED.stored_key, STORED.server_key, KEYS.client_key) for text in spelled(key)),
    *(URL_PASSWORD, MD5, MD5.removeprefix("md5"), STORED.format()),
]


def shows(text: str, secrets: list[str]) -> list[str]:
    return [secret for secret in secrets if secret in text]


def challenged(stage: Stage, user: str, password: str) -> tuple[ClientPeer, ScramClient]:
    """In the midst of SCRAM: the secret has been looked up, and its proof not been sent."""
    client = stage.knock()
    client >> m.startup({"user": user, "database": "app"})
    client.take()
    dialogue = ScramClient(["SCRAM-SHA-256"], user, password)
    first = dialogue.get_client_first().encode()
    client >> m.message("p", b"SCRAM-SHA-256\0" + len(first).to_bytes(4, "big") + first)
    dialogue.set_server_first(client.take().body[4:].decode())
    return client, dialogue


def described() -> list[tuple[str, str]]:
    """What each object of ours that is alive says of itself: its class, and its words."""
    found = []
    for thing in gc.get_objects():
        kind = type(thing)
        if str(getattr(kind, "__module__", "")).startswith("poolproxy.") and not isinstance(thing, type):
            found.append((kind.__qualname__, f"{thing!r} {thing}"))
    return found


def test_no_object_says_a_secret_of_itself(stages: Callable[..., Stage]) -> None:
    stage = stages(users=USERS, databases=DATABASES, auth_method="scram-sha-256", auth_hba_file="rules")
    server = stage.server()
    midway, _ = challenged(stage, "stored", "stored horse")
    client, dialogue = challenged(stage, "app", PASSWORD)
    client >> m.message("p", dialogue.get_client_final().encode())
    server.learn()
    client.take()
    client.greeted()
    own = stage.pool("owner", "own")
    cancel = [text for text in spelled(client.key) if text]
    alive = [*described(), ("ScramSecret", repr(STORED)), ("ScramKeys", repr(KEYS))]
    kinds = {kind for kind, _ in alive}
    assert {"Settings", "DatabaseSettings", "UserSettings", "Route", "Target", "Pool", "Server"} <= kinds
    assert {"FrontDoor", "Login", "Client", "ScramLogin", "UserSecret", "Credentials", "ScramServer"} <= kinds
    for kind, words in alive:
        assert not shows(words, [*SECRETS, *cancel, "skey"]), (kind, words)
    assert own.route.target.password == "url horse", "it is there, and not shown"
    midway.leave()


class Fragile(FrontDoor):
    """Breaks where the secret of a user has been looked up."""

    def secret(self, user: str) -> NoReturn:
        secret = super().secret(user)
        password = USERS[user]["password"]
        raise RuntimeError(f"broken on purpose for {user}, {len(password)}, {secret!r}")


class Broken(Stage):
    """What goes wrong inside is logged as the app does it."""

    def _broken(self, pollable: Pollable, problem: Exception) -> None:
        app._broken(pollable, problem)


def guess(stage: Stage, password: str) -> Any:
    client = stage.knock()
    client >> m.startup({"user": "app", "database": "app"})
    client.take()
    client >> m.message("p", password.encode() + b"\0")
    return client.take()


@pytest.mark.parametrize("format", ["json", "text"])
def test_no_traceback_and_no_line_has_one(
    monkeypatch: pytest.MonkeyPatch,
    format: log.Format,  # noqa: A002
) -> None:
    """A handler that raises with a secret among its variables; and a wrong password, which may be nearly
    right, or that of another place."""
    monkeypatch.setattr(log, "_GATE", RepeatGate())
    with captured("debug", format) as lines:
        stage = Broken(users=USERS, databases=DATABASES, auth_method="md5", auth_hba_file="rules")
        assert guess(stage, "somebody else's password").sqlstate == "28P01"
        credentials = Credentials.from_passwords(stage.settings.user_passwords(), b"k" * 32)
        stage.door = Fragile(stage.poller, stage.settings, stage._router, credentials)
        stage.door.pools = stage.pools
        assert guess(stage, "somebody else's password").sqlstate == "XX000"
        stage.close()
        text = b"\n".join(lines.lines()).decode()
    assert "internal error" in text
    assert "broken on purpose for app" in text
    assert "Login" in text, "the handler is named"
    assert not shows(text, [*SECRETS, "somebody else's password"])


def test_a_login_says_who_it_is_and_no_more() -> None:
    assert Login.__repr__ is not object.__repr__
    assert repr(ScramSecret.parse(STORED.format())) == f"ScramSecret(iterations={STORED.iterations})"
