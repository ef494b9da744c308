"""20 tasks that use SQLAlchemy's asyncio extension over asyncpg, which prepares every statement by name."""

import asyncio
import datetime

import asyncpg
import sqlalchemy
from crowd import CLIENTS, tasks, tell
from shop import URL, Base, Customer, Order, Stock, order, plain
from sqlalchemy import delete, event, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import selectinload
from sqlalchemy.orm.exc import StaleDataError

engine = create_async_engine(
    f"postgresql+asyncpg://{URL}", pool_size=CLIENTS, max_overflow=0, pool_pre_ping=True
)
Sessions = async_sessionmaker(engine, expire_on_commit=False)


def state(error):
    return error.orig.sqlstate


async def orm(n):
    async with Sessions() as session, session.begin():
        customer = Customer(client=n, name=f"customer {n}", seen=datetime.datetime(2001, 2, 3, 4, 5, 6))
        customer.orders = [order(n, number) for number in range(10)]
        session.add(customer)
    async with Sessions() as session:
        chosen = select(Customer).where(Customer.client == n).options(selectinload(Customer.orders))
        found = (await session.scalars(chosen)).one()
        return [found.name, str(found.seen), [plain(o) for o in found.orders]]


async def queries(n):
    seen = []
    async with Sessions() as session:
        for turn in range(12):
            total = (
                select(func.sum(Order.amount))
                .join(Customer)
                .where(Customer.client == n, Order.number >= turn)
            )
            seen.append(str(await session.scalar(total)))
            if turn % 3 == 0:
                await session.commit()
    return seen


async def savepoints(n):
    async with Sessions() as session, session.begin():
        session.add(Customer(client=n, name="outer"))
        async with session.begin_nested():
            session.add(Customer(client=n, name="inner"))
        failed = []
        for _ in range(3):
            try:
                async with session.begin_nested():
                    session.add(Customer(client=n, name="inner"))
            except IntegrityError as error:
                failed.append(state(error))
        names = select(Customer.name).where(Customer.client == n).order_by(Customer.name)
        return [failed, list(await session.scalars(names))]


async def failing(n):
    seen = []
    async with engine.connect() as connection:
        for statement in ("select 1/0", "select * from nosuch", "selec"):
            for each in (statement, "select 1"):
                try:
                    await connection.execute(text(each))
                except DBAPIError as error:
                    seen.append(state(error))
            await connection.rollback()
        seen.append(await connection.scalar(text("select 'after'")))
    return seen


async def bulk(n):
    async with Sessions() as session, session.begin():
        ids = (
            await session.scalars(
                insert(Customer).returning(Customer.id, sort_by_parameter_order=True),
                [{"client": n, "name": f"bulk {number:04}"} for number in range(1500)],
            )
        ).all()
        await session.execute(
            update(Customer), [{"id": key, "seen": datetime.datetime(2002, 1, 1)} for key in ids[:200]]
        )
        mine = [Customer.client == n, Customer.name.like("bulk%")]
        counted = await session.scalar(select(func.count()).where(*mine, Customer.seen.is_not(None)))
        removed = (await session.execute(delete(Customer).where(*mine))).rowcount
    return [len(ids), sorted(ids) == list(ids), counted, removed]


async def server_side(n):
    """A cursor that asyncpg keeps open as a portal of a named statement."""
    async with engine.connect() as connection:
        rows = []
        async with connection.stream(text("select n from generate_series(1, 1000) n")) as result:
            rows = [row.n async for row in result]
        part = await connection.stream(
            text("select n from generate_series(1, 1000) n where n > :n"), {"n": n}
        )
        first = await part.fetchmany(3)
        await part.close()
    return [len(rows), sum(rows), [row.n for row in first]]


