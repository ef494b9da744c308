"""The built-in functions of `benchmarks/storm` at work: both clients, directly and through poolproxy."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import asyncpg
import pytest

from benchmarks.storm import events, ledger
from benchmarks.storm.clients import HOLDINGS, METER, CommitRefused, Holdings, Meter, ServerError
from benchmarks.storm.context import Context
from benchmarks.storm.ledger import Verdict
from benchmarks.storm.loading import BUILT_IN, Handler, HandlerSource
from tests.support.cluster import DATABASE, PASSWORDS, Direct
from tests.support.stage import Stage
from tests.support.waiting import eventually

T = TypeVar("T")
SERVERS = 2  #: of the proxy


class Shop:
    """The tables of the handlers, as their owner sees them."""

    def __init__(self, stage: Stage) -> None:
        self._url = stage.postgres.url(DATABASE)

    async def ask(self, question: Callable[..., Awaitable[T]], *args: Any) -> T:
        """One of the ledger's functions, on a connection of its own."""
        connection = await asyncpg.connect(self._url)
        try:
            return await question(connection, *args)
        finally:
            await connection.close()

    async def verdict(self, *acknowledged: tuple[str, int]) -> Verdict:
        await self.ask(ledger.acknowledge, acknowledged)
        return await self.ask(ledger.verdict)


@pytest.fixture(scope="module")
def made(session_stage: Stage) -> Iterator[Shop]:
    shop = Shop(session_stage)
    asyncio.run(shop.ask(ledger.prepare, "app"))
    yield shop
    asyncio.run(shop.ask(ledger.remove))


@pytest.fixture
async def shop(made: Shop) -> Shop:
    """Cleared for this test."""
    await made.ask(ledger.clear)
    return made


@pytest.fixture(params=["lean", "asyncpg"], autouse=True)
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    monkeypatch.setenv("STORM_CLIENT", name)
    return name


@pytest.fixture(params=["direct", "poolproxy"], autouse=True)
def place(request: pytest.FixtureRequest, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    straight = stage.postgres.url(DATABASE, "app", PASSWORDS["app"])
    monkeypatch.setenv("DATABASE_URL", straight if name == "direct" else stage.proxy(pool_size=SERVERS).url())
    return name


@pytest.fixture(autouse=True)
async def holdings(client: str, place: str) -> Any:
    """What the environments of the test hold; all of it is killed in the end."""
    held = Holdings()
    yield held
    held.kill()
    await asyncio.sleep(0)


def context(invocation: str, attempt: int = 1) -> Context:
    return Context("function", 512, invocation, time.time() + 3, time.time, attempt=attempt)


async def environment(name: str, holdings: Holdings) -> Handler:
    """INIT of one."""
    HOLDINGS.set(holdings)
    handler = HandlerSource.find(name).load()
    await handler.initialise()
    return handler


async def test_read(shop: Shop, holdings: Holdings) -> None:
    handler = await environment("read", holdings)
    answer = await handler.invoke(events.read(2, 0.0), context("a"))
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]) == {"id": 5839, "name": "item 5839", "price": 100 + 5839 * 37 % 9900}
    assert await shop.verdict(("a", 1)) == Verdict(1, 1, 1, 0, 0, 0, 0, 0)


async def test_read_of_what_is_not_there(shop: Shop, holdings: Holdings) -> None:
    handler = await environment("read", holdings)
    event = events.api_request("GET", "/items/{id}", 1, 0.0, path_parameters={"id": "0"})
    answer = await handler.invoke(event, context("a"))
    assert answer["statusCode"] == 404
    assert (await shop.verdict(("a", 1))).clean == 1


