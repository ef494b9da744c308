"""Dialogues nobody wrote: clients say anything at any time, servers answer as PostgreSQL counts.

Nobody hears another one's words, nothing breaks inside, and every server is free in the end.
"""

from __future__ import annotations

import random
import re

import pytest

from poolproxy.session.lifecycle import SERVER_ACTIVE, SERVER_RESETTING
from tests.dialogues.fake_postgres import FakePostgres, signed
from tests.dialogues.stage import ClientPeer, Stage
from tests.support import messages as m

STEPS = 120


class Crowd:
    """Some clients and some servers, and chance."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.chance = random.Random(seed)
        self.servers: list[FakePostgres] = []
        self.clients: list[ClientPeer] = []
        self.told: dict[str, set[bytes]] = {}

    def serve(self) -> None:
        """A new server."""
        self.servers.append(FakePostgres(self.stage.server()))

    def join(self) -> None:
        """A new client. It does not wait for its greeting, which may take a while."""
        client = self.stage.knock()
        client >> m.startup({"user": "app", "database": "app", "app.who": client.name})
        self.clients.append(client)

    def message(self, client: ClientPeer) -> bytes:
        """Anything that a client may say, sensible or not."""
        kind = self.chance.choice("QQQqC")
        text = signed(client.name, kind)
        said = self.chance.choice(
            [
                m.query(text),
                m.query(text),
                m.query(signed(client.name, "B", "begin")),
                m.query(signed(client.name, "R", "rollback")),
                m.parse(text) + m.bind() + m.execute() + m.SYNC,
                m.parse(text) + m.bind() + m.execute() + m.SYNC,
                m.parse(text),
                m.bind(),
                m.bind() + m.execute(),
                m.describe_statement(),
                m.close_statement("none"),
                m.execute(),
                m.SYNC,
                m.SYNC,
                m.FLUSH,
                m.copy_data(b"1\n"),
                m.COPY_DONE,
                m.copy_fail("no"),
                m.function_call(957, b"1"),
            ]
        )
        return said[: len(said) // 2] if self.chance.random() < 0.02 else said

    def say(self, client: ClientPeer) -> None:
        try:
            client >> self.message(client)
        except BlockingIOError:  # nobody reads it, and single bytes fill a socket soon
            self.clients.remove(client)
            client.leave()

    def answer(self) -> bool:
        """Let one server answer one message."""
        servers = list(self.servers)
        self.chance.shuffle(servers)
        return any(server.answer() for server in servers)

    def answer_all(self) -> None:
        while self.answer():
            pass

    def step(self) -> None:
        """Something happens."""
        luck = self.chance.random()
        client = self.chance.choice(self.clients)
        if luck < 0.6:
            self.say(client)
        elif luck < 0.93:
            self.answer()
        elif luck < 0.95:
            self.clients.remove(client)
            self.listen(client)
            client.push(self.chance.choice([m.TERMINATE, b""]))
            client.leave()
        elif luck < 0.96:
            server = self.chance.choice(self.servers)
            server.peer.leave()
            server.model.dead = True
        self.listen(client)
        self.replace()

    def listen(self, client: ClientPeer) -> None:
        """Whose words it has heard."""
        self.told.setdefault(client.name, set()).update(re.findall(rb"client \d+", bytes(client.heard)))

    def replace(self) -> None:
        """Whoever was hung up on comes back as another one."""
        for client in [client for client in self.clients if client.ended]:
            self.listen(client)
            self.clients.remove(client)
        self.servers = [server for server in self.servers if not server.gone()]
        while len(self.servers) < 2:
            self.serve()
        while len(self.clients) < 4:
            self.join()


@pytest.mark.parametrize("seed", range(25))
def test_nobody_hears_another_ones_words(stage: Stage, seed: int) -> None:
    crowd = Crowd(stage, seed)
    crowd.replace()
    for _ in range(STEPS):
        crowd.step()
    crowd.answer_all()
    for client in crowd.clients:
        crowd.listen(client)
        client.leave()
    crowd.serve()  # for what those have still to be told, or to ask, who left the queue
    crowd.answer_all()
    assert {name: words for name, words in crowd.told.items() if words - {name.encode()}} == {}
    assert len(stage.door.clients) == 0
    assert not stage.pool().in_state(SERVER_ACTIVE)
    # What only nonsense has left open is not waited for without end.
    assert all(server.rescue_until for server in stage.pool().in_state(SERVER_RESETTING))
