"""More connections than there are places, or logins than may be under way: accepting pauses, and who says
nothing is waited for less long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from poolproxy.frontend.entrance import CROWDED_LOGIN_TIMEOUT, CROWDED_SILENCE
from poolproxy.settings import LOGIN_ROOM
from tests.dialogues.stage import ClientPeer, Stage
from tests.dialogues.words import END, ended
from tests.support import messages as m

STARTUP = m.startup({"user": "app", "database": "app"})
LIMIT = 4


class FakeListener:
    """Remembers whether it is to accept."""

    def __init__(self) -> None:
        self.accepting = True

    def pause(self) -> None:
        self.accepting = False

    def resume(self) -> None:
        self.accepting = True

    def close(self) -> None:
        """Nothing is held."""


def listening(stage: Stage) -> FakeListener:
    listener = FakeListener()
    stage.door.listeners.append(cast(Any, listener))
    return listener


def crowded(
    stages: Callable[..., Stage], *, clients: int, **settings: Any
) -> tuple[Stage, FakeListener, list[ClientPeer]]:
    """A door with one place left for connections, `clients` logged in and the others silent."""
    stage = stages(max_client_connections=LIMIT, client_login_timeout=60, **settings)
    listener = listening(stage)
    stage.server()
    for _ in range(clients):
        stage.client()
    silent = [stage.knock() for _ in range(LIMIT + LOGIN_ROOM - clients - 1)]
    assert listener.accepting
    return stage, listener, silent


def test_accepting_pauses_when_every_place_is_taken(stages: Callable[..., Stage]) -> None:
    """Logins that do not end leave the descriptors of servers and HTTP alone."""
    stage, listener, silent = crowded(stages, clients=2)
    silent.append(stage.knock())
    assert not listener.accepting
    assert stage.door.pauses == {"clients": 1}
    silent.pop().leave()
    assert listener.accepting, "at once, not only at the next tick"
    stage.nothing_more()


def test_one_too_many_is_told_so_when_it_logs_in(stages: Callable[..., Stage]) -> None:
    stage, listener, _ = crowded(stages, clients=LIMIT)
    late = stage.knock()
    assert not listener.accepting
    late >> STARTUP
    late << ended("53300", "max_client_connections") << END
    late.leave()
    stage.later(0.1)
    assert listener.accepting
    assert stage.door.rejections == {"too_many_clients": 1}


def test_there_is_room_when_a_client_leaves(stages: Callable[..., Stage]) -> None:
    stage, listener, _ = crowded(stages, clients=0)
    client = stage.client()
    assert not listener.accepting, "it has taken the last place, and keeps it"
    client.leave()
    assert listener.accepting


def test_who_says_nothing_makes_way_for_who_waits(stages: Callable[..., Stage]) -> None:
    """With room, a login has client_login_timeout; without, a second to say anything, and a few to be done:
    nobody can keep users out."""
    stage, listener, silent = crowded(stages, clients=0)
    slow = silent.pop()
    slow >> STARTUP[:20]
    stage.later(CROWDED_SILENCE + 0.1)
    stage.nothing_more()
    last = stage.knock()
    assert not listener.accepting
    stage.later(0.1)
    for peer in silent:
        peer << ended("08P01", "not finished within 1 s") << END
    assert listener.accepting
    stage.later(CROWDED_LOGIN_TIMEOUT + 1)
    stage.nothing_more()
    assert len(stage.door.logins) == 2, "those that are left have all their time again"
    last.leave()
    slow.leave()
    assert stage.door.login_results[("trust", "timeout")] == len(silent)


def test_who_says_too_little_makes_way_a_little_later(stages: Callable[..., Stage]) -> None:
    stage, listener, silent = crowded(stages, clients=0)
    for peer in silent:
        peer >> STARTUP[:20]
    stage.knock() >> STARTUP[:1]
    assert not listener.accepting
    stage.later(CROWDED_LOGIN_TIMEOUT - 1.0)  # the machine may take its time as well
    stage.nothing_more()
    stage.later(1.1)
    for peer in silent:
        peer << ended("08P01", "not finished within 3 s") << END
    assert listener.accepting


def test_accepting_pauses_when_so_many_are_logging_in(stages: Callable[..., Stage]) -> None:
    """Nobody is refused: who comes then waits in the kernel until some have logged in or left."""
    stage = stages(max_client_connections=100, max_logins=16)
    listener = listening(stage)
    stage.server()
    peers = [stage.knock() for _ in range(16)]
    assert not listener.accepting
    assert stage.door.pauses == {"logins": 1}
    for number, peer in enumerate(peers[:3], 1):
        peer >> STARTUP
        for server in stage.servers:
            if server.heard:
                server.learn()
        peer.greeted()
        assert listener.accepting == (number == 3), "a few at once"
    stage.nothing_more()
    assert stage.door.rejections == {}


def test_clients_are_no_logins(stages: Callable[..., Stage]) -> None:
    stage = stages(max_client_connections=100, max_logins=1)
    listener = listening(stage)
    stage.server()
    for _ in range(5):
        stage.client()
        assert listener.accepting
    assert stage.door.pauses == {"logins": 5}, "while one was logging in"


def test_silent_ones_leave_the_logins_to_those_who_speak(stages: Callable[..., Stage]) -> None:
    """Ten times as many as may log in, and one that is honest: it waits a second for each ten of them."""
    stage = stages(max_client_connections=1000, max_logins=10, client_login_timeout=60)
    listener = listening(stage)
    stage.server()
    backlog, seconds = 100, 0.0
    while backlog:
        while backlog and listener.accepting:
            stage.knock()
            backlog -= 1
        stage.later(0.25)
        seconds += 0.25
    while not listener.accepting:
        stage.later(0.25)
        seconds += 0.25
    stage.client()
    assert seconds <= 10 * (CROWDED_SILENCE + 0.25)
    assert stage.door.login_results[("trust", "timeout")] == 100


def test_no_answer_is_held_back_where_places_are_short(stages: Callable[..., Stage]) -> None:
    """Who waits to hear that its password was wrong hears it, and its place is free."""
    stage, listener, _ = crowded(stages, clients=0, auth_method="md5", failed_login_delay=5)
    guesser = stage.knock()
    assert not listener.accepting
    guesser >> STARTUP
    guesser.take()
    guesser >> m.message("p", b"md5nonsense\0")
    guesser << ended("28P01") << END
    assert len(stage.door.failures) == 0
    stage.later(0.1)
    assert listener.accepting


def test_running_out_of_descriptors_does_not_open_a_full_door(stages: Callable[..., Stage]) -> None:
    stage, listener, _ = crowded(stages, clients=1)
    stage.knock()
    stage.door.exhausted(cast(Any, listener))
    stage.later(0.1)
    assert not listener.accepting
    assert stage.door.pauses == {"clients": 1, "descriptors": 1}


def test_last_words_that_are_not_taken_hold_a_place(stages: Callable[..., Stage]) -> None:
    """A client that is told an error and does not read it has its descriptor for a few seconds more."""
    stage, listener, _ = crowded(stages, clients=0)
    server = stage.servers[0]
    deaf = stage.client(buffer=4096)
    assert not listener.accepting
    deaf.deaf = True
    deaf >> m.query("select 1")
    server << m.query("select 1")
    server.push(m.message("D", b"\0\1\0\0\x75\x30" + b"x" * 30_000))
    stage.settle()
    stage.door.dismiss_all()
    assert len(stage.door.clients) == 0
    stage.later(0.1)
    assert not listener.accepting
    stage.later(6)
    assert listener.accepting
