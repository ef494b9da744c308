"""Clients that share servers, taking turns in every way: none ever hears a byte of another one's."""

from __future__ import annotations

import random

import pytest

from tests.dialogues.stage import ClientPeer, ServerPeer, Stage
from tests.dialogues.words import BOUND, DESCRIPTION, PARSED, done, error, notice, ready, row, tag
from tests.support import messages as m
from tests.support.messages import SYNC, Message, bind, execute, parse, query


def secret(number: int, turn: int) -> str:
    return f"client {number} turn {turn}"


def asked_by(number: int, turn: int) -> tuple[bytes, bytes]:
    """What this client asks in this turn, and what it must hear; both hold its own words."""
    text = secret(number, turn)
    shown = DESCRIPTION + row(text) + tag("SELECT 1")
    return [
        (query(f"select '{text}'"), shown + ready()),
        (parse(f"select '{text}'") + bind() + execute() + SYNC, PARSED + BOUND + shown + ready()),
        (query(f"select 1/0 -- {text}"), notice(text) + error("22012", text) + ready()),
        (query(f"select '{text}'") * 2, (shown + ready()) * 2),
        (parse(f"select '{text}'") + SYNC, PARSED + ready()),
    ][(number + turn) % 5]


class Play:
    """PostgreSQL behind the servers of a stage, which answers what it is asked with its words."""

    def __init__(self, stage: Stage, servers: list[ServerPeer]) -> None:
        self.stage = stage
        self.servers = servers
        self.parsed: dict[str, str] = {}  # server -> the words in its unnamed statement

    def answer(self, chance: random.Random) -> bool:
        """Let one server say one message of the answers that it owes; False when none owes any."""
        speaking = [server for server in self.servers if server.heard]
        if not speaking:
            return False
        server = chance.choice(speaking)
        server >> self.reply(server.name, server.take())
        return True

    def reply(self, name: str, said: Message) -> bytes:
        text = said.body.decode("latin-1")
        if said.letter == "Q" and "'" in text:
            return DESCRIPTION + row(text.split("'")[1]) + tag("SELECT 1") + ready()
        if said.letter == "Q":
            words = text.partition("-- ")[2].rstrip("\0")
            return notice(words) + error("22012", words) + ready()
        if said.letter == "P":
            self.parsed[name] = text.split("'")[1]
        return {
            "P": PARSED,
            "B": BOUND,
            "E": DESCRIPTION + row(self.parsed.get(name, "")) + tag("SELECT 1"),
            "S": ready(),
        }[said.letter]


@pytest.mark.parametrize("seed", range(6))
def test_everybody_hears_what_is_theirs(stage: Stage, seed: int) -> None:
    chance = random.Random(seed)
    servers = [stage.server(), stage.server()]
    clients = [stage.client() for _ in range(5)]
    play = Play(stage, servers)
    expected = [bytearray() for _ in clients]
    for turn in range(8):
        order = list(enumerate(clients))
        chance.shuffle(order)
        for number, client in order:
            asked, said = asked_by(number, turn)
            client >> asked
            expected[number] += said
            if chance.random() < 0.6:
                play.answer(chance)
        while play.answer(chance):
            pass
    for number, client in enumerate(clients):
        client << bytes(expected[number])
    assert len(stage.pool().idle) == 2
    stage.nothing_more()


def test_answers_in_pieces_reach_whom_they_are_for(stage: Stage) -> None:
    """The next client is served at the last byte of an answer, not before."""
    server, client, other = stage.server(), stage.client(), stage.client()
    client >> query("select 'mine'")
    other >> query("select 'other'")
    mine = DESCRIPTION + row("mine") + done("SELECT 1")
    server << query("select 'mine'")
    server >> mine[:20]
    server >> mine[20:-1]
    assert not server.heard
    server >> mine[-1:]
    client << mine
    server << query("select 'other'")
    server >> DESCRIPTION + row("other") + done("SELECT 1")
    other << DESCRIPTION + row("other") + done("SELECT 1")
    stage.nothing_more()


def test_two_pools_do_not_share_servers(stage: Stage) -> None:
    """Another user, another pool: also when the database is the same."""
    mine, client = stage.server(), stage.client()
    stranger: ClientPeer = stage.knock()
    stranger >> m.startup({"user": "eve", "database": "app"})
    assert not stranger.heard
    stage.ask(client, mine, "select 1")
    theirs = stage.server(stage.pool("eve"))
    theirs.learn()
    stranger.greeted()
    stranger >> query("select 2")
    theirs << query("select 2")
    assert not mine.heard
