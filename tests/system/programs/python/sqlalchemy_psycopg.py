"""20 threads that use SQLAlchemy's ORM and core over psycopg 3, through its own pool with its reset."""

import datetime

import psycopg
import sqlalchemy
from crowd import CLIENTS, tell, threads
from shop import URL, Base, Customer, Order, Stock, order, plain
from sqlalchemy import create_engine, delete, event, func, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, joinedload, selectinload, sessionmaker
from sqlalchemy.orm.exc import StaleDataError

engine = create_engine(f"postgresql+psycopg://{URL}", pool_size=CLIENTS, max_overflow=0, pool_pre_ping=True)
autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
serializable = engine.execution_options(isolation_level="SERIALIZABLE")
Sessions = sessionmaker(engine)


def state(error):
    return error.orig.sqlstate


def orm(n):
    with Sessions() as session, session.begin():
        customer = Customer(client=n, name=f"customer {n}", seen=datetime.datetime(2001, 2, 3, 4, 5, 6))
        customer.orders = [order(n, number) for number in range(10)]
        session.add(customer)
    with Sessions() as session:
        found = session.scalars(
            select(Customer).where(Customer.client == n).options(selectinload(Customer.orders))
        ).one()
        lazy = session.scalars(select(Order).join(Customer).where(Customer.client == n)).first()
        return [found.name, str(found.seen), [plain(o) for o in found.orders], lazy.customer.name]


def queries(n):
    seen = []
    with Sessions() as session:
        for turn in range(12):  # more than psycopg's prepare_threshold
            seen.append(
                session.scalar(
                    select(func.sum(Order.amount))
                    .join(Customer)
                    .where(Customer.client == n, Order.number >= turn)
                )
            )
            if turn % 3 == 0:
                session.commit()
    return [str(amount) for amount in seen]


def savepoints(n):
    with Sessions() as session, session.begin():
        session.add(Customer(client=n, name="outer"))
        with session.begin_nested():
            session.add(Customer(client=n, name="inner"))
        failed = []
        for _ in range(3):
            try:
                with session.begin_nested():
                    session.add(Customer(client=n, name="inner"))
            except IntegrityError as error:
                failed.append(state(error))
        names = session.scalars(
            select(Customer.name).where(Customer.client == n).order_by(Customer.name)
        ).all()
    return [failed, list(names)]


def rollback(n):
    with Sessions() as session:
        session.add(Customer(client=n, name="undone"))
        session.flush()
        session.rollback()
        return session.scalar(select(func.count()).select_from(Customer).where(Customer.client == n))


def failing(n):
    seen = []
    with engine.connect() as connection:
        for statement in ("select 1/0", "select * from nosuch", "selec"):
            try:
                connection.execute(text(statement))
            except DBAPIError as error:
                seen.append(state(error))
            try:
                connection.execute(text("select 1"))
            except DBAPIError as error:
                seen.append(state(error))
            connection.rollback()
        seen.append(connection.scalar(text("select 'after'")))
    return seen


def bulk(n):
    """insertmanyvalues with its RETURNING, executemany, and an ORM bulk update."""
    with Sessions() as session, session.begin():
        ids = session.scalars(
            insert(Customer).returning(Customer.id, sort_by_parameter_order=True),
            [{"client": n, "name": f"bulk {number:04}"} for number in range(1500)],
        ).all()
        session.execute(
            update(Customer), [{"id": key, "seen": datetime.datetime(2002, 1, 1)} for key in ids[:200]]
        )
        mine = [Customer.client == n, Customer.name.like("bulk%")]
        counted = session.scalar(select(func.count()).where(*mine, Customer.seen.is_not(None)))
        removed = session.execute(delete(Customer).where(*mine)).rowcount
    return [len(ids), sorted(ids) == list(ids), counted, removed]


def server_side(n):
    """yield_per: a named cursor in a transaction, read in parts, one of them left in the middle."""
    with engine.connect() as connection:
        whole = connection.execution_options(yield_per=70)
        rows = [row.n for row in whole.execute(text("select n from generate_series(1, 1000) n"))]
        part = whole.execute(text("select n from generate_series(1, 1000) n where n > :n"), {"n": n})
        first = part.fetchmany(3)
        part.close()
    with Sessions() as session:
        found = session.scalars(
            select(Order).join(Customer).where(Customer.client == n).order_by(Order.number)
        )
        numbers = [o.number for o in found.yield_per(3)]
    return [len(rows), sum(rows), [row.n for row in first], numbers]


