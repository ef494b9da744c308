"""The proxy as the demo's child: its environment and what its log tells."""

from __future__ import annotations

import pytest

from poolproxy.demo.proxy import environment, listening_ports

LISTENING = '{"event": "listening", "host": "127.0.0.1", "port": 40001}\n'
HTTP = '{"event": "http listening", "host": "127.0.0.1", "port": 40002}\n'


def test_environment_is_ours_without_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "POOLPROXY_POOL_SIZE", "PGPASSWORD"):
        monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("LANG", "C.UTF-8")
    made = environment({"POOLPROXY_POOL_SIZE": "20"})
    assert made["POOLPROXY_POOL_SIZE"] == "20"
    assert made["LANG"] == "C.UTF-8"
    assert "DATABASE_URL" not in made
    assert "PGPASSWORD" not in made


@pytest.mark.parametrize(
    "log", [LISTENING + HTTP, HTTP + LISTENING, "Traceback\n[1]\n" + LISTENING + HTTP + '{"eve']
)
def test_ports_come_from_the_log(log: str) -> None:
    assert listening_ports(log) == (40001, 40002)


@pytest.mark.parametrize("log", ["", LISTENING, HTTP, LISTENING + HTTP[:20], '{"event": "login"}\n'])
def test_no_ports_before_both_listen(log: str) -> None:
    assert listening_ports(log) is None