async def test_order(shop: Shop, holdings: Holdings, direct: Direct) -> None:
    handler = await environment("order", holdings)
    METER.set(meter := Meter())
    event = events.order(5, 0.0)
    wanted = json.loads(event["body"])
    answer = await handler.invoke(event, context("a", attempt=2))
    assert meter.statements == 7  # five between BEGIN and COMMIT
    assert answer["statusCode"] == 201
    told = json.loads(answer["body"])
    ((price, stock),) = direct.rows("select price, stock from storm.item where id = %s", [wanted["item"]])
    assert told["total"] == wanted["quantity"] * price
    assert stock == ledger.STOCK - wanted["quantity"]
    assert direct.rows("select id, customer from storm.purchase") == [(told["order"], wanted["customer"])]
    assert direct.rows("select * from storm.purchase_line") == [
        (told["order"], wanted["item"], wanted["quantity"], price)
    ]
    assert direct.rows("select attempt, part, parts from storm.ledger order by part") == [
        (2, 1, 3),
        (2, 2, 3),
        (2, 3, 3),
    ]
    assert await shop.verdict(("a", 2)) == Verdict(1, 3, 1, 0, 0, 0, 0, 0)


async def test_an_order_that_cannot_be_filled_leaves_nothing(
    shop: Shop, holdings: Holdings, direct: Direct
) -> None:
    handler = await environment("order", holdings)
    event = events.order(5, 0.0)
    direct.rows("update storm.item set stock = 0 where id = %s", [json.loads(event["body"])["item"]])
    with pytest.raises(ValueError, match="only 0 of item"):
        await handler.invoke(event, context("a"))
    assert (await shop.verdict()).rows == 0
    await handler.invoke(events.order(6, 0.0), context("b"))  # the session is as good as before
    assert (await shop.verdict(("b", 1))).clean == 1


async def test_an_order_that_fails_at_its_last_statement_leaves_nothing(
    shop: Shop, holdings: Holdings, direct: Direct
) -> None:
    handler = await environment("order", holdings)
    direct.rows("alter table storm.item add constraint enough check (stock >= 1000000000)")
    try:
        with pytest.raises(ServerError) as caught:
            await handler.invoke(events.order(5, 0.0), context("a"))
    finally:
        direct.rows("alter table storm.item drop constraint enough")
    assert caught.value.sqlstate == "23514"
    assert (await shop.verdict()).rows == 0
    assert direct.value("select count(*) from storm.purchase") == 0


async def test_a_commit_that_fails_is_no_success(shop: Shop, holdings: Holdings, direct: Direct) -> None:
    """Deferred constraints speak up at COMMIT only."""
    handler = await environment("order", holdings)
    direct.rows(
        "alter table storm.purchase add constraint late unique (customer) deferrable initially deferred"
    )
    try:
        await handler.invoke(events.order(5, 0.0), context("a"))
        with pytest.raises((ServerError, CommitRefused)):
            await handler.invoke(events.order(5, 0.0), context("b"))
    finally:
        direct.rows("alter table storm.purchase drop constraint late")
    assert await shop.verdict(("a", 1)) == Verdict(1, 3, 1, 0, 0, 0, 0, 0)


async def test_an_upload_told_twice_is_one_row(shop: Shop, holdings: Holdings, direct: Direct) -> None:
    handler = await environment("upload", holdings)
    event = events.upload(7, 0.0)
    for invocation in ("a", "b"):
        assert await handler.invoke(event, context(invocation)) == {"stored": 1}
    stored = event["Records"][0]["s3"]["object"]
    assert direct.rows("select bucket, key, size, etag from storm.upload") == [
        ("uploads", "2026/photo 7.jpg", stored["size"], stored["eTag"])
    ]
    assert await shop.verdict(("a", 1), ("b", 1)) == Verdict(2, 2, 2, 0, 0, 0, 0, 0)


async def test_a_batch_of_uploads_is_one_transaction(shop: Shop, holdings: Holdings, direct: Direct) -> None:
    handler = await environment("upload", holdings)
    bodies = [json.dumps(events.upload(number, 0.0)) for number in range(10)]
    batch = events.sqs_batch([events.sqs_message("q", body, n, 0.0) for n, body in enumerate(bodies)])
    assert await handler.invoke(batch, context("a")) == {"stored": 10}
    assert direct.value("select count(*) from storm.upload") == 10
    sql = "select min(part), max(part), max(parts), count(distinct transaction) from storm.ledger"
    assert direct.rows(sql) == [(1, 10, 10, 1)]
    assert await shop.verdict(("a", 1)) == Verdict(1, 10, 1, 0, 0, 0, 0, 0)