def isolation(n):
    seen = []
    show = text("show transaction_isolation")
    for which in (serializable, engine, autocommit, engine):
        with which.connect() as connection:
            seen.append(connection.scalar(show))
    with engine.connect().execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    ) as one:
        seen.append(one.scalar(show))
        try:
            one.execute(insert(Customer).values(client=n, name="no"))
        except DBAPIError as error:
            seen.append(state(error))
    with engine.connect() as connection:
        seen.append(connection.scalar(text("show transaction_read_only")))
    return seen


def optimistic(n):
    """A version column: who comes second reads again."""
    while True:
        try:
            with Sessions() as session, session.begin():
                row = session.scalars(select(Stock).where(Stock.name == "shared")).one()
                row.pieces -= 1
            return "taken"
        except StaleDataError:
            continue


def locked(n):
    with Sessions() as session, session.begin():
        row = session.scalars(select(Stock).where(Stock.name == "locked").with_for_update()).one()
        row.pieces -= 1
    return "taken"


def settings(n):
    """What an application sets when a connection is made, and what it sets for a transaction."""
    own = create_engine(
        f"postgresql+psycopg://{URL}",
        pool_size=1,
        max_overflow=0,
        connect_args={"options": "-c work_mem=8MB"},
    )

    @event.listens_for(own, "connect")
    def connected(connection, _):
        connection.execute("set search_path to tenant_a, public")
        connection.execute("set timezone to 'Europe/Berlin'")
        connection.commit()

    seen = []
    for _ in range(4):
        with own.connect() as connection:
            seen.append(connection.scalar(text("select name from whose")))
            connection.execute(text("set local statement_timeout = '7s'"))
            connection.execute(text("select set_config('app.tenant', :n, true)"), {"n": str(n)})
            seen.append(connection.scalar(text("select current_setting('app.tenant')")))
            seen.append(
                list(
                    connection.execute(
                        text("select current_setting('work_mem'), current_setting('timezone')")
                    ).one()
                )
            )
            connection.commit()
            seen.append(connection.scalar(text("show statement_timeout")))
    own.dispose()
    return seen


def reflection(n):
    found = inspect(engine)
    return [
        sorted(found.get_table_names()),
        [[c["name"], str(c["type"]), c["nullable"]] for c in found.get_columns("orders")],
        [index["name"] for index in found.get_indexes("customer")],
        found.get_foreign_keys("orders")[0]["referred_table"],
        [
            list(row)
            for row in found.get_unique_constraints("customer")[0].items()
            if row[0] == "column_names"
        ],
    ]


def joined(n):
    with Sessions() as session:
        found = session.scalars(
            select(Order)
            .join(Customer)
            .where(Customer.client == n)
            .options(joinedload(Order.customer))
            .order_by(Order.number)
        ).all()
        return [[o.number, o.customer.name] for o in found]


def copied(n):
    """COPY through the driver's own connection."""
    with engine.begin() as connection:
        cursor = connection.connection.cursor()
        with cursor.copy("copy customer (client, name) from stdin") as copy:
            for number in range(500):
                copy.write_row((n, f"copied {number}"))
    with engine.connect() as connection:
        return connection.scalar(
            text("select count(*) from customer where client = :n and name like 'copied%'"), {"n": n}
        )


def two_phase(n):
    """SQLAlchemy's prepared transactions, where the server allows them."""
    with Session(engine, twophase=True) as session:
        session.add(Customer(client=n, name="two phases"))
        try:
            session.commit()
            return "committed"
        except DBAPIError as error:
            session.rollback()
            return state(error)


STEPS = (
    orm, queries, joined, savepoints, rollback, failing, bulk, server_side, isolation, optimistic, locked,
    settings, reflection, copied, two_phase,
)  # fmt: skip


def client(n):
    for step in STEPS:
        tell(n, step.__name__, step(n))


def main():
    tell(None, "versions", {"SQLAlchemy": sqlalchemy.__version__, "psycopg": psycopg.__version__})
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            insert(Stock), [{"name": name, "pieces": 100, "version": 1} for name in ("shared", "locked")]
        )
        connection.execute(
            text("create schema tenant_a; create table tenant_a.whose as select 'of a' as name")
        )
    threads(client)
    tell(None, "pool", engine.pool.status())
    engine.dispose()


main()
