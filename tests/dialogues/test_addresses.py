"""Where clients come from: how many of one address may be here, and who hears late that its password was
wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from poolproxy.frontend.addresses import MOST_HELD, SPARE
from tests.dialogues.stage import PASSWORD, ClientPeer, Stage
from tests.dialogues.words import END, answer, ended
from tests.support import messages as m

HERE, THERE = "192.0.2.1:1000", "192.0.2.2:1000"
STARTUP = m.startup({"user": "app", "database": "app"})
TOO_MANY = ended("53300", "max_connections_per_address")
WRONG = ended("28P01", "password authentication failed")

Stages = Callable[..., Stage]


def limited(stages: Stages, limit: int = 2, **settings: Any) -> Stage:
    stage = stages(max_connections_per_address=limit, **settings)
    stage.server()
    return stage


def empty(stage: Stage) -> None:
    """Whoever has left has given his place back."""
    assert len(stage.door.places) == 0, stage.door.places
    assert len(stage.door.failures) == 0
    assert not stage.door.logins


def md5(client: ClientPeer, password: str, user: str = "app") -> None:
    """Prove it."""
    asked = client.take()
    inner = hashlib.md5((password + user).encode()).hexdigest()
    outer = hashlib.md5(inner.encode() + asked.body[4:]).hexdigest()
    client >> m.message("p", b"md5" + outer.encode() + b"\0")


def guess(stage: Stage, password: str = "wrong", address: str = HERE, user: str = "app") -> ClientPeer:
    client = stage.knock(address=address)
    client >> m.startup({"user": user, "database": "app"})
    md5(client, password, user)
    return client


# Connections of an address.


def test_one_too_many_from_an_address(stages: Stages) -> None:
    stage = limited(stages)
    first, _ = stage.client(address=HERE), stage.client(address=HERE)
    third = stage.knock(address="192.0.2.1:7")
    third >> STARTUP
    third << TOO_MANY << END
    stage.client(address=THERE)
    assert stage.door.rejections == {"too_many_from_address": 1}
    first.leave()
    stage.client(address=HERE)
    stage.nothing_more()


def test_without_a_limit_nobody_is_counted(stages: Stages) -> None:
    stage = stages()
    stage.server()
    for _ in range(5):
        stage.client(address=HERE)
    assert len(stage.door.places) == 0


def test_a_login_counts_and_comes_first(stages: Stages) -> None:
    """Two silent ones have come before: the third is refused, and they are not."""
    stage = limited(stages)
    silent = [stage.knock(address=HERE) for _ in range(2)]
    third = stage.knock(address=HERE)
    third >> STARTUP
    third << TOO_MANY << END
    for peer in silent:
        peer >> STARTUP
        for server in stage.servers:
            if server.heard:
                server.learn()
        peer.greeted()
    stage.nothing_more()


def test_a_place_that_became_free_meanwhile(stages: Stages) -> None:
    stage = limited(stages, 1)
    first = stage.client(address=HERE)
    second = stage.knock(address=HERE)
    first.leave()
    second >> STARTUP
    second.greeted()
    third = stage.knock(address=HERE)
    third >> STARTUP
    third << TOO_MANY << END
    stage.nothing_more()


def test_all_of_a_64_are_one(stages: Stages) -> None:
    stage = limited(stages, 1)
    stage.client(address="[2001:db8::1]:5")
    other = stage.knock(address="[2001:db8::2]:5")
    other >> STARTUP
    other << TOO_MANY << END
    stage.client(address="[2001:db8:0:1::1]:5")
    stage.nothing_more()


def test_unix_sockets_are_not_counted(stages: Stages) -> None:
    stage = limited(stages, 1)
    for _ in range(4):
        stage.client(address="unix")
    stage.nothing_more()


def test_a_cancel_request_comes_beyond_the_limit(stages: Stages) -> None:
    stage = limited(stages, 1)
    server, client = stage.servers[0], stage.client(address=HERE)
    client >> m.query("select pg_sleep(1000)")
    server << m.query("select pg_sleep(1000)")
    canceller = stage.knock(address=HERE)
    canceller >> m.cancel_request(client.pid, client.key)
    canceller << END
    assert stage.pools.canceller.asked == [server.server]
    server >> answer("1")
    client << answer("1")
    server.server.cancel_over()
    client.leave()
    empty(stage)
    stage.nothing_more()


def test_far_beyond_the_limit_nobody_is_listened_to(stages: Stages) -> None:
    """Silent ones do not hold more than a few descriptors either."""
    stage = limited(stages, 1)
    peers = [stage.knock(address=HERE) for _ in range(1 + SPARE)]
    stage.nothing_more()
    far = stage.knock(address=HERE)
    far << TOO_MANY << END
    assert stage.door.rejections == {"too_many_from_address": 1}
    stage.client(address=THERE)
    for peer in [*peers, far]:
        peer.leave()
    assert stage.door.places.of("192.0.2.1") == 0
    stage.nothing_more()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        STARTUP[:20],
        STARTUP,
        m.ssl_request(),
        b"GET / HTTP/1.1\r\n\r\n",
        m.startup({"user": "app", "database": "app", "replication": "true"}),
        m.startup({"user": "app", "database": "nowhere"}),
        m.cancel_request(1, b"1234"),
    ],
    ids=["silent", "half", "startup", "ssl", "http", "replication", "database", "cancel"],
)
@pytest.mark.parametrize("method", ["trust", "md5"])
@pytest.mark.parametrize("end", ["leaves", "times out", "drained", "dismissed"])
def test_every_way_out_gives_the_place_back(stages: Stages, said: bytes, method: str, end: str) -> None:
    stage = limited(stages, auth_method=method)
    peer = stage.knock(address=HERE)
    peer >> said
    for server in stage.servers:
        if server.heard:
            server.learn()
    if end == "leaves":
        peer.leave()
    elif end == "times out":
        stage.later(100)
        stage.door.dismiss_all()
    elif end == "drained":
        stage.door.drain()
        stage.door.dismiss_idle()
    else:
        stage.door.dismiss_all()
        stage.later(100)
    stage.settle()
    empty(stage)
    assert len(stage.door.clients) == 0


@pytest.mark.parametrize("error", ["53300", "XX000"])
def test_a_login_that_fails_at_its_very_end_gives_it_back(stages: Stages, error: str) -> None:
    stage = limited(stages, max_client_connections=1)
    if error == "53300":
        stage.client(address=THERE)
    else:
        stage.pools.pool = broken
    peer = stage.knock(address=HERE)
    peer >> m.startup({"user": "other", "database": "app"})
    peer << ended(error) << END
    assert stage.door.places.of("192.0.2.1") == 0
    stage.internal_errors.clear()


def broken(_: object) -> None:
    raise RuntimeError("on purpose")


# PROXY headers.


def header(address: str) -> bytes:
    return f"PROXY TCP4 {address} 192.0.2.99 51000 5432\r\n".encode()


def test_whom_a_balancer_forwards_counts_and_not_the_balancer(stages: Stages) -> None:
    stage = limited(stages, 1, proxy_protocol_networks=["10.0.0.0/8"])
    silent = [stage.knock(address="10.0.0.1:5") for _ in range(20)]
    assert len(stage.door.places) == 0
    for number, peer in enumerate(silent[:3]):
        peer >> header(f"198.51.100.{number}") + STARTUP
        for server in stage.servers:
            if server.heard:
                server.learn()
        peer.greeted()
    second = silent[3]
    second >> header("198.51.100.1") + STARTUP
    second << TOO_MANY << END
    silent[1].leave()
    silent[4] >> header("198.51.100.1") + STARTUP
    silent[4].greeted()
    for peer in silent[5:7]:
        peer >> b"PROXY UNKNOWN\r\n" + STARTUP
        peer.greeted()
    stage.nothing_more()
    for peer in silent:
        peer.leave()
    empty(stage)


def test_far_too_many_forwarded_from_one_address(stages: Stages) -> None:
    stage = limited(stages, 1, proxy_protocol_networks=["10.0.0.0/8"])
    peers = [stage.knock(address="10.0.0.1:5") for _ in range(2 + SPARE)]
    for peer in peers:
        peer >> header("198.51.100.1")
    peers[-1] << TOO_MANY << END
    stage.nothing_more()


# Failures.


def slowed(stages: Stages, **settings: Any) -> Stage:
    stage = stages(auth_method="md5", failed_login_delay=1, **settings)
    stage.server()
    return stage


@pytest.mark.parametrize("user", ["app", "nobody"])
def test_a_wrong_password_is_answered_later_each_time(stages: Stages, user: str) -> None:
    """Known users and others alike: who exists is not told by the time it takes either."""
    stage = slowed(stages)
    for seconds in (1, 2, 4, 5, 5):
        client = guess(stage, user=user)
        assert stage.door.login_results[("md5", "failed")], "counted when it happens"
        assert not stage.door.logins
        stage.later(seconds - 0.1)
        stage.nothing_more()
        stage.later(0.1)
        client << WRONG << END
        client.leave()
    empty(stage)


def test_a_right_password_is_answered_at_once(stages: Stages) -> None:
    """Whatever others behind its address have done, and it does not clear it."""
    stage = slowed(stages)
    held = [guess(stage) for _ in range(4)]
    client = guess(stage, PASSWORD)
    stage.servers[0].learn()
    client.greeted()
    stage.ask(client, stage.servers[0], "select 1")
    other = guess(stage)
    stage.later(4.9)
    for peer in held[:3]:
        peer << WRONG << END
    stage.nothing_more()
    stage.later(0.1)
    held[3] << WRONG << END
    other << WRONG << END
    stage.nothing_more()


def test_other_addresses_are_not_slowed(stages: Stages) -> None:
    stage = slowed(stages)
    for _ in range(5):
        guess(stage)
    other = guess(stage, address=THERE)
    stage.later(1)
    other << WRONG << END


def test_trust_fails_nobody(stages: Stages) -> None:
    stage = stages(failed_login_delay=1)
    stage.server()
    stage.client(address=HERE)
    assert stage.door.failures.remembered() == 0


def test_only_passwords_are_slow(stages: Stages) -> None:
    """What else is wrong with a login is told at once."""
    stage = slowed(stages)
    client = stage.knock(address=HERE)
    client >> b"GET / HTTP/1.1\r\n\r\n"
    client << ended("08P01") << END
    right = stage.knock(address=HERE)
    right >> m.startup({"user": "app", "database": "nowhere"})
    md5(right, PASSWORD)
    right << ended("3D000") << END
    assert stage.door.failures.remembered() == 0


def test_who_leaves_meanwhile_holds_nothing(stages: Stages) -> None:
    stage = slowed(stages)
    client = guess(stage)
    assert len(stage.door.failures) == 1
    client.leave()
    assert len(stage.door.failures) == 0
    stage.later(10)
    stage.nothing_more()


def test_who_goes_on_talking_is_not_listened_to(stages: Stages) -> None:
    stage = slowed(stages)
    client = guess(stage)
    client >> m.query("select 1") * 3
    stage.nothing_more()
    stage.later(1)
    client << WRONG << END


@pytest.mark.parametrize("sent", [b"", m.TERMINATE, b"x" * 20_000], ids=["nothing", "terminate", "much"])
def test_who_has_left_by_then_holds_nothing(stages: Stages, sent: bytes) -> None:
    """It sends its proof and is gone, before we have read either."""
    stage = slowed(stages)
    client = stage.knock(address=HERE)
    client >> STARTUP
    client.take()
    client.push(m.message("p", b"md5nonsense\0") + sent)
    client.leave()
    stage.later(1 if len(sent) > 10_000 else 0.1)
    empty(stage)


def test_answers_held_back_are_bounded(stages: Stages) -> None:
    """One more is answered at once: descriptors are for clients and servers."""
    stage = slowed(stages)
    for _ in range(MOST_HELD):
        guess(stage)
    one_more = guess(stage, address=THERE)
    one_more << WRONG << END
    stage.later(5)
    empty(stage)


def test_a_drain_waits_for_no_answer(stages: Stages) -> None:
    stage = slowed(stages)
    client = guess(stage)
    stage.door.drain()
    stage.settle()
    client << WRONG << END
    empty(stage)


def test_a_failed_login_keeps_its_place_until_its_answer_is_due(stages: Stages) -> None:
    """Where connections of an address are limited, so are guesses in a time: also of who does not wait."""
    stage = slowed(stages, max_connections_per_address=2)
    guess(stage).leave()
    guess(stage).leave()
    third = stage.knock(address=HERE)
    third >> STARTUP
    third << TOO_MANY << END
    other = guess(stage, PASSWORD, THERE)
    stage.servers[0].learn()
    other.greeted()
    stage.later(1)
    fourth = guess(stage)
    stage.later(5)
    fourth << WRONG << END
    other.leave()
    empty(stage)


def test_a_balancers_own_failures_are_nobodys(stages: Stages) -> None:
    stage = slowed(stages, proxy_protocol_networks=["10.0.0.0/8"])
    for ahead, held in ((b"PROXY UNKNOWN\r\n", 0), (header("198.51.100.1"), 1)):
        client = stage.knock(address="10.0.0.1:5")
        client >> ahead + STARTUP
        md5(client, "wrong")
        assert len(stage.door.failures) == held
        stage.later(1)
        client << WRONG << END


def test_an_internal_error_of_a_held_one_ends_it(stages: Stages) -> None:
    stage = slowed(stages)
    client = guess(stage)
    (login,) = stage.door.failures.all()
    stage.door.failures.hold(login, 99.0)
    login.fail(RuntimeError("on purpose"))
    stage.settle()
    client << END
    empty(stage)
    assert stage.door.login_results == {("md5", "failed"): 1}