async def test_report(shop: Shop, holdings: Holdings, direct: Direct) -> None:
    handler = await environment("report", holdings)
    answer = json.loads((await handler.invoke(events.report(1, 0.0), context("a")))["body"])
    assert answer["rows"] == 10_000
    assert answer["amounts"] == dict(
        direct.rows("select region, sum(amount)::int from storm.sale group by 1")
    )
    assert (await shop.verdict(("a", 1))).clean == 1


async def test_leaky(shop: Shop, holdings: Holdings, stage: Stage, direct: Direct, place: str) -> None:
    """Three invocations, three connections, until the environment is killed."""
    before = direct.pids()
    handler = await environment("leaky", holdings)
    METER.set(meter := Meter())
    for invocation in ("a", "b", "c"):
        assert (await handler.invoke(events.read(1, 0.0), context(invocation)))["statusCode"] == 200
    assert (meter.connects, len(meter.first_answers)) == (3, 3)
    assert len(holdings.sessions()) == 3
    if place == "direct":
        assert len(direct.pids() - before) == 3
    else:
        proxy = stage.proxy(pool_size=SERVERS)
        assert proxy.metrics().value("poolproxy_clients_connected") == 3
    holdings.kill()
    await asyncio.sleep(0)
    if place == "direct":
        await asyncio.to_thread(eventually, lambda: direct.pids() <= before, "all of them gone")
    assert await shop.verdict(("a", 1), ("b", 1), ("c", 1)) == Verdict(3, 3, 3, 0, 0, 0, 0, 0)


async def test_a_connection_lost_between_two_invocations_is_opened_anew(
    shop: Shop, holdings: Holdings, client: str, place: str
) -> None:
    handler = await environment("read", holdings)
    METER.set(meter := Meter())
    await handler.invoke(events.read(1, 0.0), context("a"))
    assert meter.connects == 0  # it was INIT that connected
    holdings.kill()
    await handler.invoke(events.read(1, 0.0), context("b"))
    assert meter.connects == 1
    assert (await shop.verdict(("a", 1), ("b", 1))).clean == 2


async def test_killed_in_the_middle_of_an_order(
    shop: Shop, holdings: Holdings, direct: Direct, client: str
) -> None:
    """The timeout wall: nothing of the attempt is there, and its retry goes through."""
    event = events.order(5, 0.0)
    blocker = await asyncpg.connect(shop._url)
    await blocker.execute("BEGIN; LOCK TABLE storm.purchase_line IN EXCLUSIVE MODE")
    handler = await environment("order", holdings)
    running = asyncio.create_task(handler.invoke(event, context("a")))
    await asyncio.to_thread(direct.wait_running, "INSERT INTO storm.purchase_line")
    holdings.kill()
    running.cancel()
    await asyncio.wait([running])
    await blocker.execute("COMMIT")
    await blocker.close()
    handler = await environment("order", holdings)
    await handler.invoke(event, context("a", attempt=2))
    verdict = await shop.verdict(("a", 2))
    assert verdict == Verdict(1, 3, 1, 0, 0, 0, 0, 0)


#: What writes a ledger with every invocation.
WHOLE = [name for name in BUILT_IN if name != "careless"]


async def test_many_environments_of_all_kinds(shop: Shop, client: str, place: str, stage: Stage) -> None:
    """Thirty environments with three invocations each; through poolproxy they share two servers."""
    number_of = 30 if client == "lean" else 12
    acknowledged: list[tuple[str, int]] = []

    async def live(number: int) -> None:
        name = WHOLE[number % len(WHOLE)]
        mine = Holdings()
        handler = await environment(name, mine)
        for turn in range(3):
            invocation = f"{name} {number} {turn}"
            await handler.invoke(events.EVENTS[name](number * 3 + turn, 0.0), context(invocation))
            acknowledged.append((invocation, 1))
        mine.kill()

    await asyncio.gather(*(asyncio.create_task(live(number)) for number in range(number_of)))
    verdict = await shop.verdict(*acknowledged)
    assert (verdict.acknowledged, verdict.clean, verdict.faults) == (number_of * 3, number_of * 3, 0)
    assert verdict.rows == number_of // len(WHOLE) * 3 * (3 + 1 + 3 + 1 + 1 + 1)
    if place == "poolproxy":
        assert stage.proxy(pool_size=SERVERS).metrics().value("poolproxy_database_servers") == SERVERS