async def isolation(n):
    seen = []
    show = text("show transaction_isolation")
    for level in ("SERIALIZABLE", "READ COMMITTED", "AUTOCOMMIT", "REPEATABLE READ"):
        async with engine.execution_options(isolation_level=level).connect() as connection:
            seen.append(await connection.scalar(show))
    async with engine.connect() as connection:
        seen.append(await connection.scalar(show))
    return seen


async def optimistic(n):
    while True:
        try:
            async with Sessions() as session, session.begin():
                row = (await session.scalars(select(Stock).where(Stock.name == "shared"))).one()
                row.pieces -= 1
            return "taken"
        except StaleDataError:
            continue


async def locked(n):
    async with Sessions() as session, session.begin():
        row = (await session.scalars(select(Stock).where(Stock.name == "locked").with_for_update())).one()
        row.pieces -= 1
    return "taken"


async def settings(n):
    """Settings given at connect, and a search path by an event."""
    own = create_async_engine(
        f"postgresql+asyncpg://{URL}",
        pool_size=1,
        max_overflow=0,
        connect_args={
            "server_settings": {"work_mem": "8MB", "jit": "off", "application_name": f"client {n}"}
        },
    )

    @event.listens_for(own.sync_engine, "connect")
    def connected(connection, _):
        cursor = connection.cursor()
        cursor.execute("set search_path to tenant_a, public")
        cursor.close()
        connection.commit()

    seen = []
    for _ in range(4):
        async with own.connect() as connection:
            seen.append(await connection.scalar(text("select name from whose")))
            asked = ", ".join(
                f"current_setting('{name}')" for name in ("work_mem", "jit", "application_name")
            )
            names = text(f"select {asked}")
            seen.append(list((await connection.execute(names)).one()))
    await own.dispose()
    return seen


async def driver(n):
    """asyncpg's own ways below SQLAlchemy: its pool's reset, COPY, a cursor, LISTEN."""
    pool = await asyncpg.create_pool(f"postgresql://{URL}", min_size=1, max_size=2)
    seen = []
    for turn in range(3):
        async with pool.acquire() as connection:
            await connection.execute("set work_mem to '9MB'")
            seen.append(
                await connection.fetchval("select current_setting('work_mem') || $1::text", f" {n} {turn}")
            )
        async with pool.acquire() as connection:
            seen.append(await connection.fetchval("select current_setting('work_mem')"))
    async with pool.acquire() as connection:
        rows = [(n, f"copied {number}", None) for number in range(500)]
        seen.append(
            await connection.copy_records_to_table(
                "customer", records=rows, columns=["client", "name", "seen"]
            )
        )
        async with connection.transaction():
            seen.append(
                [r[0] async for r in connection.cursor("select n from generate_series(1, 10) n", prefetch=4)]
            )
        heard = asyncio.get_running_loop().create_future()
        await connection.add_listener(
            f"crowd{n}", lambda _c, _p, channel, payload: heard.set_result([channel, payload])
        )
        await connection.execute(f"notify crowd{n}, 'hello'")
        seen.append(await heard)
        await connection.reset()
        await connection.executemany(
            "insert into customer (client, name) values ($1, $2)", [(n, f"many {i}") for i in range(50)]
        )
        seen.append(await connection.fetchval("select count(*) from customer where client = $1", n))
    await pool.close()
    return seen


STEPS = (
    orm,
    queries,
    savepoints,
    failing,
    bulk,
    server_side,
    isolation,
    optimistic,
    locked,
    settings,
    driver,
)


async def client(n):
    for step in STEPS:
        tell(n, step.__name__, await step(n))


async def main():
    tell(None, "versions", {"SQLAlchemy": sqlalchemy.__version__, "asyncpg": asyncpg.__version__})
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(
            insert(Stock), [{"name": name, "pieces": 100, "version": 1} for name in ("shared", "locked")]
        )
        await connection.execute(text("create schema tenant_a"))
        await connection.execute(text("create table tenant_a.whose as select 'of a' as name"))
    await tasks(client)
    await engine.dispose()


asyncio.run(main())
