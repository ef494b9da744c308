"""What the process shows of its secrets while everything goes right and wrong: nothing, at any level of the
log, in any metric, nor in what its machine shows of it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from poolproxy.protocol.md5 import md5_hash
from poolproxy.protocol.scram import ScramSecret, secret_from_password
from tests.support import messages as m
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.proxy import ProxyProcess
from tests.support.stage import Stage
from tests.support.wire import Wire, WireError, cancel

FILED = "only in the file 7d1e"
TRIED = "a password of elsewhere 93ba"
STORED = secret_from_password("stored in settings 51cc", salt=b"0123456789abcdef")
URLS_OWN = "wrong%2Fin%20the%20url"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def secrets_of(stored: ScramSecret) -> list[str]:
    keys = (stored.stored_key, stored.server_key)
    return [stored.format(), *map(b64, keys), *(key.hex() for key in keys)]


#: All that was configured or tried, in the spellings it may be met in.
SECRETS = [
    *(word for word in PASSWORDS.values() if word),
    *(b64(word.encode()) for word in PASSWORDS.values() if word),
    *(md5_hash(user, word).removeprefix("md5") for user, word in PASSWORDS.items() if word),
    *(FILED, TRIED, URLS_OWN, "wrong/in the url", "other%2Fsecret", "app%20secret"),
    *secrets_of(STORED),
]


@pytest.fixture
def proxy(stage: Stage, tmp_path: Path) -> ProxyProcess:
    stage.expect_log(".")
    users = tmp_path / "userlist.txt"
    users.write_text(f'"filed" "{FILED}"\n"hashed" "{md5_hash("hashed", FILED)}"\n')
    users.chmod(0o600)
    rules = tmp_path / "rules"
    rules.write_text("host all md5user,hashed all md5\nhost all all all scram-sha-256\n")
    place = f"{stage.postgres.host}:{stage.postgres.port}"
    settings = stage.settings(
        auth_file=str(users), auth_hba_file=str(rules), log_level="debug", connection_borrow_timeout=2
    )
    settings["users"]["stored"] = {"password": STORED.format()}
    settings["databases"]["theirs"] = {"url": f"postgres://other:other%2Fsecret@{place}/{DATABASE}"}
    settings["databases"]["misled"] = {"url": f"postgres://other:{URLS_OWN}@{place}/{DATABASE}"}
    settings["databases"]["away"] = {"url": f"postgres://app:{URLS_OWN}@127.0.0.1:1/{DATABASE}"}
    return stage.fresh(**settings)


def refused(proxy: ProxyProcess, user: str, password: str, database: str = DATABASE) -> str:
    with pytest.raises(WireError) as caught:
        Wire.login(proxy.address, user, password, database)
    return f"{caught.value.sqlstate} {caught.value.fields}"


def test_nothing_shows_a_secret(proxy: ProxyProcess) -> None:
    told = [
        refused(proxy, "app", TRIED),
        refused(proxy, "nobody", TRIED),
        refused(proxy, "md5user", TRIED),
        refused(proxy, "hashed", TRIED),
        refused(proxy, "filed", FILED),  # PostgreSQL knows no such user
        refused(proxy, "stored", "stored in settings 51cc"),  # nothing to log in to PostgreSQL with
        refused(proxy, "app", PASSWORDS["app"], "misled"),
        refused(proxy, "app", PASSWORDS["app"], "away"),
        refused(proxy, "app", PASSWORDS["app"], "nowhere"),
    ]
    keys = []
    for user, database in (("app", DATABASE), ("md5user", DATABASE), ("other", "theirs")):
        with Wire.login(proxy.address, user, PASSWORDS[user], database) as client:
            assert client.value("select 1") == "1"
            told.append(str(client.ask(m.query("selekt 1"))))
            cancel(proxy.address, client.pid, client.key)
            keys += [client.key.hex(), repr(client.key)[2:-1]] if len(client.key) > 4 else [client.key.hex()]
    with Wire(proxy.address) as wire:
        wire.send(b"GET /?password=" + TRIED.encode() + b" HTTP/1.1\r\n\r\n")
        wire.read_to_end()
    shown = {
        "what clients were told": "\n".join(told),
        "metrics": proxy.get("/metrics")[1],
        "health": proxy.get("/health")[1] + proxy.get("/ready")[1],
        "command line": Path(f"/proc/{proxy.pid}/cmdline").read_text(),
    }
    assert proxy.stop() == 0
    shown["log"] = proxy.log_text()
    assert "server connected" in shown["log"]
    assert "login refused" in shown["log"]
    assert "server connect failed" in shown["log"]
    for where, text in shown.items():
        found = [secret for secret in SECRETS if secret in text]
        assert not found, (where, found)
    assert not [key for key in keys if key in shown["log"]]
