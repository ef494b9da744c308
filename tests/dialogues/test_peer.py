"""Method peer: who has connected to the Unix socket, as the kernel says; nothing is asked of him."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from poolproxy import log
from poolproxy.auth import hba, ident
from poolproxy.auth.credentials import Credentials
from poolproxy.frontend.door import FrontDoor
from poolproxy.log import RepeatGate
from poolproxy.metrics.families import PROCESS
from tests.dialogues.stage import Stage
from tests.dialogues.words import END, ended
from tests.support import messages as m
from tests.support.captured import captured

#: Whom both ends of a socket pair belong to.
ME = pwd.getpwuid(os.geteuid()).pw_name

RULES = """
local all mapped,stranger peer map=crew
local all all peer
host  all all all reject
"""
MAPS = f"crew {ME} mapped\ncrew somebody stranger\n"


def nothing_to_read(name: str, beside: str) -> NoReturn:
    raise FileNotFoundError(2, "No such file or directory")


@pytest.fixture
def stage(stages: Callable[..., Stage]) -> Stage:
    """With these rules; the method of the settings is for nobody."""
    users = {user: {"password": "x"} for user in (ME, "mapped", "stranger", "app")}
    stage = stages(auth_method="scram-sha-256", users=users)
    maps = ident.parse("ident", MAPS, nothing_to_read)
    rules = hba.parse("hba", RULES, nothing_to_read, maps)
    credentials = Credentials.from_passwords(stage.settings.user_passwords(), b"k" * 32)
    stage.door = FrontDoor(stage.poller, stage.settings, stage._router, credentials, rules)
    stage.door.pools = stage.pools
    return stage


@pytest.mark.parametrize("user", [ME, "mapped"])
def test_the_right_user_is_asked_nothing(stage: Stage, user: str) -> None:
    stage.server(stage.pool(user))
    stage.client(address="unix", user=user)
    assert stage.door.login_results == {("peer", "ok"): 1}
    stage.nothing_more()


@pytest.mark.parametrize("user", ["app", "stranger", ME + "x"])
def test_another_one_is_refused(stage: Stage, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client reads PostgreSQL's words, the log says who it was."""
    monkeypatch.setattr(log, "_GATE", RepeatGate())
    with captured("info", "json") as found:
        client = stage.knock(address="unix")
        client >> m.startup({"user": user, "database": "app"})
        client << ended("28000", f'Peer authentication failed for user "{user}"') << END
        lines = b"\n".join(found.lines()).decode()
    assert f'"system_user":"{ME}"' in lines.replace('": "', '":"')
    assert stage.door.rejections == {"peer": 1}
    assert stage.door.login_results == {}
    (reasons,) = (family.values for family in PROCESS if family.name == "poolproxy_rejections")
    assert "peer" in reasons
    stage.nothing_more()


def test_who_has_no_name_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> Any:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for user in (ME, "mapped"):
        client = stage.knock(address="unix")
        client >> m.startup({"user": user, "database": "app"})
        client << ended("28000", f'Peer authentication failed for user "{user}"') << END
    stage.nothing_more()
