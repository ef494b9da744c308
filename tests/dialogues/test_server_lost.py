"""A server is lost: whoever used it is told exactly once, and closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.dialogues.stage import Stage
from tests.dialogues.words import DESCRIPTION, END, ended, fatal, row
from tests.support import messages as m
from tests.support.messages import query


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_while_a_clients_parameters_are_tried(stages: Callable[..., Stage], mode: str) -> None:
    stage = stages(pool_mode=mode)
    server, client = stage.server(), stage.knock()
    client >> m.startup({"user": "app", "database": "app", "work_mem": "1MB"})
    server << query("SET \"work_mem\" TO '1MB'")
    server.leave()
    client << ended("08006") << END
    assert len(stage.door.clients) == 0
    stage.nothing_more()


def test_in_the_middle_of_a_row(stage: Stage) -> None:
    """An error there would be read as the rest of the row: a wrong value. The connection just ends."""
    server, client = stage.server(), stage.client()
    client >> query("select x")
    server << query("select x")
    cut = (DESCRIPTION + row("x" * 50))[:-20]
    server >> cut
    server.leave()
    client << cut << END
    stage.nothing_more()


def test_its_own_last_word_reaches_a_slow_client(stage: Stage) -> None:
    server, client = stage.server(), stage.client(buffer=4096)
    client >> query("select x")
    server << query("select x")
    client.deaf = True
    server.push(DESCRIPTION + row("x" * 30_000) + fatal("57P01"))
    stage.settle()
    server.leave()
    client.deaf = False
    stage.settle()
    client << DESCRIPTION + row("x" * 30_000) + fatal("57P01") << END
    stage.nothing_more()
