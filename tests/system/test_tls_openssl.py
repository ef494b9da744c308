"""What only OpenSSL's own client asks for: a second handshake on a TLS 1.2 connection, new keys again and
again on 1.3."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.certificates import Certificates
from tests.support.proxy import ProxyProcess, tls_settings
from tests.support.stage import Stage

#: Requests for new keys, each of which has to be answered by new ones, and the bytes that these may cost.
KEYS = 500
MEMORY = 4 << 20


@pytest.fixture
def proxy(stage: Stage, certificates: Certificates) -> ProxyProcess:
    stage.expect_log("login")
    return stage.fresh(**tls_settings(certificates, client_login_timeout=10))


def openssl(proxy: ProxyProcess, version: str) -> subprocess.Popen[str]:
    """Its client, which acts on each line that it reads by itself."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port}", "-starttls", "postgres", version]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def act(client: subprocess.Popen[str], letter: str, until: str) -> None:
    """Say this to it, and read what it prints up to that."""
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(letter + "\n")
    client.stdin.flush()
    for line in client.stdout:
        if until in line:
            return
    raise AssertionError(f"it has not printed {until!r}")


def test_no_second_handshake(proxy: ProxyProcess) -> None:
    with proxy.login() as wire, openssl(proxy, "-tls1_2") as client:
        act(client, "R", "no renegotiation")
        assert client.wait(20) != 0
        assert wire.value("select 1") == "1"


def test_new_keys_again_and_again(proxy: ProxyProcess) -> None:
    with proxy.login() as wire, openssl(proxy, "-tls1_3") as client:
        act(client, "K", "KEYUPDATE")
        memory = proxy.resident_bytes()
        for _ in range(KEYS):
            act(client, "K", "KEYUPDATE")
        assert wire.value("select 1") == "1"
        assert proxy.resident_bytes() - memory < MEMORY
        client.terminate()
